#!/usr/bin/env python3
"""Writes tests/golden/data/csv.json: texts, and the records Python's csv module reads in strict mode (null: refused).

Chosen edge cases, tables written by csv.writer in its dialects, and short random texts over the characters that matter.
"""
import argparse
import csv
import io
import json
import platform
import random
from pathlib import Path

EDGES = ["", "\n", "a,b\n", "a,b", "a,b\r\nc,d\r\n", "a,b\rc,d\r", 'a,"b,c"\n', 'a,"b\nc"\nd,e\n', 'a,"b\r\nc"\r\nd,e',
         '"a""b",c\n', '""\n', '"",""\n', ",\n", ",,", 'a,"', 'a,"b\nc', '"a"b,c\n', '5" disk,a "b" c\n', ' "a",b\n',
         "a,b\n\n\nc,d\n", '"é, ü","日本"\n', "a;b,c\n", '"a"\r\n"b"\r"c"\n']


def read(text, separator):
    """[[line the record begins on, fields], …], blank lines left out; None where the module raises."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records, begin = [], 1
    try:
        for fields in reader:
            if fields:
                records.append([begin, fields])
            begin = reader.line_num + 1
    except csv.Error:
        return None
    return records


def written(rng):
    """A table as csv.writer writes it."""
    out = io.StringIO(newline="")
    separator = rng.choice(",;")
    writer = csv.writer(out, delimiter=separator, lineterminator=rng.choice(["\n", "\r\n"]),
                        quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    for _ in range(rng.randint(1, 4)):
        writer.writerow(["".join(rng.choices('ab é,;"\n\r', k=rng.randint(0, 6))) for _ in range(rng.randint(1, 4))])
    return out.getvalue(), separator


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "tests/golden/data/csv.json")
    arguments = parser.parse_args()
    rng = random.Random(7)
    cases = [(text, ",") for text in EDGES] + [written(rng) for _ in range(300)]
    cases += [("".join(rng.choices('ab,"\n\r', weights=[2, 2, 3, 4, 2, 1], k=rng.randint(1, 14))), ",")
              for _ in range(1200)]
    golden = {"reference": f"Python {platform.python_version()} csv, strict",
              "cases": [{"text": t, "separator": s, "records": read(t, s)} for t, s in cases]}
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in golden["cases"])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    reference = json.dumps(golden["reference"])
    arguments.out.write_text(f'{{"reference": {reference}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")
    refused = sum(case["records"] is None for case in golden["cases"])
    print(f"{len(cases)} cases ({refused} refused) in {arguments.out}, {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
