#!/usr/bin/env python3
"""Writes src/lowrank/text/unicode_tables.cpp: the character classes of the reference, found by asking it about every code point.

    python tools/golden/unicode_tables.py [--output FILE]

Needs the reference environment (tokenizers) and, for the regex stand-ins, a Python whose unicodedata is version 14.0, which is
what PCRE2 10.42 knows.
"""
import argparse
import pathlib
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

ALL = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]

# One code point for each general category and UTF-8 length, of the same class in every Unicode version.
STAND_INS = {
    "Lu": (0x0100, 0x1E00, 0x10400), "Ll": (0x0101, 0x1E01, 0x10428), "Lt": (0x01C5, 0x1F88, 0),
    "Lm": (0x02B0, 0x3005, 0x16B40), "Lo": (0x05D0, 0x3400, 0x20000), "Mn": (0x0300, 0x3099, 0x1E8D0),
    "Mc": (0, 0x0903, 0x11000), "Me": (0x0488, 0x20DD, 0), "Nd": (0x0660, 0x0966, 0x104A0),
    "Nl": (0, 0x2160, 0x10140), "No": (0x00B2, 0x2070, 0x10107), "P": (0x00A1, 0x2016, 0x10100),
    "S": (0x00A9, 0x2190, 0x1F000), "Z": (0x00A0, 0x2000, 0), "Cf": (0x00AD, 0x200B, 0x110BD),
    "Cn": (0x0378, 0xFDD0, 0x1FFFE),
}


def ranges(points):
    out = []
    for point in sorted(points):
        if out and out[-1][1] == point - 1:
            out[-1][1] = point
        else:
            out.append([point, point])
    return out


def pieces(pre_tokenizer, text):
    return [piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)]


def classes():
    removed = lambda normalizer: [ord(c) for c in ALL if normalizer.normalize_str(c) == ""]
    digits, words = pre_tokenizers.Digits(True), pre_tokenizers.Whitespace()
    punctuation = pre_tokenizers.Punctuation("removed")
    return {
        "kBertControl": removed(normalizers.BertNormalizer(True, False, False, False)),
        "kNonspacingMark": removed(normalizers.BertNormalizer(False, False, True, False)),
        "kCombiningMark": removed(normalizers.StripAccents()),
        "kPunctuation": [ord(c) for c in ALL if not pieces(punctuation, c)],
        "kNumeric": [ord(c) for c in ALL if len(pieces(digits, "x" + c + "x")) == 3],
        "kWord": [ord(c) for c in ALL if pieces(words, "x" + c + "x") == ["x" + c + "x"]],
    }


def reordered():
    """Code points whose combining class is above 1: they move behind U+0334, whose class is 1. U+0334's own kin have class 1."""
    form = normalizers.NFD()
    decomposed = lambda c: form.normalize_str(c) != c
    return {ord(c) for c in ALL if not decomposed(c) and form.normalize_str("a" + c + "\u0334") == "a\u0334" + c}


def regex_stand_ins():
    """(first, last, stand-in): code points whose category in the reference's regex engine is not Unicode 14's."""
    known = {}
    for category in STAND_INS:
        if category == "Cn":
            continue
        split = pre_tokenizers.Split(Regex(r"\p{" + category + "}"), "removed")
        for c in ALL:
            if not pieces(split, c):
                known[ord(c)] = category
    out = []
    for c in ALL:
        point, old = ord(c), unicodedata.category(c)
        old = old if old[0] not in "PSZ" else old[0]
        new = known.get(point, "Cn")
        if old in ("Cc", "Co", "Cn") and new == "Cn" or old == new and point != 0x180E:
            continue
        stand_in = STAND_INS[new][len(c.encode()) - 2]
        if not stand_in:
            sys.exit(f"U+{point:04X}: no stand-in of class {new} with {len(c.encode())} bytes")
        if out and out[-1][1] == point - 1 and out[-1][2] == stand_in:
            out[-1][1] = point
        else:
            out.append([point, point, stand_in])
    return out


def table(name, kind, rows):
    entries = ["{" + ", ".join(f"0x{value:X}" for value in row) + "}," for row in rows]
    lines, line = [], " "
    for entry in entries:
        if len(line) + 1 + len(entry) > 120:
            lines.append(line)
            line = " "
        line += " " + entry
    lines.append(line)
    return f"const {kind} {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--output", type=pathlib.Path, default=root / "src/lowrank/text/unicode_tables.cpp")
    output = parser.parse_args().output
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"this needs Unicode 14.0.0, got {unicodedata.unidata_version}")
    parts = [f"// Character classes of tokenizers {tokenizers.__version__}, written by tools/golden/unicode_tables.py: not to be edited.\n// clang-format off\n"
             '#include "lowrank/text/unicode_tables.h"\n\nnamespace lowrank::text {\n']
    found = classes()
    for name, points in found.items():
        parts.append(table(name, "Range", ranges(points)))
    parts.append(table("kReordered", "Range", ranges(reordered())))
    parts.append(table("kRegexStandIn", "StandIn", regex_stand_ins()))
    names = list(found) + ["kReordered"]
    spans = "\n".join(f"const std::span<const Range> {name}Table({name});" for name in names)
    parts.append(spans + "\nconst std::span<const StandIn> kRegexStandInTable(kRegexStandIn);\n")
    parts.append("}  // namespace lowrank::text\n")
    output.write_text("\n".join(parts))
    print(f"{output}: {sum(len(part.splitlines()) for part in parts)} lines")


if __name__ == "__main__":
    main()
