#!/usr/bin/env python3
"""Adapters that `lowrank train` makes of a Stable Diffusion model, loaded by diffusers (run in .venv-reference).

    python tools/check_trained_adapter.py PROGRAM MODEL PICTURES TOKENIZER [options of lowrank train …]

Trains two steps of LoRA on MODEL, a diffusers folder whose parts diffusers reads, saves in kohya's and diffusers' naming, loads each
file with load_lora_weights and compares the UNet's prediction with that of a UNet whose weights `W + alpha/rank·B·A` are put in by hand
from the file. lowrank_tiny_pipeline makes such a model with pictures.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file

LIMIT = 1e-5


def train(program, model, pictures, tokenizer, out, arguments):
    done = subprocess.run([program, "train", "--model", model, "--data", pictures, "--tokenizer", tokenizer, "--out", str(out), "--json",
                           "--max-steps", "2", "--warmup-fraction", "0", "--learning-rate", "0.05", *arguments],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["saved"])


@torch.no_grad()
def by_hand(unet, path):
    state, layers = load_file(path), dict(unet.named_modules())
    layers = {key.replace(".", "_"): layer for key, layer in layers.items()}
    for key in [key for key in state if key.endswith(".lora_down.weight")]:
        name = key.removesuffix(".lora_down.weight")
        down, up = state[key], state[name + ".lora_up.weight"]
        scale = state[name + ".alpha"].item() / down.shape[0]
        weight = layers[name.removeprefix("lora_unet_")].weight
        weight += scale * (up.flatten(1) @ down.flatten(1)).view_as(weight)
    return unet


@torch.no_grad()
def predict(unet):
    torch.manual_seed(1)
    return unet(torch.randn(2, 4, 8, 8), torch.tensor([10, 700]), torch.randn(2, 9, unet.config.cross_attention_dim)).sample


def main():
    program, model, pictures, tokenizer, *arguments = sys.argv[1:]
    load = lambda: UNet2DConditionModel.from_pretrained(model, subfolder="unet")  # noqa: E731
    with tempfile.TemporaryDirectory() as folder:
        kohya = train(program, model, pictures, tokenizer, Path(folder) / "kohya", arguments)
        other = train(program, model, pictures, tokenizer, Path(folder) / "diffusers", [*arguments, "--save-as", "diffusers"])
        base, expected = predict(load()), predict(by_hand(load(), kohya))
        print(f"the adapter moves the prediction by at most {(expected - base).abs().max():.3g}")
        assert not torch.allclose(base, expected)
        for name, path in {"kohya": kohya, "diffusers": other}.items():
            pipeline = StableDiffusionPipeline(unet=load(), vae=None, text_encoder=None, tokenizer=None, scheduler=DDIMScheduler(),
                                               safety_checker=None, feature_extractor=None, requires_safety_checker=False)
            pipeline.load_lora_weights(str(path))
            gap = (predict(pipeline.unet) - expected).abs().max().item()
            print(f"{name:10} load_lora_weights: largest difference {gap:.2e}")
            assert gap < LIMIT, name


if __name__ == "__main__":
    main()
