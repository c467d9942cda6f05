#!/usr/bin/env python3
"""`lowrank convert` and `lowrank inspect` on the adapter files of tests/golden/dialects, as a user runs them.

Usage: convert_test.py <path of the program> [unittest arguments]
"""
import json
import struct
import sys
import tempfile
import unittest
from pathlib import Path

from support import FORMAT, INVALID, IO, SHAPE, UNSUPPORTED, floats, run_program, write_safetensors

GOLDENS = Path(__file__).resolve().parent.parent / "golden" / "dialects"
PROGRAM = sys.argv.pop(1)


def run(*arguments, **checks):
    return run_program(PROGRAM, *arguments, **checks)


def header(path):
    data = Path(path).read_bytes()
    return json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])


def write(path, tensors, metadata):
    """A safetensors file of float32 tensors: name → (shape, values)."""
    write_safetensors(path, {name: floats(*value) for name, value in tensors.items()}, metadata)


class Convert(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.tmp = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def test_there_and_back_again_keeps_every_byte_of_the_factors(self):
        source = GOLDENS / "kohya_sdxl.safetensors"
        through = source
        for target in ("diffusers", "peft", "lycoris", "kohya"):
            out = self.tmp / (target if target == "peft" else f"{target}.safetensors")
            facts = json.loads(run("convert", through, "--to", target, "--out", out, "--json").stdout)
            self.assertEqual((facts["to"], facts["modules"], facts["changes"]), (target, 21, []))
            through = out
        start, end = header(source), header(through)
        start.pop("__metadata__")
        metadata = end.pop("__metadata__")
        self.assertEqual(start, end)
        data = [path.read_bytes() for path in (source, through)]
        bodies = [raw[8 + struct.unpack("<Q", raw[:8])[0]:] for raw in data]
        self.assertEqual(*bodies)
        self.assertEqual(metadata["modelspec.architecture"], "stable-diffusion-xl-v1-base/lora")

    def test_a_language_models_folder_stays_a_folder(self):
        source = GOLDENS.parent / "peft" / "lora_plain"
        run("convert", source, "--to", "peft", "--out", self.tmp / "a")
        name = "adapter_model.safetensors"
        self.assertEqual((self.tmp / "a" / name).read_bytes(), (source / name).read_bytes())

    def test_what_was_rewritten_is_in_the_report(self):
        out = self.tmp / "a.safetensors"
        text = run("convert", GOLDENS / "lycoris_loha.safetensors", "--to", "kohya", "--out", out).stdout
        self.assertIn("0 as they are, 17 rewritten exactly, 0 approximated", text)
        self.assertIn("LoHa as LoRA", text)
        self.assertIn("read back", text)

    def test_a_refusal_names_the_layers_and_writes_nothing(self):
        out = self.tmp / "a.safetensors"
        done = run("convert", GOLDENS / "lycoris_dora_input.safetensors", "--to", "diffusers", "--out", out, status=UNSUPPORTED)
        self.assertIn("unet.conv_in (DoRA on LoCon, input axis): PEFT has no DoRA whose norm is over input channels", done.stderr)
        self.assertIn("--approximate RANK", done.stderr)
        self.assertEqual(list(self.tmp.iterdir()), [])
        done = run("convert", GOLDENS / "lycoris_dora_input.safetensors", "--to", "diffusers", "--out", out, "--approximate", 4, status=UNSUPPORTED)
        self.assertIn("the base weights are needed", done.stderr)

    def test_an_approximation_gives_the_loss_of_every_layer(self):
        out = self.tmp / "a.safetensors"
        arguments = ["convert", GOLDENS / "lycoris_full.safetensors", "--to", "kohya", "--out", out, "--json", "--approximate"]
        losses = []
        for rank in (2, 4):
            facts = json.loads(run(*arguments, rank).stdout)
            self.assertTrue(all(change["lossy"] for change in facts["changes"]))
            losses.append({change["module"]: change["relative_error"] for change in facts["changes"]})
        self.assertEqual(len(losses[0]), 17)
        for module, loss in losses[0].items():
            self.assertTrue(0 < losses[1][module] < loss < 1, module)

    def test_with_a_model_names_and_sizes_are_its_own(self):
        unet = self.tmp / "model" / "unet"
        unet.mkdir(parents=True)
        write(unet / "diffusion_pytorch_model.safetensors", {"my.own_layer.weight": ([3, 2], [1.0] * 6)}, {})
        adapter = self.tmp / "a.safetensors"
        stem = "lora_unet_my_own_layer"
        write(adapter, {f"{stem}.lora_down.weight": ([1, 2], [1.0, 2.0]), f"{stem}.lora_up.weight": ([3, 1], [1.0, 2.0, 3.0])}, {})
        self.assertIn("neither SD 1.5 nor SDXL", run("convert", adapter, "--to", "diffusers", "--out", self.tmp / "b", status=FORMAT).stderr)
        run("convert", adapter, "--to", "diffusers", "--out", self.tmp / "b.safetensors", "--model", self.tmp / "model")
        self.assertIn("unet.my.own_layer.lora_A.weight", header(self.tmp / "b.safetensors"))
        done = run("convert", GOLDENS / "kohya_sd15.safetensors", "--to", "peft", "--out", self.tmp / "c", "--model", self.tmp / "model", status=SHAPE)
        self.assertIn("has no such layer", done.stderr)
        write(unet / "diffusion_pytorch_model.safetensors", {"my.own_layer.weight": ([3, 5], [1.0] * 15)}, {})
        done = run("convert", adapter, "--to", "diffusers", "--out", self.tmp / "d", "--model", self.tmp / "model", status=SHAPE)
        self.assertIn("3 x 2 in the file, 3 x 5 in the model", done.stderr)

    def test_mistakes_are_explained(self):
        source = GOLDENS / "kohya_sd15.safetensors"
        for arguments, status, part in [
                ([source, "--to", "kohia", "--out", "x"], INVALID, "did you mean 'kohya'"),
                ([source, "--out", "x"], INVALID, "--to"),
                ([source, "--to", "kohya"], INVALID, "--out"),
                ([GOLDENS.parent / "peft" / "lora_plain", "--to", "kohya", "--out", "x"], UNSUPPORTED, "kohya has no prefix for the layers of ''"),
                (["/nowhere.safetensors", "--to", "kohya", "--out", "x"], IO, "found nothing"),
                ([GOLDENS / "kohya_sd15.expected.safetensors", "--to", "kohya", "--out", "x"], FORMAT, "expected an adapter in the naming of"),
                ([source, "--to", "peft", "--out", self.tmp], INVALID, "does not exist yet")]:
            with self.subTest(arguments=arguments):
                self.assertIn(part, run("convert", *arguments, status=status).stderr)


class Inspect(unittest.TestCase):
    def test_single_files_say_what_they_are(self):
        facts = json.loads(run("inspect", GOLDENS / "lycoris_dora_lokr.safetensors", "--json").stdout)
        self.assertEqual((facts["container"], facts["dialect"], facts["methods"]), ("safetensors", "lycoris", {"DoRA on LoKr": 17}))
        self.assertEqual(facts["components"], {"text_encoder": 3, "unet": 14})
        self.assertEqual(sum(facts["scales"].values()), 17)
        self.assertIn("Stable Diffusion 1.5", facts["base_model_family"])
        self.assertEqual(facts["family"], "sd15")
        self.assertEqual(sum(row["layers"] for row in facts["blocks"]), 17)
        self.assertTrue(all(row["norm"] > 0 for row in facts["blocks"]))
        self.assertEqual(facts["metadata"]["ss_network_module"], "lycoris.kohya")

    def test_blocks_are_drawn_as_bars(self):
        text = run("inspect", GOLDENS / "kohya_sdxl.safetensors").stdout
        self.assertIn("█" * 32, text)
        self.assertIn("unet.down_blocks.2.attentions.1", text)
        self.assertNotIn("the tensors give", text)

    def test_a_hash_of_other_tensors_shows(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.safetensors"
            data = (GOLDENS / "kohya_sd15.safetensors").read_bytes()
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            self.assertIn("the tensors give", run("inspect", path, "--json").stdout)

    def test_what_would_not_load_is_part_of_the_answer(self):
        stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.safetensors"
            good = {f"{stem}.lora_down.weight": ([1, 2], [1.0, 2.0]), f"{stem}.lora_up.weight": ([2, 1], [1.0, 2.0])}
            write(path, {**good, "lora_unet_elsewhere.lora_down.weight": ([1], [1.0])}, {})
            facts = json.loads(run("inspect", path, "--json", status=FORMAT).stdout)
            self.assertIn("lora_unet_elsewhere", facts["would_not_load"][0])
            write(path, {**good, f"{stem}.lora_up.weight": ([2, 1], [1.0, float("nan")])}, {})
            facts = json.loads(run("inspect", path, "--json", status=FORMAT).stdout)
            self.assertIn("holds NaN", facts["would_not_load"])

    def test_folders_of_peft_folders(self):
        facts = json.loads(run("inspect", GOLDENS / "peft_lora", "--json").stdout)
        self.assertEqual((facts["dialect"], facts["components"]), ("peft", {"text_encoder": 3, "unet": 14}))


if __name__ == "__main__":
    unittest.main()
