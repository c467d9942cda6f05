#!/usr/bin/env python3
"""`lowrank train` on a tiny Stable Diffusion model and captioned pictures, as a user runs it.

Usage: diffusion_test.py <path of the program> <path of lowrank_tiny_pipeline> [unittest arguments]
"""
import json
import re
import signal
import struct
import subprocess
import sys
import unittest
from pathlib import Path

from support import CANCELLED, DEVICE, FORMAT, INVALID, UNSUPPORTED, MadeFiles, run_program

PROGRAM, MAKER = sys.argv.pop(1), sys.argv.pop(1)
SMALL = ("--resolution", 16, "--bucket-min", 8, "--bucket-max", 32, "--bucket-step", 8, "--device", DEVICE, "--dtype", "float32", "--rank", 2)


def run(*arguments, **checks):
    return run_program(PROGRAM, *arguments, **checks)


def metadata(path):
    data = Path(path).read_bytes()
    return json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]


def pixels(path):
    """A PNG's packed pixels: equal for equal pictures of this program."""
    data = Path(path).read_bytes()
    return data[data.index(b"IDAT"):]


class Diffusion(MadeFiles):
    maker = MAKER

    def train(self, out, *arguments, model="model", status=0):
        return run("train", "--model", self.tmp / model, "--data", self.tmp / "pictures", "--out", self.tmp / out, *SMALL, *arguments,
                   status=status)

    def test_pictures_in_an_adapter_file_out(self):
        result = json.loads(self.train("run", "--epochs", 2, "--json").stdout)
        saved = Path(result["saved"])
        self.assertEqual((saved, result["outcome"], result["steps"]), (self.tmp / "run/adapter.safetensors", "finished", 10))
        self.assertEqual(metadata(saved)["ss_network_module"], "networks.lora")
        self.assertEqual(metadata(saved)["ss_network_dim"], "2")
        facts = json.loads(run("inspect", saved, "--json").stdout)
        self.assertIn("kohya", json.dumps(facts))
        notes = json.loads((self.tmp / "run/lowrank.json").read_text())
        self.assertEqual((len(notes["held_out"]), notes["options"]["batch-size"], notes["options"]["epochs"]), (1, 2, 2))
        for name in ("pictures.png", "data_report.json", "metrics.jsonl", "options.json", "result.json"):
            self.assertTrue((self.tmp / "run" / name).is_file(), name)
        self.assertFalse((self.tmp / "run/checkpoint.safetensors").exists())
        bands = [json.loads(line)["bands"] for line in (self.tmp / "run/metrics.jsonl").read_text().splitlines() if "bands" in line]
        self.assertEqual([len(rows) for rows in bands], [4])
        run("convert", saved, "--to", "diffusers", "--model", self.tmp / "model", "--out", self.tmp / "diffusers.safetensors")
        self.assertIn("finished run", self.train("run", status=INVALID).stderr)

    def test_a_checkpoint_file_needs_a_tokenizer_and_gives_the_same_adapter(self):
        refused = self.train("file", model="model.safetensors", status=INVALID).stderr
        self.assertIn("--tokenizer", refused)
        steps = ("--max-steps", 2, "--method", "lokr")
        self.train("file", *steps, "--tokenizer", self.tmp / "model/tokenizer", model="model.safetensors")
        self.train("folder", *steps)
        files = [(self.tmp / name / "adapter.safetensors").read_bytes() for name in ("file", "folder")]
        body = [data[8 + struct.unpack("<Q", data[:8])[0]:] for data in files]
        self.assertEqual(body[0], body[1])
        self.assertEqual(metadata(self.tmp / "file/adapter.safetensors")["ss_network_module"], "lycoris.kohya")

    def test_stopped_while_it_trains_it_goes_on_where_it_was(self):
        arguments = ["train", "--model", self.tmp / "model", "--data", self.tmp / "pictures", "--out", self.tmp / "halves", *SMALL,
                     "--epochs", 400]
        program = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        metrics = self.tmp / "halves/metrics.jsonl"
        while not metrics.exists() or metrics.read_text().count("\n") < 5:
            self.assertIsNone(program.poll(), "it ended too soon")
        program.send_signal(signal.SIGINT)
        self.assertIn("goes on from there", program.communicate(timeout=60)[1])
        self.assertEqual(program.returncode, CANCELLED)
        self.assertTrue((self.tmp / "halves/checkpoint.safetensors").is_file())
        self.assertIn("unfinished run", run(*arguments, status=INVALID).stderr)
        self.assertIn("'epochs' was 400 and is 2 now", run(*arguments[:-1], 2, "--resume", status=INVALID).stderr)

    def test_draws_samples_while_it_trains(self):
        (self.tmp / "prompts.txt").write_text("# held out\nnaïve 🎃\n")
        flags = ("--sample-every", 4, "--sample-steps", 2, "--sample-seed", 3, "--sample-cfg", 4.5, "--sample-negative", "dark")
        done = self.train("drawn", "--epochs", 2, "--sample-prompt", "a photograph, dark", "--sample-prompt", "disc 3",
                          "--sample-prompts", self.tmp / "prompts.txt", *flags)
        samples = self.tmp / "drawn/samples"
        self.assertIn(f"samples {samples}/index.html", done.stdout)
        pictures = [f"{step:06}-{prompt:02}.png" for step in (0, 4, 8, 10) for prompt in range(3)]
        self.assertEqual(sorted(path.name for path in samples.iterdir()), [*pictures, "index.html", "samples.json"])
        links = re.findall('href="([^"]+)"><img src="([^"]+)"', (samples / "index.html").read_text())
        self.assertEqual(sorted(links), [(name, name) for name in pictures])
        self.assertIn("naïve 🎃\nNegative prompt: dark\nSteps: 2, ".encode(), (samples / "000004-02.png").read_bytes())
        # The base's pictures are those of `lowrank sample`, which takes the same flags.
        run("sample", "--model", self.tmp / "model", "--prompt", "a photograph, dark", *(str(flag).replace("--sample-", "--") for flag in flags[2:]),
            "--width", 16, "--height", 16, "--device", DEVICE, "--dtype", "float32", "--out", self.tmp / "base")
        self.assertEqual(pixels(samples / "000000-00.png"), pixels(self.tmp / "base/00000-3.png"))
        self.assertNotEqual(pixels(samples / "000010-00.png"), pixels(self.tmp / "base/00000-3.png"))
        self.train("plain", "--epochs", 2)
        values = [(self.tmp / name / "adapter.safetensors").read_bytes()[-4096:] for name in ("drawn", "plain")]
        self.assertEqual(values[0], values[1])
        self.assertIn("[--sample-every] expected prompts", self.train("bad", "--sample-every", 5, status=INVALID).stderr)

    def test_plan_names_what_a_run_would_need(self):
        plan = json.loads(run("plan", "--model", self.tmp / "model", "--data", self.tmp / "pictures", *SMALL, "--json").stdout)
        self.assertTrue(plan["fits"])
        self.assertEqual((plan["batch_pictures"], plan["data"]["pictures"]), (2, 10))
        self.assertGreater(plan["activations"], 0)

    def test_a_model_from_nothing(self):
        sizes = {"unet": {"_class_name": "UNet2DConditionModel", "cross_attention_dim": 8, "block_out_channels": [8, 8], "layers_per_block": 1,
                          "norm_num_groups": 4, "attention_head_dim": 2, "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
                          "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]},
                 "vae": {"_class_name": "AutoencoderKL", "block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4,
                         "force_upcast": False, "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2},
                 "text_encoder": {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_size": 8, "intermediate_size": 16,
                                  "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 77,
                                  "vocab_size": len(json.loads((self.tmp / "model/tokenizer/vocab.json").read_text())),
                                  "hidden_act": "quick_gelu", "projection_dim": 8, "eos_token_id": 2}}
        (self.tmp / "sizes.json").write_text(json.dumps(sizes))
        create = ("create", "--family", "stable-diffusion", "--architecture", self.tmp / "sizes.json", "--tokenizer", self.tmp / "model/tokenizer")
        for name in ("new", "again"):
            run(*create, "--out", self.tmp / name)
        weights = [(self.tmp / name / "unet/diffusion_pytorch_model.safetensors").read_bytes() for name in ("new", "again")]
        self.assertEqual(*weights)
        self.assertIn("--patch-size does not apply", run(*create, "--patch-size", 8, "--out", self.tmp / "x", status=INVALID).stderr)
        (self.tmp / "bad.json").write_text('{"vea": {}}')
        self.assertIn("got 'vea'", run(*create[:3], "--architecture", self.tmp / "bad.json", "--out", self.tmp / "x", status=FORMAT).stderr)
        pictures = ("--data", self.tmp / "pictures", "--method", "full", "--epochs", 1, "--learning-rate", 1e-3, *SMALL[:-2])
        line = run("train", "--model", self.tmp / "new", "--component", "vae", "--latent-scale", "measure", "--out", self.tmp / "vae", *pictures).stderr
        self.assertIn("PSNR", line)
        run("train", "--model", self.tmp / "vae/model", "--text-encoder-learning-rate", 1e-3, "--out", self.tmp / "base", *pictures)
        run("merge", "--model", self.tmp / "base/model", "--dtype", "float16", "--out", self.tmp / "half")
        size = [(self.tmp / name / "unet/diffusion_pytorch_model.safetensors").stat().st_size for name in ("base/model", "half")]
        self.assertLess(size[1], 0.6 * size[0])
        run("sample", "--model", self.tmp / "half", "--prompt", "disc", "--steps", 2, "--width", 16, "--height", 16, "--out", self.tmp / "drawn",
            "--device", DEVICE)
        self.assertIn("--kl-weight does not apply", run("train", "--model", self.tmp / "new", "--kl-weight", 1, "--out", self.tmp / "no", *pictures,
                                                        status=INVALID).stderr)
        self.assertIn("expected full", run("train", "--model", self.tmp / "new", "--component", "vae", "--data", self.tmp / "pictures",
                                           "--out", self.tmp / "no", status=INVALID).stderr)

    def test_captions_beyond_the_windows_are_named(self):
        (self.tmp / "pictures/p1.txt").write_text("a " * 80)
        try:
            done = self.train("cut", "--max-steps", 1, "--prompt-windows", 1)
            self.assertIn("p1.png (82 tokens); cut after 77", done.stderr)
            self.assertIn("warning: captions: tokens after the first 77 are cut in the captions of p1.png (82 tokens)", done.stderr)
            self.assertIn("cut captions: 1", done.stdout)
            cut = [json.loads((self.tmp / "cut" / name).read_text())["cut_captions"] for name in ("lowrank.json", "result.json", "data_report.json")]
            self.assertEqual(cut, [[{"limit": 77, "name": "p1.png", "tokens": 82.0}]] * 3)
            self.assertIn("p1.png", self.train("no", "--prompt-windows", 1, "--long-prompts", "error", status=FORMAT).stderr)
            self.assertNotIn("cut", self.train("whole", "--max-steps", 1).stdout)
        finally:
            (self.tmp / "pictures/p1.txt").write_text("disc 1")

    def test_refuses_what_makes_no_sense(self):
        self.assertIn("--label-column does not apply", self.train("bad", "--label-column", "x", status=INVALID).stderr)
        self.assertIn("trains a head alone", self.train("bad", "--method", "none", status=INVALID).stderr)
        self.assertIn("expected one of auto, peft", self.train("bad", "--save-as", "ckpt", status=INVALID).stderr)
        (self.tmp / "pictures/lonely.txt").write_text("no picture")
        self.assertIn("lonely.txt", self.train("bad", status=FORMAT).stderr)
        (self.tmp / "pictures/lonely.txt").unlink()
        self.assertFalse((self.tmp / "bad").exists())


if __name__ == "__main__":
    unittest.main()
