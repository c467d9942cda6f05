#!/usr/bin/env python3
"""Training steps of Stable Diffusion's UNet against diffusers with PEFT and LyCORIS: parity first, then steps that take turns.

SD1.5's full size, one picture of 256x256 (latents 32x32), random weights that both sides read from one file; or another UNet and batch.
Epsilon loss on given noise, timestep and text states, clipping, AdamW. Two sets of layers: attention at rank 16; attention, feed-forward and 3x3 convolutions at rank 8. Without parity
there is no number: in float32 the loss and the gradients of step 1 agree; in bfloat16 we are no further from the peer's float32 than its
own bfloat16 is. The peer runs as shipped (adapters in float32, plain AdamW) and with the fastest of its settings, chosen by trying. Two
processes are loaded at a time and take a step each in turn, so ratios are of neighbouring steps.
Writes <out>/images-<machine>-<date>.json and .md.
Example: .venv-reference/bin/python bench/unet.py --quick
         .venv-reference/bin/python bench/unet.py --unet assets/emoji-sd/unet --side 16 --batch 16
         python bench/unet.py --device cuda --side 64 --threads 8
"""
import argparse
import datetime
import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file, save_file

from run import distances

import unet_gpu
import unet_report
from turns import Process, ratio

HERE = Path(__file__).resolve().parent
FULL = {"sample_size": 64, "cross_attention_dim": 768}  # the rest of SD1.5's is diffusers' default
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
WIDE = [*ATTENTION, "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "downsamplers.0.conv", "upsamplers.0.conv"]


def config(method, rank, targets):
    return {"method": method, "rank": rank, "alpha": rank, "target-modules": targets, **({"factor": 8} if method == "lokr" else {})}


GROUPS = {"attention": (16, ATTENTION), "wide": (8, WIDE)}
CONFIGS = {f"{method} {group}": config(method, *GROUPS[group]) for group in GROUPS for method in ("lora", "dora", "lokr")}
# The peer's rows: (our row, the library that does the same).
ROWS = {name: (name, "peft") for name in CONFIGS} | {f"{m} wide, LyCORIS": (f"{m} wide", "lycoris") for m in ("lora", "lokr")}
EAGER = {"fused": True, "flush": True}
WAYS = {
    "float32": {"fused AdamW": EAGER, "fused AdamW, channels last": {**EAGER, "channels_last": True}},
    "bfloat16": {"adapters in bfloat16": {**EAGER, "narrow_adapters": True},
                 "adapters in bfloat16, channels last": {**EAGER, "narrow_adapters": True, "channels_last": True},
                 "autocast": {**EAGER, "autocast": True}},
}
GRADIENT_LIMIT, LOSS_LIMIT = 1e-4, 1e-5
NARROW_LIMIT, NARROW_FLOOR = 1.25, 1e-3


class Bench:
    def __init__(self, arguments):
        self.arguments, self.folder = arguments, arguments.work
        self.folder.mkdir(parents=True, exist_ok=True)
        self.count = 0
        self.turns, self.warmup = (3, 1) if arguments.quick else (arguments.turns, 2)

    def job(self, **job):
        path = self.folder / f"job-{self.count % 16}.json"
        self.count += 1
        common = {"threads": self.arguments.threads, "started": time.monotonic(), "config": str(self.folder / "config.json"),
                  "weights": str(self.folder / "unet.safetensors"), "inputs": str(self.folder / "inputs.safetensors"),
                  "timestep": 500, "learning_rate": 1e-4, "device": self.arguments.device}
        path.write_text(json.dumps(common | job))
        return str(path)

    def ours(self, mode, names, dtype="bfloat16", **more):
        return [str(self.arguments.program), self.job(mode=mode, dtype=dtype, rows=[self.row(name) for name in names], **more)]

    def peer(self, mode, names, dtype, settings, **more):
        rows = [self.row(ROWS[name][0], f"peer-{dtype}") | {"library": ROWS[name][1]} for name in names]
        return [sys.executable, str(HERE / "peer_diffusers.py"), self.job(mode=mode, dtype=dtype, rows=rows, settings=settings, **more)]

    def row(self, name, gradients="ours"):
        stem = str(self.folder / name.replace(" ", "-"))
        return {"config": CONFIGS[name], "adapter": f"{stem}.safetensors", "gradients": f"{stem}-{gradients}.safetensors"}

    def call(self, command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    def prepare(self):
        generator = torch.Generator().manual_seed(1)
        normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
        if not (self.folder / "config.json").exists():
            from diffusers import UNet2DConditionModel
            torch.manual_seed(1)
            stored = self.arguments.unet
            unet = UNet2DConditionModel.from_pretrained(stored) if stored else UNet2DConditionModel.from_config(FULL)
            save_file({name: p.contiguous() for name, p in unet.to(torch.bfloat16).state_dict().items()}, self.folder / "unet.safetensors")
            unet.save_config(self.folder)
        width = json.loads((self.folder / "config.json").read_text())["cross_attention_dim"]
        batch, side = self.arguments.batch, self.arguments.side
        save_file({"latents": normal(batch, 4, side, side), "noise": normal(batch, 4, side, side),
                   "states": normal(batch, 77, width), "negative": normal(batch, 77, width)},
                  self.folder / "inputs.safetensors")
        wanted = [name for name in self.arguments.rows if not Path(self.row(name)["adapter"]).exists()]
        if wanted:
            self.call(self.ours("write", wanted))

    def parity(self, dtypes):
        """By row and dtype: how far the loss and the gradients of step 1 are from the peer's in float32, and whether that passes."""
        names, results = self.arguments.rows, {}
        truth = {"losses": self.call(self.peer("parity", names, "float32", {}))["rows"]}
        truth["gradients"] = [load_numbers(self.row(name, "peer-float32")["gradients"]) for name in names]
        for dtype in dtypes:
            theirs = truth["losses"] if dtype == "float32" else self.call(self.peer("parity", names, dtype, {}))["rows"]
            losses = self.call(self.ours("parity", names, dtype))["rows"]
            for i, name in enumerate(names):
                expected, mine = truth["gradients"][i], load_numbers(self.row(name)["gradients"])
                loss = lambda value: abs(value - truth["losses"][i]) / truth["losses"][i]  # noqa: B023, E731
                result = {"side": self.arguments.side, "tensors": len(mine), "loss": loss(losses[i]), **distances(mine, expected)}
                if dtype == "float32":
                    result["passed"] = result["whole"] <= GRADIENT_LIMIT and result["loss"] <= LOSS_LIMIT
                else:
                    peer = result["peer"] = {"loss": loss(theirs[i]),
                                             **distances(load_numbers(self.row(name, f"peer-{dtype}")["gradients"]), expected)}
                    result["passed"] = all(result[key] <= max(NARROW_FLOOR, NARROW_LIMIT * peer[key]) for key in ("whole", "loss"))
                results[f"{name} {dtype}"] = result
                print(f"  parity of {name} in {dtype}: {unet_report.parity_line(result)}", file=sys.stderr)
        return results

    def known_parity(self, dtypes):
        """What parity() found for this very program and these rows, found once."""
        path, wanted = self.folder / "parity.json", [f"{name} {dtype}" for name in self.arguments.rows for dtype in dtypes]
        key = [hashlib.sha256(self.arguments.program.read_bytes()).hexdigest(), self.arguments.side, self.arguments.batch,
               self.arguments.device]
        known = json.loads(path.read_text()) if path.exists() else {}
        found = known.get("results", {}) if known.get("key") == key else {}
        if not all(name in found for name in wanted):
            found |= self.parity(dtypes)
            path.write_text(json.dumps({"key": key, "results": found}))
        return {name: found[name] for name in wanted}

    def turn_about(self, commands, turns):
        """Seconds [turns] of each program's steps, one after the other, and what each printed at its end."""
        running = [Process(command) for command in commands]
        for process in running:
            for _ in range(self.warmup):
                process.step()
        seconds = [[] for _ in running]
        for turn in range(turns):
            for i in range(len(running)) if turn % 2 == 0 else reversed(range(len(running))):
                seconds[i].append(running[i].step())
        return seconds, [process.finish()["rows"][0] for process in running]

    def tune(self, name, dtype):
        """The peer's fastest way for a row, None when it can none, and the seconds of all."""
        seconds = {}
        for way, settings in WAYS[dtype].items():
            if ROWS[name][1] == "lycoris" and "narrow" not in str(settings) and dtype == "bfloat16":
                continue
            try:
                seconds[way] = min(self.turn_about([self.peer("steps", [name], dtype, settings)], 2)[0][0])
            except RuntimeError as error:
                print(f"  {way}: does not run here: {str(error).strip().splitlines()[-1][:160]}", file=sys.stderr)
        return min(seconds, key=seconds.get, default=None), seconds

    def measure(self, name, dtype, settings):
        (mine, theirs), ends = self.turn_about([self.ours("steps", [ROWS[name][0]], dtype), self.peer("steps", [name], dtype, settings)],
                                               self.turns)
        return {"ours": mine, "peer": theirs, "ratio": ratio(theirs, mine), "peak_bytes": [end["peak_bytes"] for end in ends],
                "memory": ends[0]["peak_bytes"] / ends[1]["peak_bytes"], "first_step": [end["first_step"] for end in ends],
                "trained": ends[0]["trained"]}

    def sampling(self, dtype):
        """Seconds of guided DDIM steps, taking turns, after both sides' latents of few steps agreed."""
        latents = lambda who: str(self.folder / f"latents-{who}.safetensors")  # noqa: E731
        common = {"cfg": 7.5, "sampling_steps": 2}
        ours = lambda kind, **more: self.ours("sampling", [], kind, latents=latents("ours"), **(common | more))  # noqa: E731
        peer = lambda kind, settings, **more: self.peer("sampling", [], kind, settings, latents=latents("peer"), **(common | more))  # noqa: E731
        self.turn_about([ours("float32"), peer("float32", {})], 1)
        result = {"float32": distances(load_numbers(latents("ours")), load_numbers(latents("peer")))["whole"]}
        ways = {"as it is": {"flush": True}, "channels last": {"flush": True, "channels_last": True}}
        result["tuned"] = {way: min(self.turn_about([peer(dtype, settings)], 2)[0][0]) for way, settings in ways.items()}
        result["way"] = min(result["tuned"], key=result["tuned"].get)
        steps = {"sampling_steps": self.arguments.sampling_steps}
        (mine, theirs), ends = self.turn_about([ours(dtype, **steps), peer(dtype, ways[result["way"]], **steps)], self.turns)
        return result | {"ours": mine, "peer": theirs, "ratio": ratio(theirs, mine), "steps": self.arguments.sampling_steps,
                         "peak_bytes": [end["peak_bytes"] for end in ends]}

    def own_ratios(self, group, dtype):
        """Steps of DoRA and LoKr over LoRA's, all ours."""
        names = [f"{method} {group}" for method in ("lora", "dora", "lokr")]
        seconds, _ = self.turn_about([self.ours("steps", [name], dtype) for name in names], 2 * self.turns)
        return {name: ratio(part, seconds[0]) for name, part in zip(names, seconds)}


def load_numbers(path):
    return {name: tensor.double().numpy() for name, tensor in load_file(path).items()}


def measure_rows(bench, result, names, dtype):
    arguments, best = bench.arguments, {}
    for name in names:
        key = name if not arguments.quick else name.split(" ", 1)[1]
        if key not in best:
            best[key], result["tuned"][f"{key} {dtype}"] = bench.tune(name, dtype)
        if best[key] is None:
            continue
        row = result["rows"][f"{name} {dtype}"] = {"fastest": bench.measure(name, dtype, WAYS[dtype][best[key]]), "way": best[key]}
        if not arguments.quick:
            row["shipped"] = bench.measure(name, dtype, {})
        print(f"  {name} in {dtype}: {unet_report.row_line(row)}", file=sys.stderr)
    for group in GROUPS:
        if {f"{method} {group}" for method in ("lora", "dora", "lokr")} <= set(arguments.rows):
            result["own"][f"{group} {dtype}"] = bench.own_ratios(group, dtype)


def measure_all(bench, result):
    arguments = bench.arguments
    names = [name for name in ROWS if ROWS[name][0] in arguments.rows and (arguments.lycoris or ROWS[name][1] == "peft")]
    for dtype in arguments.dtypes:
        if arguments.sampling_steps:
            sampling = result["sampling"][dtype] = bench.sampling(dtype)
            print(f"  sampling in {dtype}: {unet_report.sampling_line(sampling)}", file=sys.stderr)
        if arguments.device == "cpu":
            measure_rows(bench, result, names, dtype)
        else:
            unet_gpu.measure_rows(bench, result, {name: ROWS[name] for name in names}, WAYS[dtype], GROUPS, dtype)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path("build/release/bench/lowrank_unet_bench"))
    parser.add_argument("--unet", type=Path, help="folder of another UNet as diffusers saves it (default: SD1.5's size, random weights)")
    parser.add_argument("--work", type=Path, help="folder for weights (1.7 GB), adapters and gradients (default: build/bench/<unet>)")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--rows", nargs="*", default=list(CONFIGS), choices=list(CONFIGS))
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16"], choices=list(WAYS))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--side", type=int, default=32, help="height and width of the latents (default 32: 256x256 pixels)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7, help="steps of each program in turn (default 7)")
    parser.add_argument("--quick", action="store_true", help="three turns, one choice of settings a set of layers, no shipped settings")
    parser.add_argument("--sampling-steps", type=int, default=20, help="of the sampling row; 0: without (default 20)")
    parser.add_argument("--no-lycoris", dest="lycoris", action="store_false")
    parser.add_argument("--no-parity", dest="parity", action="store_false", help="a look while working on speed: nothing is written")
    parser.add_argument("--add", action="store_true", help="put these rows into today's results beside those that are there")
    parser.add_argument("--only", choices=["parity", "profile"], help="stop after this part")
    arguments = parser.parse_args()
    model = arguments.unet.resolve().parent.name if arguments.unet else "sd15"
    arguments.work = arguments.work or Path("build/bench") / (f"unet-{model}" if arguments.unet else "unet")
    bench = Bench(arguments)
    bench.prepare()
    result = {"date": str(datetime.date.today()), "quick": arguments.quick, "threads": arguments.threads, "side": arguments.side,
              "model": model, "batch": arguments.batch, "device": arguments.device,
              "parity": {}, "tuned": {}, "rows": {}, "own": {}, "sampling": {}, "profile": {}}
    if arguments.parity and arguments.only != "profile":
        result["parity"] = bench.known_parity(["float32", *(dtype for dtype in arguments.dtypes if dtype != "float32")])
        if arguments.only == "parity" or not all(parity["passed"] for parity in result["parity"].values()):
            print(unet_report.parities(result))
            return 0 if all(parity["passed"] for parity in result["parity"].values()) else 1
    if arguments.device == "cpu":
        for name in arguments.rows:
            done = bench.call(bench.ours("profile", [name], arguments.dtypes[0], steps=2 if arguments.quick else 5))
            result["machine"], result["profile"][name] = done["machine"], done["rows"][0]
    else:
        result["machine"] = torch.cuda.get_device_name()
    if arguments.only != "profile":
        measure_all(bench, result)
    text = unet_report.markdown(result)
    if arguments.parity and arguments.only is None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        size = "" if arguments.device == "cpu" else f"{8 * arguments.side}px-"
        name = f"images-{model}-{size}" + re.sub(r"[^a-z0-9]+", "-", result["machine"].lower()).strip("-") + "-" + result["date"]
        if arguments.add:
            before = json.loads((arguments.out / f"{name}.json").read_text())
            result = {key: before[key] | value if isinstance(value, dict) else value for key, value in result.items()}
            text = unet_report.markdown(result)
        (arguments.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        (arguments.out / f"{name}.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
