#!/usr/bin/env python3
"""The program on pictures: a fresh little vision transformer, class folders, every verb that takes them, and what is refused.

Usage: pictures_test.py <path of the program> [unittest arguments]
"""
import json
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path

PROGRAM = sys.argv.pop(1)
INVALID, FORMAT, IO = 2, 3, 6
COLOURS = {"blue": 2, "green": 1, "red": 0}


def run(*arguments, status=0):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=600)
    assert done.returncode == status, f"{arguments}: status {done.returncode}, expected {status}\n{done.stdout}\n{done.stderr}"
    return done


def write_png(path, channel, seed, side=16):
    """A bright square of one colour somewhere on dark noise."""
    stream = random.Random(f"{channel} {seed}")
    left = stream.randrange(side // 2)
    rows = b""
    for y in range(side):
        row = bytearray(stream.randrange(100) for _ in range(3 * side))
        for x in range(left, left + side // 2):
            if side // 4 <= y < 3 * side // 4:
                row[3 * x + channel] = 255
        rows += b"\0" + bytes(row)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write_classes(folder, each, first=0):
    for name, channel in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(first, first + each):
            write_png(folder / name / f"{i}.png", channel, i)


class Pictures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.tmp = Path(cls.folder.name)
        write_classes(cls.tmp / "set", 16)
        write_classes(cls.tmp / "more", 6, 100)
        cls.model = cls.tmp / "vit"
        made = run("create", "--family", "vit", "--image-size", 16, "--patch-size", 8, "--width", 32, "--layers", 2, "--heads", 2,
                   "--out", cls.model, "--json")
        cls.parameters = json.loads(made.stdout)["parameters"]
        cls.common = ["--model", cls.model, "--data", cls.tmp / "set", "--batch-size", 8, "--threads", 1]
        cls.train = run("train", *cls.common, "--method", "lora", "--rank", 4, "--flip", "--learning-rate", "1e-2", "--epochs", 12,
                        "--out", cls.tmp / "run", "--json")
        cls.adapter = cls.tmp / "run" / "adapter"
        cls.use = ["--model", cls.model, "--adapter", cls.adapter]

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_create_makes_what_it_says(self):
        # Patches and class token, two layers of attention, two norms and an inner layer of 4·32, and the last norm.
        layer = 4 * (32 * 32 + 32) + 2 * 2 * 32 + 2 * 4 * 32 * 32 + 5 * 32
        self.assertEqual(self.parameters, 32 + 5 * 32 + 3 * 64 * 32 + 32 + 2 * layer + 2 * 32)
        run("create", "--out", self.model, status=INVALID)
        self.assertIn("divisor", run("create", "--image-size", 20, "--patch-size", 8, "--out", self.tmp / "x", status=INVALID).stderr)

    def test_train_reports_the_pictures_and_learns(self):
        self.assertIn("classes", self.train.stderr)
        self.assertIn("sha256", self.train.stderr)
        result = json.loads(self.train.stdout)
        self.assertGreater(result["test"]["accuracy"], 0.8)
        self.assertIn("pictures_per_second", result)
        config = json.loads((self.adapter / "adapter_config.json").read_text())
        self.assertEqual((config["task_type"], config["modules_to_save"]), (None, ["classifier"]))

    def test_a_stopped_run_goes_on(self):
        arguments = ["train", *self.common, "--method", "dora", "--rank", 2, "--epochs", 2, "--save-every", 0]
        whole, parts = self.tmp / "whole", self.tmp / "parts"
        run(*arguments, "--out", whole)
        with subprocess.Popen([PROGRAM, *map(str, [*arguments, "--out", parts])], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not (parts / "checkpoint.safetensors").exists():
                pass
            process.terminate()
        if (parts / "checkpoint.safetensors").exists():
            run(*arguments, "--out", parts, "--resume")
        name = "adapter/adapter_model.safetensors"
        self.assertEqual((parts / name).read_bytes(), (whole / name).read_bytes())

    def test_eval_reads_class_folders(self):
        scores = json.loads(run("eval", *self.use, "--data", self.tmp / "more", "--robustness", "--json").stdout)
        self.assertEqual(scores["rows"], 18)
        self.assertEqual(len(scores["under"]), 9)
        self.assertLess(scores["under"]["grey"], scores["accuracy"])  # the colour is the class
        self.assertGreater(scores["accuracy"], 0.8)

    def test_predict_names_files(self):
        red, folder = self.tmp / "more" / "red" / "100.png", self.tmp / "more" / "blue"
        rows = [json.loads(line) for line in run("predict", *self.use, "--json", red, folder).stdout.splitlines()]
        self.assertEqual([row["file"] for row in rows][:2], [str(red), str(folder / "100.png")])
        self.assertEqual(len(rows), 7)
        self.assertEqual(rows[0]["label"], max(rows[0]["scores"], key=rows[0]["scores"].get))
        self.assertEqual(set(rows[0]["scores"]), set(COLOURS))

    def test_merged_folder_predicts_the_same_without_the_adapter(self):
        merged, picture = self.tmp / "merged", self.tmp / "more" / "green" / "101.png"
        run("merge", *self.use, "--out", merged)
        before, after = (json.loads(run("predict", *how, "--json", picture).stdout) for how in (self.use, ["--model", merged]))
        self.assertEqual(before["label"], after["label"])
        for a, b in zip(before["logits"], after["logits"]):
            self.assertAlmostEqual(a, b, places=4)

    def test_full_training_leaves_a_model_that_the_next_adapter_takes(self):
        run("train", *self.common, "--method", "full", "--learning-rate", "1e-3", "--epochs", 2, "--out", self.tmp / "full")
        model = self.tmp / "full" / "model"
        self.assertTrue((model / "preprocessor_config.json").exists())
        run("eval", "--model", model, "--data", self.tmp / "more")
        run("train", "--model", model, "--data", self.tmp / "set", "--method", "lokr", "--max-steps", 2, "--out", self.tmp / "next")

    def test_plan_compare_and_inspect(self):
        self.assertEqual(json.loads(run("plan", *self.common, "--json").stdout)["batch_pictures"], 8)
        run("compare", *self.common, "--methods", "none,lora", "--seeds", 2, "--rate-factors", "3", "--epochs", 2, "--rank", 2,
            "--rotate", 10, "--brightness", 0.2, "--label-smoothing", 0.1, "--robustness", "--out", self.tmp / "study")
        report = json.loads((self.tmp / "study" / "report.json").read_text())
        self.assertEqual(len(report["summary"]["methods"]), 2)
        tested = [run for run in report["runs"] if run["phase"] == "final"]
        self.assertEqual([len(run["under"]) for run in tested], [9] * 4)
        self.assertIn("Under changed conditions", (self.tmp / "study" / "report.md").read_text())
        self.assertIn("vit", run("inspect", self.model).stdout)
        self.assertIn("LORA", run("inspect", self.adapter, "--model", self.model).stdout.upper())

    def test_what_does_not_fit_is_said(self):
        table = self.tmp / "rows.csv"
        table.write_text("text,label\na,b\n")
        self.assertIn("reads pictures", run("train", "--model", self.model, "--data", table, "--out", self.tmp / "x", status=INVALID).stderr)
        text = run("train", *self.common, "--text-column", "text", "--out", self.tmp / "x", status=INVALID).stderr
        self.assertIn("--text-column does not apply to method 'lora' and a model of pictures", text)
        self.assertIn("reads pictures", run("embed", "--model", self.model, table, status=INVALID).stderr)
        broken = self.tmp / "broken"
        write_classes(broken, 3)
        (broken / "red" / "0.png").write_bytes(b"")
        text = run("eval", *self.use, "--data", broken, status=FORMAT).stderr
        self.assertIn("0.png", text)
        other = self.tmp / "other"
        write_classes(other, 2)
        (other / "red").rename(other / "rose")
        self.assertIn("'rose' is not among", run("eval", *self.use, "--data", other, status=FORMAT).stderr)
        run("eval", *self.use, "--data", self.tmp / "none", status=IO)


if __name__ == "__main__":
    unittest.main()
