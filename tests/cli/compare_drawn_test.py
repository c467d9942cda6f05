#!/usr/bin/env python3
"""`lowrank compare` on a tiny Stable Diffusion model, as a user runs it.

Usage: compare_drawn_test.py <path of the program> <path of lowrank_tiny_pipeline> [unittest arguments]
"""
import json
import sys
import unittest
from pathlib import Path

from support import DEVICE, INVALID, MadeFiles, run_program

PROGRAM, MAKER = sys.argv.pop(1), sys.argv.pop(1)
SMALL = ("--resolution", 16, "--bucket-min", 8, "--bucket-max", 32, "--bucket-step", 8, "--device", DEVICE, "--dtype", "float32", "--rank", 2,
         "--epochs", 2, "--sampler", "ddim", "--steps", 2, "--validation-fraction", 0.2, "--sheet-rows", 2)


def run(*arguments, **checks):
    return run_program(PROGRAM, *arguments, **checks)


class CompareDrawn(MadeFiles):
    maker = MAKER

    def compare(self, out, *arguments, status=0):
        return run("compare", "--model", self.tmp / "model", "--data", self.tmp / "pictures", "--test", self.tmp / "test", "--out",
                   self.tmp / out, *SMALL, *arguments, status=status)

    def test_a_report_with_pictures_that_goes_on_where_it_was(self):
        (self.tmp / "prompts.json").write_text(json.dumps(
            {"galleries": {"subject": {"classes": {"a": ["pictures/p0.png"], "b": ["pictures/p1.png"]}}},
             "prompts": [{"prompt": "disc of a", "subject": "a"}, {"prompt": "disc of b", "subject": "b"}]}))
        arguments = ("study", "--methods", "lora,dora", "--rate-factors", "1,10", "--seeds", 2, "--forgetting", self.tmp / "pictures",
                     "--forgetting-pictures", 3, "--prompts", self.tmp / "prompts.json")
        first = json.loads(self.compare(*arguments, "--json").stdout)
        study = self.tmp / "study"
        self.assertTrue(Path(first["result"]).is_file())
        page, report = (study / "report.html").read_text(), json.loads((study / "report.json").read_text())
        # truth, best possible, base and two methods: two test pictures and one of forgetting; base and methods: two prompts
        self.assertEqual(page.count("<img "), 5 * 3 + 3 * 2)
        self.assertEqual(page.count("src=\"data:image/png;base64,iVBOR"), 5 * 3 + 3 * 2)
        self.assertNotRegex(page, r'(src|href)="https?://')
        measures = [(measure["name"], len(measure["methods"])) for measure in report["summary"]["measures"]]
        self.assertEqual(measures, [("feature", 2), ("pixel", 2), ("forgetting feature", 2), ("forgetting pixel", 2),
                                    ("prompts subject", 2), ("prompts in all", 2)])
        self.assertEqual({run["status"] for run in report["runs"]}, {"ok"})
        before = {path: path.stat().st_mtime_ns for path in (study / "runs").iterdir()}
        self.assertEqual(len(before), 2 * (2 + 2))
        again = json.loads(self.compare(*arguments, "--json").stdout)
        self.assertEqual(again["reason"], first["reason"])
        self.assertEqual({path: path.stat().st_mtime_ns for path in (study / "runs").iterdir()}, before)
        self.assertIn("study of other options", self.compare(*arguments, "--cfg", 2, status=INVALID).stderr)

    def test_refuses_what_makes_no_sense(self):
        self.assertIn("--test", run("compare", "--model", self.tmp / "model", "--data", self.tmp / "pictures", "--out", self.tmp / "bad", *SMALL,
                                    status=INVALID).stderr)
        self.assertIn("is in the training pictures too", run("compare", "--model", self.tmp / "model", "--data", self.tmp / "pictures", "--test",
                                                             self.tmp / "pictures", "--out", self.tmp / "bad", *SMALL, status=INVALID).stderr)
        self.assertIn("trains a head alone", self.compare("bad", "--methods", "none", status=INVALID).stderr)
        self.assertIn("--label-column does not apply", self.compare("bad", "--label-column", "x", status=INVALID).stderr)
        alone = SMALL[:SMALL.index("--validation-fraction")]
        self.assertIn("to validate on", run("compare", "--model", self.tmp / "model", "--data", self.tmp / "pictures", "--test", self.tmp / "test",
                                            "--out", self.tmp / "bad", *alone, "--validation-fraction", 0, status=INVALID).stderr)
        self.assertFalse((self.tmp / "bad").exists())


if __name__ == "__main__":
    unittest.main()
