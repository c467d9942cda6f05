#!/usr/bin/env python3
"""Seconds of guided DDIM steps with SD1.5's full-size UNet (weights by formula): lowrank_sampling against diffusers, alternately, after
their latents agreed.

Build the bench preset's target lowrank_sampling, then
Run: <reference venv>/bin/python bench/sampling.py [--side 32] [--steps 20] [--dtype bfloat16] [--repeats 2]
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import diffusers
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "golden"))
from diffusion_models import FULL, fill, fixed  # noqa: E402

SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1, "clip_sample": False,
             "set_alpha_to_one": False}


def theirs(model, options, steps):
    scheduler = diffusers.DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(steps)
    states = torch.cat([fixed((1, 77, 768), 502), fixed((1, 77, 768), 501)]).to(model.dtype)
    latents = fixed((1, 4, options.side, options.side), 500, 3 ** 0.5)
    for t in scheduler.timesteps:
        output = model(torch.cat([latents] * 2).to(model.dtype), t, encoder_hidden_states=states, return_dict=False)[0].float()
        negative, positive = output.chunk(2)
        latents = scheduler.step(negative + 7.5 * (positive - negative), t, latents, return_dict=False)[0]
    return latents


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in [("side", 32), ("steps", 20), ("repeats", 2), ("threads", 2)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bench/lowrank_sampling")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = fill(diffusers.UNet2DConditionModel.from_config(FULL["sd15"])).to(getattr(torch, options.dtype))
    rows = []
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "latents.safetensors"
        for _ in range(options.repeats):
            theirs(model, options, 1)
            start = time.perf_counter()
            expected = theirs(model, options, options.steps)
            peer = time.perf_counter() - start
            command = [options.program, out, options.side, options.dtype, options.steps, options.threads]
            ours = float(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)
            gap = ((load_file(out)["latents"] - expected).norm() / expected.norm()).item()
            rows.append({"diffusers": round(peer, 2), "lowrank": ours, "ratio": round(peer / ours, 3), "difference": gap})
            print(json.dumps(rows[-1]), flush=True)
    best = min(row["diffusers"] for row in rows) / min(row["lowrank"] for row in rows)
    print(f"{options.steps} steps, {options.dtype}, latents {options.side} x {options.side}: {best:.2f} times diffusers")


if __name__ == "__main__":
    main()
