#!/usr/bin/env python3
"""Compares the full-size UNet of SD1.5 (860 M weights by formula, float32) with diffusers': prints the largest difference.

Build the bench preset's target lowrank_full_unet, then
Run: <reference venv>/bin/python tools/check_full_unet.py [--side 16]
"""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import diffusers
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "golden"))
from diffusion_models import FULL, fill, fixed  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=16, help="height and width of the latents")
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bench/lowrank_full_unet")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "y.safetensors"
        subprocess.run([options.program, out, str(options.side)], check=True)
        ours = load_file(out)["y"]
    model = fill(diffusers.UNet2DConditionModel.from_config(FULL["sd15"]))
    with torch.no_grad():
        theirs = model(fixed((1, 4, options.side, options.side), 500), 500, fixed((1, 77, 768), 501)).sample
    difference, scale = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    print(f"largest difference {difference:.2e} where the largest value is {scale:.3f}: {difference / scale:.2e}")
    sys.exit(0 if difference < 1e-4 * max(scale, 1) else 1)


if __name__ == "__main__":
    main()
