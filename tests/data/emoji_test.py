#!/usr/bin/env python3
"""tools/data/emoji.py and color_font.py on a small made-up font and Unicode tables: what is drawn, held out and chosen."""
import json
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools/data"
sys.path.insert(0, str(TOOLS))
sys.dont_write_bytecode = True
from color_font import ColorFont  # noqa: E402

PNG = b"\x89PNG\r\n\x1a\n"
FACES = [0x1F600 + i for i in range(20)]
GHOST, TONE, JOINER, SIGN = 0x1F47B, 0x1F3FB, 0x200D, 0x2640
SINGLE = [*FACES, GHOST, TONE, JOINER, SIGN]  # glyphs 1, 2, …
SEQUENCES = [(FACES[0], TONE), (GHOST, JOINER, SIGN)]  # their ligatures: the glyphs after those


def drawing(glyph):
    return PNG + b"glyph %d" % glyph


def cmap_table():
    groups = sorted((code, code, glyph) for glyph, code in enumerate(SINGLE, 1))
    body = struct.pack(">HHIII", 12, 0, 16 + 12 * len(groups), 0, len(groups)) + b"".join(struct.pack(">III", *g) for g in groups)
    return struct.pack(">HHHHI", 0, 1, 3, 10, 12) + body


def bitmap_tables(index_format, image_format):
    """(CBLC, CBDT) with one picture for every glyph but the joiner's."""
    last, data, offsets = len(SINGLE) + len(SEQUENCES), b"", []
    for glyph in range(1, last + 1):
        offsets.append(len(data))
        if glyph != SINGLE.index(JOINER) + 1:
            png = drawing(glyph)
            data += bytes(5 if image_format == 17 else 8) + struct.pack(">I", len(png)) + png
            data += bytes(len(data) % 2)
    offsets.append(len(data))
    index = struct.pack(">HHI", index_format, image_format, 4)
    index += struct.pack(f">{len(offsets)}{'I' if index_format == 1 else 'H'}", *offsets)
    size = struct.pack(">IIII", 8 + 48, 8 + len(index), 1, 0) + bytes(24) + struct.pack(">HHBBBB", 1, last, 109, 109, 32, 1)
    return struct.pack(">II", 0x30000, 1) + size + struct.pack(">HHI", 1, last, 8) + index, struct.pack(">I", 0x30000) + data


def ligature_table(extension):
    glyph_of = {code: glyph for glyph, code in enumerate(SINGLE, 1)}
    sets = []
    for number, sequence in enumerate(SEQUENCES):
        parts = [glyph_of[code] for code in sequence]
        ligature = struct.pack(f">{len(parts) + 1}H", len(SINGLE) + 1 + number, len(parts), *parts[1:])
        sets.append((parts[0], struct.pack(">HH", 1, 4) + ligature))
    offset = 6 + 2 * len(sets)
    coverage_at = offset + sum(len(s) for _, s in sets)
    sub = struct.pack(">HHH", 1, coverage_at, len(sets))
    for _, ligatures in sets:
        sub += struct.pack(">H", offset)
        offset += len(ligatures)
    sub += b"".join(s for _, s in sets)
    sub += struct.pack(f">HH{len(sets)}H", 1, len(sets), *(first for first, _ in sets))
    if extension:
        sub = struct.pack(">HHI", 1, 4, 8) + sub
    lookup = struct.pack(">HHHH", 7 if extension else 4, 0, 1, 8) + sub
    return struct.pack(">IHHH", 0x10000, 0, 0, 10) + struct.pack(">HH", 1, 4) + lookup


def font(index_format=1, image_format=17, extension=False):
    cblc, cbdt = bitmap_tables(index_format, image_format)
    tables = {b"CBDT": cbdt, b"CBLC": cblc, b"GSUB": ligature_table(extension), b"cmap": cmap_table()}
    head, body, at = struct.pack(">IHHHH", 0x10000, len(tables), 0, 0, 0), b"", 12 + 16 * len(tables)
    for name, data in tables.items():
        head += struct.pack(">4sIII", name, 0, at + len(body), len(data))
        body += data
    return head + body


class Font(unittest.TestCase):
    def test_single_glyphs_and_ligatures_in_every_format(self):
        for index_format in (1, 3):
            for image_format in (17, 18):
                for extension in (False, True):
                    read = ColorFont(font(index_format, image_format, extension))
                    self.assertEqual(read.png((FACES[0],)), drawing(1))
                    self.assertEqual(read.png((GHOST, 0xFE0F)), drawing(21))
                    self.assertEqual(read.png((FACES[0], TONE)), drawing(25))
                    self.assertEqual(read.png((GHOST, JOINER, SIGN, 0xFE0F)), drawing(26))
                    self.assertIsNone(read.png((JOINER,)))
                    self.assertIsNone(read.png((FACES[1], TONE)))
                    self.assertIsNone(read.png((0x41,)))

    def test_other_fonts_are_refused(self):
        with self.assertRaisesRegex(ValueError, "without CBLC, CBDT"):
            ColorFont(struct.pack(">IHHHH", 0x10000, 1, 0, 0, 0) + struct.pack(">4sIII", b"cmap", 0, 28, 0))


class Sets(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        self.put("usr/share/fonts/truetype/noto/NotoColorEmoji.ttf", font())
        lines = ["# group: Smileys", "# subgroup: face-a"]
        lines += [f"{code:X} ; fully-qualified # x E1.0 face {code:X}" for code in FACES[:12]]
        lines += ["1F600 1F3FB ; fully-qualified # x E1.0 toned face", "# subgroup: face-b"]
        lines += [f"{code:X} ; fully-qualified # x E1.0 face {code:X}" for code in FACES[12:]]
        lines += ["1F47B ; fully-qualified # x E1.0 ghost", "263A ; unqualified # x E1 no",
                  "1F47B 200D 2640 FE0F ; fully-qualified # x E4.0 woman ghost", "1F9FF ; fully-qualified # x E11.0 not in the font"]
        self.put("usr/share/unicode/emoji/emoji-test.txt", "\n".join(lines).encode())
        names = ('<ldml><annotations><annotation cp="\U0001F600">face | Grinning Face | grin</annotation>'
                 '<annotation cp="\U0001F600" type="tts">grinning face</annotation></annotations></ldml>')
        self.put("usr/share/unicode/cldr/common/annotations/en.xml", names.encode())
        self.put("usr/share/unicode/cldr/common/annotationsDerived/en.xml", b"<ldml/>")
        for name in ["1F47B-2640", *(f"{code:X}" for code in FACES)]:
            self.put(f"other/usr/share/rubygems-integration/all/gems/gemojione-3/assets/png/{name}.png", PNG + name.encode())
        self.put("held", b"# what\n1F47B ghost\n")

    def put(self, name, data):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def run_tool(self, *arguments):
        command = [sys.executable, TOOLS / "emoji.py", "--out", self.root / "out", "--root", self.root, "--gemojione", self.root / "other",
                   "--held-out", self.root / "held", "--style", "4", "9", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    def pictures(self, folder):
        return {path.stem for path in (self.root / "out" / folder).glob("*.png")}

    def test_sets_keep_their_promises(self):
        done = self.run_tool()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(self.pictures("noto")), 23)
        self.assertEqual(len(self.pictures("gemojione")), 21)
        self.assertEqual(self.pictures("noto-halloween"), {"1F47B", "1F47B-200D-2640-FE0F"})
        self.assertEqual(self.pictures("noto-base"), {f"{code:X}" for code in FACES})
        train, test = self.pictures("style-train"), self.pictures("style-test")
        self.assertEqual((len(train), len(test), train & test), (4, 9, set()))
        self.assertEqual(json.loads((self.root / "out/about.json").read_text())["not_in_noto"], ["1F9FF"])

    def classes(self, folder):
        """{part: {subgroup: names}}"""
        parts = {}
        for path in (self.root / "out" / folder).rglob("*.png"):
            part, subgroup, _ = path.relative_to(self.root / "out" / folder).parts
            parts.setdefault(part, {}).setdefault(subgroup, set()).add(path.stem)
        return parts

    def test_a_thing_lies_in_one_part_of_both_hands(self):
        self.run_tool("--few", "3")
        noto, other, everything = (self.classes(name) for name in ("classes-noto", "classes-gemojione", "classes-all"))
        self.assertEqual({part: list(groups) for part, groups in noto.items()}, dict.fromkeys(["train", "validation", "test"], ["face-a"]))
        train, validation, test = (noto[part]["face-a"] for part in ("train", "validation", "test"))
        toned = {"1F600-1F3FB"}
        self.assertEqual((len(train - toned), len(validation), len(test)), (9, 1, 2))
        self.assertEqual(toned <= train, "1F600" in train)  # a tone goes with its thing, and is never in a test
        few, known, new = other["train"]["face-a"], self.pictures("classes-gemojione-known/face-a"), self.pictures("classes-gemojione-new/face-a")
        self.assertEqual(len(few), 3)
        self.assertEqual(few | known, train - toned)
        self.assertEqual((new, other["validation"]["face-a"]), (test, validation))
        self.assertEqual(known | new, other["test"]["face-a"])
        ghosts = [part for part, groups in everything.items() for names in groups.values() for name in names if name.startswith("1F47B")]
        self.assertEqual(len(set(ghosts)), 1)  # the ghost and the woman ghost are one thing
        self.assertEqual(everything["test"]["face-a"], test)

    def test_captions_are_name_and_keywords(self):
        self.run_tool()
        row = json.loads((self.root / "out/noto/metadata.jsonl").read_text().splitlines()[0])
        self.assertEqual(row["text"], "grinning face, face, grin")
        self.assertEqual((row["file_name"], row["group"], row["subgroup"], row["skin_tone"]), ("1F600.png", "Smileys", "face-a", False))
        self.assertEqual((self.root / "out/noto/1F600.txt").read_text(), "grinning face, face, grin\n")
        self.assertEqual((self.root / "out/gemojione/1F47B-200D-2640-FE0F.png").read_bytes(), PNG + b"1F47B-2640")

    def test_the_same_sources_give_the_same_bytes_and_damage_is_mended(self):
        first = self.run_tool()
        self.assertIn("(written)", first.stdout)
        self.assertIn("(unchanged)", self.run_tool().stdout)
        (self.root / "out/noto/1F600.txt").write_text("else")
        again = self.run_tool()
        self.assertIn("(written)", again.stdout)
        self.assertEqual(first.stdout.splitlines()[-1], again.stdout.splitlines()[-1])
        other = self.run_tool("--seed", "1")
        self.assertNotEqual(first.stdout.splitlines()[-1], other.stdout.splitlines()[-1])

    def test_refusals_name_the_remedy(self):
        self.put("out/mine.txt", b"x")
        self.assertIn("holds other files", self.run_tool().stderr)
        self.assertIn("expected 300 emoji drawn in both hands, got 20", self.run_tool("--style", "100", "200").stderr)
        (self.root / "usr/share/unicode/emoji/emoji-test.txt").unlink()
        self.assertIn("bootstrap.sh images", self.run_tool().stderr)


if __name__ == "__main__":
    unittest.main()
