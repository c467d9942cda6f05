"""Reads the pictures out of a colour bitmap font (CBDT/CBLC): which PNG stands for which sequence of code points.

Formats: cmap 12 (code point to glyph), CBLC index formats 1 and 3 with CBDT image formats 17 and 18 (PNG behind small or
big metrics), GSUB ligatures (lookup type 4, also behind extension lookups 7). Source: the OpenType specification 1.9.
"""
import struct


class ColorFont:
    def __init__(self, data):
        self.data = data
        count = self.u16(4)
        records = (struct.unpack_from(">4sIII", data, 12 + 16 * i) for i in range(count))
        self.tables = {name.decode(): offset for name, _, offset, _ in records}
        missing = [name for name in ("cmap", "CBLC", "CBDT") if name not in self.tables]
        if missing:
            raise ValueError(f"expected a colour bitmap font, got one without {', '.join(missing)}")
        self.glyphs = self.read_cmap()
        self.pictures = self.read_pictures()
        self.ligatures = self.read_ligatures() if "GSUB" in self.tables else {}

    def u16(self, at):
        return struct.unpack_from(">H", self.data, at)[0]

    def u32(self, at):
        return struct.unpack_from(">I", self.data, at)[0]

    def u16s(self, at, count):
        return struct.unpack_from(f">{count}H", self.data, at)

    def png(self, code_points):
        """The PNG of a sequence, or None. Variation selectors (FE0F) have no glyphs of their own in ligatures."""
        glyphs = tuple(self.glyphs.get(c) for c in code_points if c != 0xFE0F)
        glyph = glyphs[0] if len(glyphs) == 1 else self.ligatures.get(glyphs)
        return self.pictures.get(glyph)

    def read_cmap(self):
        """{code point: glyph} of the format 12 table."""
        start = self.tables["cmap"]
        for i in range(self.u16(start + 2)):
            at = start + self.u32(start + 4 + 8 * i + 4)
            if self.u16(at) == 12:
                groups = (struct.unpack_from(">III", self.data, at + 16 + 12 * g) for g in range(self.u32(at + 12)))
                return {c: glyph + c - first for first, last, glyph in groups for c in range(first, last + 1)}
        raise ValueError("expected a cmap table of format 12, got none")

    def read_pictures(self):
        """{glyph: PNG} of the first strike."""
        start, found = self.tables["CBLC"], {}
        array, _, count = struct.unpack_from(">III", self.data, start + 8)
        for i in range(count):
            first, last, more = struct.unpack_from(">HHI", self.data, start + array + 8 * i)
            at = start + array + more
            index_format, image_format, base = struct.unpack_from(">HHI", self.data, at)
            size = {1: 4, 3: 2}.get(index_format)
            if size is None or image_format not in (17, 18):
                raise ValueError(f"expected index format 1 or 3 and image format 17 or 18, got {index_format} and {image_format}")
            offsets = struct.unpack_from(f">{last - first + 2}{'I' if size == 4 else 'H'}", self.data, at + 8)
            for glyph, begin, end in zip(range(first, last + 1), offsets, offsets[1:]):
                if end > begin:
                    length_at = self.tables["CBDT"] + base + begin + (5 if image_format == 17 else 8)
                    found[glyph] = self.data[length_at + 4: length_at + 4 + self.u32(length_at)]
        return found

    def read_ligatures(self):
        """{(glyph, glyph, …): glyph}; of two for one sequence the first."""
        start, found = self.tables["GSUB"], {}
        lookups = start + self.u16(start + 8)
        for offset in self.u16s(lookups + 2, self.u16(lookups)):
            lookup = lookups + offset
            kind, _, count = self.u16s(lookup, 3)
            for sub in self.u16s(lookup + 6, count):
                at, its_kind = lookup + sub, kind
                if kind == 7:
                    its_kind, at = self.u16(at + 2), at + self.u32(at + 4)
                if its_kind == 4:
                    self.add_ligatures(at, found)
        return found

    def add_ligatures(self, at, found):
        sets = self.u16s(at + 6, self.u16(at + 4))
        for first, offset in zip(self.covered(at + self.u16(at + 2)), sets):
            for ligature in self.u16s(at + offset + 2, self.u16(at + offset)):
                glyph, parts = self.u16s(at + offset + ligature, 2)
                rest = self.u16s(at + offset + ligature + 4, parts - 1)
                found.setdefault((first, *rest), glyph)

    def covered(self, at):
        """The glyphs of a coverage table, in order."""
        form, count = self.u16s(at, 2)
        if form == 1:
            return list(self.u16s(at + 4, count))
        ranges = (self.u16s(at + 4 + 6 * i, 3) for i in range(count))
        return [glyph for first, last, _ in ranges for glyph in range(first, last + 1)]
