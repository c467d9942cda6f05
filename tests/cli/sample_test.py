#!/usr/bin/env python3
"""`lowrank sample` and `lowrank merge` of image models, as a user runs them, on tiny pipelines.

Usage: sample_test.py <path of the program> <path of lowrank_tiny_pipeline> [unittest arguments]
"""
import json
import struct
import sys
import unittest
import zlib
from pathlib import Path

from support import FORMAT, INVALID, IO, SHAPE, MadeFiles, run_program

GOLDENS = Path(__file__).resolve().parent.parent / "golden"
PROGRAM, MAKER = sys.argv.pop(1), sys.argv.pop(1)


def run(*arguments, **checks):
    return run_program(PROGRAM, *arguments, **checks)


def read_png(path):
    """(width, height), rows of RGB bytes without filters undone, and the text chunks, check sums verified."""
    data, at, texts, body, size = Path(path).read_bytes(), 8, {}, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        chunk = data[at + 8:at + 8 + length]
        assert zlib.crc32(kind + chunk) == struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0], kind
        if kind == b"IHDR":
            size = struct.unpack(">II", chunk[:8])
        if kind == b"IDAT":
            body += chunk
        if kind in (b"tEXt", b"iTXt"):
            key, rest = chunk.split(b"\0", 1)
            texts[key.decode()] = rest.decode() if kind == b"tEXt" else rest[4:].decode()
        at += 12 + length
    return size, pixels(size, zlib.decompress(body)), texts


def pixels(size, raw):
    """Rows of bytes with PNG's filters undone."""
    stride, rows = size[0] * 3, [bytes(size[0] * 3)]
    for y in range(size[1]):
        kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            left, up, corner = (line[i - 3] if i >= 3 else 0), rows[-1][i], (rows[-1][i - 3] if i >= 3 else 0)
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda value: abs(guess - value))
            line[i] = (line[i] + (0, left, up, (left + up) // 2, paeth)[kind]) & 255
        rows.append(bytes(line))
    return b"".join(rows[1:])


class Sample(MadeFiles):
    maker = MAKER

    def sample(self, *more, model="sd15", out, **checks):
        return run("sample", "--model", self.tmp / model, "--prompt", "a photograph", "--steps", 3, "--threads", 1, "--dtype", "float32", *more,
                   "--out", self.tmp / out, **checks)

    def picture(self, *more, **options):
        rows = json.loads(self.sample(*more, "--json", **options).stdout)["pictures"]
        return read_png(rows[0]["file"])[1]

    def test_pictures_carry_their_parameters(self):
        arguments = ["--negative", "dark", "--seed", 5, "--count", 3, "--sampler", "dpmpp_2m", "--cfg", 4.5, "--width", 24,
                     "--adapter", f"{self.tmp}/lora.safetensors:0.8", "--adapter", f"{self.tmp}/lokr.safetensors"]
        facts = json.loads(self.sample(*arguments, "--json", out="a").stdout)
        self.assertEqual([row["seed"] for row in facts["pictures"]], [5, 6, 7])
        size, third, texts = read_png(facts["pictures"][2]["file"])
        self.assertEqual(size, (24, 16))
        lines = texts["parameters"].split("\n")
        self.assertEqual(lines[:2], ["a photograph <lora:lora:0.8> <lora:lokr:1>", "Negative prompt: dark"])
        self.assertIn("Steps: 3, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 4.5, Seed: 7, Size: 24x16, Model hash: ", lines[2])
        self.assertRegex(lines[2], 'Lora hashes: "lora: [0-9a-f]{12}, lokr: [0-9a-f]{12}"')
        self.assertEqual(read_png(self.tmp / "a" / "grid.png")[0], (2 * (24 + 4) + 4, 2 * (16 + 4) + 4))
        arguments[3:6] = [7, "--count", 1]
        self.assertEqual(self.picture(*arguments, out="again"), third)
        self.assertEqual(json.loads((self.tmp / "again" / "sample.json").read_text())["sampler"], "dpmpp_2m")

    def test_prompts_beyond_ascii_from_a_file(self):
        (self.tmp / "prompts.txt").write_text("naïve 🎃\nsecond\n")
        run("sample", "--model", self.tmp / "sd15", "--prompts", self.tmp / "prompts.txt", "--steps", 1, "--cfg", 1, "--out", self.tmp / "file")
        self.assertIn("naïve 🎃\nSteps: 1", read_png(self.tmp / "file" / "00000-0.png")[2]["parameters"])
        self.assertIn("second\n", read_png(self.tmp / "file" / "00001-0.png")[2]["parameters"])

    def test_merged_models_make_the_same_pictures(self):
        ways = [("lora", "sd15", "m1"), ("dora", "sd15", "m2.safetensors"), ("dora", "sd15.safetensors", "m3"),
                ("lokr", "sd15.safetensors", "m4.safetensors")]
        base = self.picture(out="base")
        for method, model, out in ways:
            adapter = f"{self.tmp}/{method}.safetensors:0.6"
            expected = self.picture("--adapter", adapter, out=f"{out}-adapted")
            facts = json.loads(run("merge", "--model", self.tmp / model, "--adapter", adapter, "--out", self.tmp / out, "--json").stdout)
            self.assertLess(facts["relative_difference"], 1e-5)
            found = self.picture("--tokenizer", self.tmp / "sd15", model=out, out=f"{out}-pictures")
            self.assertLessEqual(max(abs(a - b) for a, b in zip(expected, found)), 1)
            self.assertNotEqual(expected, base)

    def test_weights_of_blocks(self):
        base = self.picture(out="b0")
        adapter = ["--adapter", self.tmp / "lora.safetensors"]
        self.assertEqual(self.picture(*adapter, "--block-weights", "unet=0,text_encoder=0", out="b1"), base)
        self.assertNotEqual(self.picture(*adapter, "--block-weights", "unet=0", out="b2"), base)
        self.assertIn("unet.top", self.sample(*adapter, "--block-weights", "unet.top=0", out="b3", status=INVALID).stderr)

    def test_sdxl(self):
        self.assertNotEqual(self.picture(model="sdxl", out="xl"), self.picture("--adapter", self.tmp / "sdxl_lora.safetensors", model="sdxl", out="xl2"))

    def test_adapters_of_other_models_are_refused(self):
        done = self.sample("--adapter", GOLDENS / "dialects/kohya_sdxl.safetensors", out="no", status=SHAPE)
        self.assertIn("kohya_sdxl.safetensors", done.stderr)
        self.assertIn("SDXL", done.stderr)
        self.assertFalse((self.tmp / "no").exists())
        done = run("merge", "--model", self.tmp / "sd15", "--adapter", GOLDENS / "dialects/kohya_sdxl.safetensors", "--out", self.tmp / "no2", status=SHAPE)
        self.assertFalse((self.tmp / "no2").exists())

    def test_mistakes_are_explained(self):
        long = "library for Linux files " * 40
        self.assertIn("at most 75 tokens", self.sample("--negative", long, "--long-prompts", "refuse", out="long", status=INVALID).stderr)
        self.sample("--negative", long, out="chunks")
        self.assertIn("nothing is overwritten", self.sample(out="chunks", status=INVALID).stderr)
        self.assertIn("holds no tokenizer", self.sample(model="sd15.safetensors", out="t", status=INVALID).stderr)
        self.assertIn("multiples of 2", self.sample("--width", 13, out="w", status=INVALID).stderr)
        self.assertIn("no 'nothing'", run("sample", "--model", "nothing", "--out", self.tmp / "n", status=IO).stderr)
        self.assertIn("/proc/pictures", run("sample", "--model", self.tmp / "sd15", "--out", "/proc/pictures", status=IO).stderr)
        self.assertIn("lowrank sample --model", run("sample", "--help").stdout)

    def test_inspect(self):
        facts = json.loads(run("inspect", self.tmp / "sdxl", "--json").stdout)
        self.assertEqual((facts["pipeline"], facts["tokenizer"]), ("StableDiffusionXLPipeline", True))
        self.assertIn("adaptable layers", facts["text_encoder_2"])
        facts = json.loads(run("inspect", self.tmp / "sd15.safetensors", "--json").stdout)
        self.assertEqual((facts["container"], facts["pipeline"], facts["tokenizer"]), ("safetensors", "StableDiffusionPipeline", False))

    def test_conversion_takes_either_form_of_a_model(self):
        run("merge", "--model", self.tmp / "sdxl", "--adapter", self.tmp / "sdxl_lora.safetensors:0", "--out", self.tmp / "sdxl.safetensors")
        for adapter, kind in (("dora", "sd15"), ("sdxl_lora", "sdxl")):
            made = []
            for number, model in enumerate((self.tmp / kind, self.tmp / f"{kind}.safetensors")):
                out = self.tmp / f"{adapter}-{number}" / "adapter.safetensors"
                out.parent.mkdir()
                run("convert", self.tmp / f"{adapter}.safetensors", "--to", "diffusers", "--model", model, "--out", out)
                made.append(out.read_bytes())
                self.assertNotIn("would_not_load", run("inspect", out, "--model", model).stdout)
            self.assertEqual(*made)
        text = run("inspect", self.tmp / "sdxl_lora.safetensors", "--model", self.tmp / "sd15.safetensors", "--json", status=SHAPE).stdout
        self.assertIn("24 x 24 in the file, 16 x 16 in the model", json.loads(text)["would_not_load"])
        self.assertIn("an original checkpoint", run("convert", self.tmp / "dora.safetensors", "--to", "kohya", "--model", self.tmp / "lora.safetensors",
                                                    "--out", self.tmp / "x", status=FORMAT).stderr)


if __name__ == "__main__":
    unittest.main()
