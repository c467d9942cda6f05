#!/usr/bin/env python3
"""Bad input to image models, one case after another, through the program on a tiny Stable Diffusion model: the message says where,
what was expected, what came and what to do, the exit status is that of its kind, and nothing is half written or lost.

Usage: image_bad_input_test.py <path of the program> <path of lowrank_tiny_pipeline> [unittest arguments]
"""
import json
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest
from pathlib import Path

from support import (CANCELLED, FORMAT, INVALID, IO, SHAPE, UNSUPPORTED, MadeFiles, contents, full_disk, noise_png, png, read_safetensors,
                     run_program, write_safetensors)

GOLDENS = Path(__file__).resolve().parent.parent / "golden"
PICTURES = GOLDENS / "data" / "pictures"
PROGRAM, MAKER = sys.argv.pop(1), sys.argv.pop(1)
SMALL = ("--bucket-min", 8, "--bucket-max", 64, "--bucket-step", 8, "--device", "cpu", "--dtype", "float32", "--threads", 1, "--batch-size", 2,
         "--max-steps", 2, "--rank", 2)
LONG = "one two three four five six seven eight nine ten " * 10
BROKEN = {"cut.png": "truncated or damaged", "cut.jpg": "truncated or damaged", "cut.webp": "truncated or damaged",
          "empty.png": "got an empty file (0 bytes)", "text.png": "got text that begins 'A text that somebody nam'",
          "moving.gif": "got an animated GIF of 3 frames", "moving.webp": "got an animated WebP of 3 frames", "moving.png": "got an animated PNG",
          "vast.png": "expected at most 100 megapixels, got 30000x30000 = 900 megapixels"}


class ImageBadInput(MadeFiles):
    maker = MAKER

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = cls.tmp / "model"
        cls.adapter = cls.tmp / "mixed" / "adapter.safetensors"
        cls.train(cls, "--conv-rank", 3, "--target-modules", "to_q,conv1", "--learning-rate", 0.1, out="mixed")

    def training(self, *more, data="pictures", model="model", resolution=16, out):
        return ["train", "--model", self.tmp / model, "--data", self.tmp / data, *SMALL, "--resolution", resolution, *more, "--out", self.tmp / out]

    def train(self, *more, status=0, says=(), **options):
        return run_program(PROGRAM, *ImageBadInput.training(self, *more, **options), status=status, says=says)

    def refused(self, *more, **checks):
        """train refuses and leaves nothing behind."""
        done = self.train(*more, out="refused", **checks)
        self.assertFalse((self.tmp / "refused").exists())
        return done.stderr

    def sample(self, *more, out, prompt="a disc", **checks):
        return run_program(PROGRAM, "sample", "--model", self.model, "--prompt", prompt, "--steps", 2, "--threads", 1, "--dtype", "float32", *more,
                           "--out", self.tmp / out, **checks)

    def picture(self, *more, out, **options):
        self.sample(*more, out=out, **options)
        return (self.tmp / out / "00000-0.png").read_bytes().split(b"IDAT", 1)[1]  # without the parameters, which name the adapter

    def pictures_with(self, name, files):
        """The ten pictures and these files, each captioned."""
        folder = self.tmp / name
        shutil.copytree(self.tmp / "pictures", folder)
        for file, data in files.items():
            (folder / file).write_bytes(data)
            (folder / file).with_suffix(".txt").write_text(f"a picture, {file}")
        return name

    # Pictures

    def test_unreadable_pictures(self):
        files = {name: (PICTURES / name).read_bytes() for name in BROKEN if name != "vast.png"}
        files["vast.png"] = png(30000, 30000, 1, 0, (bytes(3750) for _ in range(30000)))
        files = {f"{i}-{name}": data for i, (name, data) in enumerate(files.items())}
        data = self.pictures_with("broken", files)
        started = time.monotonic()
        text = self.refused(data=data, status=FORMAT, says=["--broken-pictures skip leaves them out", "or raise --max-megapixels"])
        self.assertLess(time.monotonic() - started, 20)
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 1 << 20)  # kB, of the largest run so far
        lines = text.splitlines()
        for name in files:
            (line,) = [line for line in lines if f"/{name}: " in line]
            self.assertIn(BROKEN[name.split("-")[1]], line)
        self.assertEqual(len(files), sum(" - " in line for line in lines))
        self.train("--broken-pictures", "skip", data=data, out="left-out", says=f"{len(files)} files left out")
        report = json.loads((self.tmp / "left-out" / "data_report.json").read_text())
        self.assertEqual((report["pictures"], len(report["broken"])), (10, len(files)))

    def test_captions_and_pictures_without_each_other(self):
        data = self.pictures_with("unpaired", {"alone.png": noise_png(16, 1)})
        (self.tmp / data / "alone.txt").rename(self.tmp / data / "lonely.txt")
        self.refused(data=data, status=FORMAT, says=["alone.png: no caption (expected alone.txt)", "lonely.txt: a caption without picture",
                                                     "--missing-captions", "--orphans"])
        self.train("--missing-captions", "empty", "--orphans", "report", data=data, out="paired", says=["1: alone.png", "lonely.txt"])

    def test_latents_that_are_not_finite(self):
        path = "vae/diffusion_pytorch_model.safetensors"
        for name, value, says in (("infinite", float("inf"), ["encoder.conv_in.weight", "NaN or infinity", path]),
                                  ("overflowing", 3e38, ["expected finite latents", "pictures/p", "leave it out"])):
            shutil.copytree(self.model, self.tmp / name)
            tensors, metadata = read_safetensors(self.tmp / name / path)
            dtype, shape, data = tensors["encoder.conv_in.weight"]
            tensors["encoder.conv_in.weight"] = dtype, shape, struct.pack("<f", value) * (len(data) // 4)
            write_safetensors(self.tmp / name / path, tensors, metadata)
            done = self.train(model=name, out=f"of-{name}", status=FORMAT if name == "infinite" else INVALID, says=says)
            self.assertNotIn("saved", done.stdout)
            self.assertEqual(list(self.tmp.glob(f"of-{name}/**/*.safetensors")), [])

    # Prompts

    def test_long_prompts(self):
        whole, other = (self.picture(prompt=LONG + end, out=f"long-{end}") for end in ("sun", "moon"))
        self.assertNotEqual(whole, other)  # the last word counts
        self.sample("--long-prompts", "refuse", prompt=LONG, out="refused-prompt", status=INVALID,
                    says=["at most 75 tokens, got", "no room for", "--long-prompts chunk"])
        prompts = self.tmp / "prompts.txt"
        prompts.write_text(f"a disc\n{LONG}\n")
        run_program(PROGRAM, "sample", "--model", self.model, "--prompts", prompts, "--long-prompts", "refuse", "--steps", 2, "--out",
                    self.tmp / "refused-prompt", status=INVALID, says="at most 75 tokens")
        self.assertFalse((self.tmp / "refused-prompt").exists())  # nor the first, which is short enough

    def test_long_captions(self):
        adapters = []
        for end in ("sun", "moon"):
            data = self.pictures_with(f"caption-{end}", {})
            for caption in (self.tmp / data).glob("*.txt"):
                caption.write_text(LONG + end)
            self.train(data=data, out=f"captions-{end}/run", says="none over")
            adapters.append(read_safetensors(self.tmp / f"captions-{end}/run/adapter.safetensors")[0])
        self.assertNotEqual(*adapters)
        self.refused("--long-prompts", "error", "--prompt-windows", 1, data=data, status=FORMAT,
                     says=["p0.png: expected at most 77 tokens, got", "shorten these captions"])

    # Adapters

    def test_adapters_of_other_models(self):
        sdxl, text = GOLDENS / "dialects" / "kohya_sdxl.safetensors", GOLDENS / "peft" / "lora_plain"
        merged = self.tmp / "merged.safetensors"
        for adapter, status, says in ((sdxl, SHAPE, ["kohya_sdxl.safetensors", "SDXL"]), (text, SHAPE, ["lora_plain", "encoder.layer", "a language model"])):
            self.sample("--adapter", adapter, out="refused", status=status, says=says)
            run_program(PROGRAM, "merge", "--model", self.tmp / "model.safetensors", "--adapter", adapter, "--out", merged, status=status, says=says)
            run_program(PROGRAM, "convert", adapter, "--to", "diffusers", "--model", self.model, "--out", merged, status=status, says=says)
            self.assertFalse((self.tmp / "refused").exists() or merged.exists())
        encoder = self.tmp / "vit"
        run_program(PROGRAM, "create", "--family", "vit", "--image-size", 16, "--patch-size", 8, "--width", 16, "--layers", 1, "--heads", 2, "--out", encoder)
        run_program(PROGRAM, "merge", "--model", encoder, "--adapter", self.adapter, "--out", merged, status=IO,
                    says=["adapter.safetensors", "expected a folder with adapter_config.json, found a file", "image models"])
        self.assertFalse(merged.exists())

    def test_mixed_ranks(self):
        facts = json.loads(run_program(PROGRAM, "inspect", self.adapter, "--model", self.model, "--json").stdout)
        self.assertEqual(set(facts["ranks"]), {"2", "3"})
        expected = self.picture("--adapter", self.adapter, out="mixed-kohya")
        self.assertNotEqual(expected, self.picture(out="unadapted"))
        for target in ("lycoris", "diffusers", "peft"):
            out = self.tmp / f"mixed.{target}"
            run_program(PROGRAM, "convert", self.adapter, "--to", target, "--model", self.tmp / "model.safetensors", "--out", out)
            self.assertEqual(self.picture("--adapter", out, out=f"mixed-{target}"), expected)
        tensors, metadata = read_safetensors(self.adapter)
        down = next(name for name in tensors if name.endswith("attn1_to_q.lora_down.weight"))
        dtype, (rank, width), data = tensors[down]
        tensors[down] = dtype, [rank - 1, width], data[:len(data) // rank]
        write_safetensors(self.tmp / "halved.safetensors", tensors, metadata)
        self.sample("--adapter", self.tmp / "halved.safetensors", out="refused", status=FORMAT,
                    says=["halved.safetensors", "attn1.to_q", "shapes do not fit each other", f"lora_A [1, {width}]", ", 2]"])

    def test_dora_in_some_layers(self):
        tensors, metadata = read_safetensors(GOLDENS / "dialects" / "lycoris_dora.safetensors")
        del tensors["lora_unet_conv_in.dora_scale"]
        write_safetensors(self.tmp / "some.safetensors", tensors, metadata)
        for target in ("diffusers", "peft"):
            run_program(PROGRAM, "convert", self.tmp / "some.safetensors", "--to", target, "--out", self.tmp / "some", status=UNSUPPORTED,
                        says="unet.conv_in (LoCon): PEFT has DoRA for all layers of a component or for none")
            self.assertFalse((self.tmp / "some").exists())
        run_program(PROGRAM, "convert", self.tmp / "some.safetensors", "--to", "kohya", "--out", self.tmp / "some.kohya")

    def test_missing_alpha(self):
        tensors, metadata = read_safetensors(self.adapter)
        left = {name: value for name, value in tensors.items() if not name.endswith(".alpha")}
        file = self.tmp / "no-alpha.safetensors"
        write_safetensors(file, left, metadata)
        note = f"alpha is missing or 0 in {len(tensors) - len(left)} modules: taken as the rank, scale 1"
        self.assertIn(note, run_program(PROGRAM, "inspect", file, "--model", self.model).stdout)
        self.assertIn(note, self.sample("--adapter", file, out="no-alpha").stdout)

    # The machine

    def test_full_disk(self):
        arguments, pictures = ["--count", 2, "--width", 64, "--height", 64], ["00000-0.png", "00001-1.png"]
        self.sample(*arguments, out="roomy")
        sizes = [(self.tmp / "roomy" / name).stat().st_size for name in pictures]
        for limit, culprit, kept in ((sizes[0] - 1, pictures[0], []), (max(sizes), "grid.png", pictures)):
            out = f"full-{len(kept)}"
            self.sample(*arguments, out=out, status=IO, prepare=full_disk(limit), says=["File too large", culprit])
            self.assertEqual(sorted(path.name for path in (self.tmp / out).iterdir()), [*kept, "sample.json"])

    def test_stopped_while_it_encodes(self):
        files = {f"noise-{i}.png": noise_png(64, i) for i in range(110)}  # a second or two of encoding
        data = self.pictures_with("many", files)
        self.train(resolution=64, data=data, out="straight/run")
        arguments = self.training(resolution=64, data=data, out="stopped/run")
        cache, kept = self.tmp / "stopped/run/cache", 0
        for end in (signal.SIGTERM, signal.SIGKILL):
            with subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as program:
                while program.poll() is None and len(list(cache.glob("*/*.safetensors"))) <= kept:
                    time.sleep(0.004)
                program.send_signal(end)
                text = program.communicate(timeout=60)[1]
            if end == signal.SIGTERM:
                self.assertIn("the same command goes on from there", text)
            self.assertEqual(program.returncode, CANCELLED if end == signal.SIGTERM else -signal.SIGKILL)
            kept, before = len(list(cache.glob("*/*.safetensors"))), kept
            self.assertTrue(before < kept < 120)
            self.assertFalse((self.tmp / "stopped/run/adapter.safetensors").exists())
        run_program(PROGRAM, *arguments)
        whole, parts = (contents(self.tmp / name / "run") for name in ("straight", "stopped"))
        for name in whole:
            if name.suffix == ".safetensors":
                self.assertEqual(whole[name], parts[name], name)


if __name__ == "__main__":
    unittest.main()
