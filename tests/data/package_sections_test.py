#!/usr/bin/env python3
"""tools/data/package_sections.py on a small made-up index: what it keeps, what it refuses, that it repeats itself."""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools/data/package_sections.py"
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda omega sigma tau".split()


def package(name, section, description, source=None):
    return (f"Package: {name}\nSource: {source or name}\nSection: {section}\n"
            f"Description: {description}\nTag: x::y,\n z::w\n")


def index():
    stanzas = []
    for section in ("games", "contrib/net"):
        for i, word in enumerate(WORDS * 6):
            text = f"{section} {word} {WORDS[i // 14]} thing"
            stanzas.append(package(f"{section}-{i}", section, text, f"{section}{i}"))
        stanzas.append(package(f"{section}-twin", section, f"{section} alpha ALPHA 2 thing"))
        stanzas.append(package(f"{section}-second", section, "another one of its source", f"{section}0"))
        stanzas.append(package(f"{section}-both", section, "claimed by two sections"))
        stanzas.append(package(f"{section}-old", section, f"transitional package for {section}"))
    return "\n".join(stanzas + [package(f"meta{i}", "metapackages", f"everything {i}") for i in range(300)])


class PackageSections(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        (self.root / "index").write_text(index())

    def run_tool(self, *arguments, **environment):
        command = [sys.executable, TOOL, "--out", self.root / "out", "--sections", "2", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment or None)

    def test_splits_are_exact_distinct_and_repeatable(self):
        first = self.run_tool("--index", self.root / "index", "--per-section", "20", "4", "6")
        self.assertEqual(first.returncode, 0, first.stderr)
        rows = {s: [json.loads(line) for line in (self.root / f"out/{s}.jsonl").read_text().splitlines()]
                for s in ("train", "validation", "test")}
        self.assertEqual({s: len(part) for s, part in rows.items()}, {"train": 40, "validation": 8, "test": 12})
        texts = [row["text"].lower() for part in rows.values() for row in part]
        self.assertEqual(len(texts), len(set(texts)))
        self.assertEqual({row["label"] for row in rows["test"]}, {"games", "net"})
        self.assertFalse([t for t in texts if "claimed" in t or "transitional" in t])
        again = self.run_tool("--index", self.root / "index", "--per-section", "20", "4", "6")
        self.assertIn("unchanged", again.stdout)
        other = self.run_tool("--index", self.root / "index", "--per-section", "20", "4", "6", "--seed", "1")
        self.assertIn("(written)", other.stdout)
        self.assertNotEqual(first.stdout.splitlines()[-1], other.stdout.splitlines()[-1])
        self.assertEqual(sorted(p.name for p in self.root.iterdir()), ["index", "out"])

    def test_a_small_index_is_refused_with_a_remedy(self):
        done = self.run_tool("--index", self.root / "index")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("section games: expected 150 train descriptions, got ", done.stderr)
        self.assertIn("apt-get update", done.stderr)
        self.assertFalse((self.root / "out").exists())

    def test_a_machine_without_apt_is_told_so(self):
        done = self.run_tool(PATH="/nonexistent")
        self.assertIn("expected the program apt-cache, got none", done.stderr)

    def test_other_files_are_left_alone(self):
        (self.root / "out").mkdir()
        (self.root / "out/mine.txt").write_text("x")
        done = self.run_tool("--index", self.root / "index", "--per-section", "20", "4", "6")
        self.assertIn("holds other files (mine.txt)", done.stderr)


if __name__ == "__main__":
    unittest.main()
