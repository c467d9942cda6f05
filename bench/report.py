"""The tables of run.py as Markdown."""

TARGETS = {"lora": 2.0, "dora": 2.2, "lokr": 3.0}
STEP_TARGETS = {"dora": 1.10, "lokr": 1.05}
TITLES = {"lora": "LoRA", "dora": "DoRA", "lokr": "LoKr"}
WORKLOADS = {"A": "A: 32 texts of 64 tokens", "B": "B: package descriptions, 32 a batch"}


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def interval(ratio):
    return f"{ratio[0]:.2f} ({ratio[1]:.2f}–{ratio[2]:.2f})"


def verdict(value, limit, at_least):
    return f"{'≥' if at_least else '≤'} {limit:.2f} {'met' if (value >= limit) == at_least else 'missed'}"


def speeds(workload, part):
    rows = []
    for method, row in part["rows"].items():
        rates, limit = row["tokens_per_second"], TARGETS[method] * (2 if workload.startswith("B") else 1)
        rows.append([TITLES[method], *(f"{rates[who]:,.0f}" for who in ("ours", "shipped", "tuned")), part["tuned"][method],
                     interval(row["speed_over_shipped"]), interval(row["speed_over_tuned"]),
                     verdict(row["speed_over_tuned"][0], limit, True)])
    return table(["method", "ours tokens/s", "PEFT as shipped", "PEFT fastest", "its setting", "ratio to shipped", "ratio to fastest",
                  "wanted"], rows)


def costs(part):
    rows = []
    for method, row in part["rows"].items():
        bytes_, starts = row["peak_bytes"], row["first_step"]
        step = "–"
        if method in STEP_TARGETS and row["step_over_lora"]:
            step = f"{interval(row['step_over_lora'])}, {verdict(row['step_over_lora'][0], STEP_TARGETS[method], False)}"
        rows.append([TITLES[method], step, *(f"{bytes_[who] / 2**20:.0f}" for who in ("ours", "shipped", "tuned")),
                     f"{row['memory_over_shipped'][0]:.2f}, {verdict(row['memory_over_shipped'][0], 0.6, False)}",
                     f"{row['plan_over_peak']:.2f}", *(f"{starts[who]:.2f}" for who in ("ours", "shipped", "tuned"))])
    return table(["method", "step over LoRA's", "our peak MB", "PEFT's", "fastest's", "ratio to shipped", "plan / peak", "our start s",
                  "PEFT's", "fastest's"], rows)


def parities(result):
    rows = []
    for name, parity in result["parity"].items():
        peer = parity.get("peer")
        rows.append([name, parity["tensors"], f"{parity['first_loss']:.1e}", f"{parity['gradient']:.1e}", f"{parity['whole']:.1e}",
                     f"{parity['losses']:.1e} over {parity['steps']} steps",
                     f"{peer['whole']:.1e}, losses {peer['losses']:.1e}" if peer else "–", "yes" if parity["passed"] else "NO"])
    return table(["run", "tensors", "loss, step 1", "worst gradient", "all gradients", "worst loss", "the peer's own", "passed"], rows)


def profiles(result):
    names = ["frozen products", "adapter products", "attention", "norms and activations", "optimiser", "other"]
    rows = []
    for name, profile in result["profile"].items():
        shares = [profile["groups"].get(group, {"seconds": 0})["seconds"] / profile["seconds"] for group in names]
        rows.append([name, f"{1000 * profile['seconds'] / profile['steps']:.0f}", *(f"{100 * share:.1f} %" for share in shares),
                     f"{100 * (1 - sum(shares)):.1f} %", f"{100 * profile['share_of_ceiling']:.0f} %"])
    text = table(["run", "ms a step", *names, "outside operators", "of the ceiling"], rows)
    for name, profile in result["profile"].items():
        largest = sorted(profile["operators"].items(), key=lambda item: -item[1]["seconds"])[:8]
        text += f"\n{name}: " + ", ".join(f"{operator.removeprefix('aten::')} {100 * sums['seconds'] / profile['seconds']:.1f} %"
                                          f" ({sums['calls'] // profile['steps']})" for operator, sums in largest) + "\n"
    return text


def ceilings(result):
    rows = [[dtype, "×".join(map(str, shape)), *(f"{result[key][dtype]['rates'][i] / 1e9:.0f}" for key in ("ceiling", "ceiling_after"))]
            for dtype, part in result["ceiling"].items() for i, shape in enumerate(part["shapes"])]
    return table(["dtype", "rows×in×out", "GFLOP/s before", "after"], rows)


def markdown(result):
    text = f"# Steps against PEFT: {result['ceiling']['float32']['machine']}, {result['date']}\n\n"
    if result["quick"]:
        text += "A quick look: few rounds of few steps.\n\n"
    text += ("MiniLM-L6, rank 16 on all linear layers, LoKr factor 8, no dropout, AdamW. Rates are tokens that are not padding, per "
             "second; ratios are medians over interleaved rounds with 95 % bootstrap intervals.\n\n")
    for key, part in result["workloads"].items():
        workload, dtype = key.split()
        text += f"## {WORKLOADS[workload]}, {dtype}\n\n{speeds(workload, part)}\n{costs(part)}\n"
    text += ("## Parity with PEFT\n\nRelative distances from the peer's float32 run; for bfloat16 beside the distance of the peer's own "
             f"bfloat16.\n\n{parities(result)}\n")
    text += f"## Where our step goes\n\nShares of time; the largest operators with their calls a step.\n\n{profiles(result)}\n"
    return text + f"## Matrix products alone\n\nBest rate, {result['threads']} threads.\n\n{ceilings(result)}"
