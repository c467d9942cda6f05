#!/usr/bin/env python3
"""Builds the section data set: predict a Debian or Ubuntu package's section from its one-line description.

Reads the package index of this machine (`apt-cache dumpavail`) and writes train.jsonl, validation.jsonl and test.jsonl
(an object a line: text, label, package) and about.json (settings, counts, hash). Fair by construction:
  * a description is used once; descriptions that differ only in case, digits or punctuation count as the same one,
  * one that two sections carry is dropped, and so are transitional, dummy and meta packages, whose text says nothing,
  * all packages of one source package fall into one split ("Game X" never faces "Game X - data files"), and
    a source gives a section at most one description.
The same index gives the same bytes. Example: python3 tools/data/package_sections.py --out build/data/sections
"""
import argparse
import collections
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# These say what a package is for apt, not what it is about.
SKIPPED_SECTIONS = {"metapackages", "oldlibs", "localization", "tasks", "translations"}
EMPTY_PACKAGE = re.compile(r"\b(transitional|dummy|meta-?\s?package|virtual package|empty package|placeholder)\b", re.I)
SPLITS = ("train", "validation", "test")
HINT = "\n  hint: run 'apt-get update' (as root) on a Debian or Ubuntu machine, then try again"


def read_index(path):
    """The index as text: from a file, or from apt-cache."""
    if path:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    if shutil.which("apt-cache") is None:
        sys.exit("[package_sections] expected the program apt-cache, got none on PATH" + HINT)
    done = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    if done.returncode:
        sys.exit(f"[package_sections] apt-cache dumpavail failed: {done.stderr.decode(errors='replace').strip()}{HINT}")
    return done.stdout.decode("utf-8", errors="replace")


def parse_index(text):
    """Sorted distinct (section, source, package, description) of every package."""
    rows = set()
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*)$", stanza, re.M))
        description = fields.get("Description") or fields.get("Description-en") or ""
        if "Package" in fields and fields.get("Section") and description:
            section = fields["Section"].rsplit("/", 1)[-1]  # "contrib/games", "universe/games" are games
            source = fields.get("Source", fields["Package"]).split()[0]
            rows.add((section, source, fields["Package"], " ".join(description.split())))
    return sorted(rows)


def fingerprint(description):
    """Letters only, lower case: what two descriptions must not share."""
    return " ".join(re.findall(r"[^\W\d_]+", description.lower()))


def order(seed, *parts):
    return hashlib.sha256("\0".join((str(seed), *parts)).encode()).hexdigest()


def usable(rows, seed):
    """One row for each fingerprint and each (section, source), ordered by the seed alone; and what was dropped."""
    dropped = collections.Counter()
    sections_of = collections.defaultdict(set)
    for section, _, _, description in rows:
        sections_of[fingerprint(description)].add(section)
    kept, seen = [], set()
    for row in sorted(rows, key=lambda r: (order(seed, *r), r)):
        section, source, _, description = row
        key, home = fingerprint(description), (section, source)
        if section in SKIPPED_SECTIONS:
            dropped["section not used"] += 1
        elif EMPTY_PACKAGE.search(description) or len(key) < 8:
            dropped["says nothing (transitional, dummy, meta, too short)"] += 1
        elif len(sections_of[key]) > 1:
            dropped["same description in several sections"] += 1
        elif key in seen:
            dropped["same description again"] += 1
        elif home in seen:
            dropped["second of its source in the section"] += 1
        else:
            seen |= {key, home}
            kept.append(row)
    return kept, dropped


def split_of(source, seed, wanted):
    """A source's split: a fixed function of its name, in the proportions wanted."""
    point = int(order(seed, "split", source)[:12], 16) / 16**12 * sum(wanted)
    return SPLITS[0] if point < wanted[0] else SPLITS[1] if point < wanted[0] + wanted[1] else SPLITS[2]


def choose(rows, sizes, seed, wanted, count):
    """{split: rows} with exactly the wanted number from each of the `count` largest sections."""
    by_size = sorted(sizes, key=lambda section: (-sizes[section], section))
    largest = [section for section in by_size if section not in SKIPPED_SECTIONS][:count]
    pools = collections.defaultdict(list)
    for row in rows:
        pools[row[0], split_of(row[1], seed, wanted)].append(row)
    short = [f"section {s}: expected {n} {split} descriptions, got {len(pools[s, split])}"
             for s in largest for split, n in zip(SPLITS, wanted) if len(pools[s, split]) < n]
    if len(largest) < count:
        short.insert(0, f"expected {count} sections, got {len(largest)}")
    if short:
        sys.exit("[package_sections] the package index is too small:\n  - " + "\n  - ".join(short[:20]) + HINT)
    chosen = {split: [r for s in largest for r in pools[s, split][:n]] for split, n in zip(SPLITS, wanted)}
    return largest, {split: sorted(part, key=lambda r: order(seed, "order", *r)) for split, part in chosen.items()}


def verify(chosen, largest, wanted):
    """Fails on any break of the promises in this file's first lines, whatever the code above did."""
    keys, sources = {}, {}
    for split, n in zip(SPLITS, wanted):
        counts = collections.Counter(row[0] for row in chosen[split])
        assert counts == {section: n for section in largest}, (split, counts)
        for section, source, package, description in chosen[split]:
            key = fingerprint(description)
            assert key not in keys, f"{package}: '{description}' is used twice"
            assert sources.setdefault(source, split) == split, f"source {source} is in two splits"
            keys[key] = section


def write(folder, files):
    """All files or none: a new folder beside the old one takes its place. An equal folder is left alone."""
    if folder.is_dir() and {p.name: p.read_text() for p in folder.iterdir() if p.is_file()} == files:
        return "unchanged"
    foreign = sorted(p.name for p in folder.iterdir() if p.name not in files) if folder.is_dir() else []
    if foreign:
        sys.exit(f"[package_sections] {folder} holds other files ({', '.join(foreign[:5])})\n"
                 "  hint: name a new folder with --out")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, text in files.items():
            with open(fresh / name, "w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
        fresh.chmod(0o755)
        old = fresh.with_name(fresh.name + "-old")
        if folder.is_dir():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return "written"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=42, help="which descriptions, which split (default 42)")
    parser.add_argument("--sections", type=int, default=20, help="how many of the largest sections (default 20)")
    parser.add_argument("--per-section", type=int, nargs=3, default=(150, 30, 50), metavar=SPLITS,
                        help="rows of each section (default 150 30 50)")
    parser.add_argument("--index", help="a saved 'apt-cache dumpavail' instead of this machine's")
    arguments = parser.parse_args()

    packages = parse_index(read_index(arguments.index))
    sizes = collections.Counter(row[0] for row in packages)
    rows, dropped = usable(packages, arguments.seed)
    wanted = tuple(arguments.per_section)
    largest, chosen = choose(rows, sizes, arguments.seed, wanted, arguments.sections)
    verify(chosen, largest, wanted)

    files = {f"{split}.jsonl": "".join(json.dumps({"text": d, "label": s, "package": p}, ensure_ascii=False) + "\n"
                                       for s, _, p, d in chosen[split]) for split in SPLITS}
    digest = hashlib.sha256("".join(files.values()).encode()).hexdigest()
    about = {"sha256": digest, "seed": arguments.seed, "per_section": dict(zip(SPLITS, wanted)),
             "packages_in_index": len(packages), "dropped": dict(sorted(dropped.items())),
             "sections": {s: sizes[s] for s in largest}}
    state = write(arguments.out, {**files, "about.json": json.dumps(about, indent=2) + "\n"})

    print(f"{len(packages)} packages in the index, {len(rows)} usable descriptions")
    for reason, number in sorted(dropped.items(), key=lambda item: -item[1]):
        print(f"  {number:6} left out: {reason}")
    print("sections (packages in the index): " + ", ".join(f"{s} {sizes[s]}" for s in largest))
    print(", ".join(f"{split} {len(chosen[split])}" for split in SPLITS) + f" rows in {arguments.out} ({state})")
    print(f"sha256 {digest}")


if __name__ == "__main__":
    main()
