"""unet.py's rows where a program takes longer to start than to train: all programs at once, each taking a step of a row in turn, the peer
once for each of its settings. The peer's seconds are those of its fastest setting, so the ratio is to what turned out best."""
import statistics
import sys

import unet_report
from turns import Process, ratio


def with_turns(bench, commands, rows, turns):
    """For each row the seconds [turns] of each program's steps, None where a program has no such row."""
    running = [Process(command) for command, _ in commands]
    takes = [names for _, names in commands]
    table = []
    for row in rows:
        those = [i for i, names in enumerate(takes) if row in names]
        for i in those:
            for _ in range(bench.warmup):
                running[i].step()
        seconds = [[] if i in those else None for i in range(len(running))]
        for turn in range(turns):
            for i in those if turn % 2 == 0 else reversed(those):
                seconds[i].append(running[i].step())
        for i in those:
            running[i].next()
        table.append(seconds)
    return table, [dict(zip(names, process.finish()["rows"])) for names, process in zip(takes, running)]


def measure_rows(bench, result, rows, all_ways, groups, dtype):
    """rows: {name: (our row, the library that does the same)}; all_ways: {way: settings} of the peer."""
    # LyCORIS' layers want their adapters in the model's dtype. Autocast has more operations than either of the others, each of which
    # costs its start here.
    ways = {way: [name for name, (_, library) in rows.items() if library == "peft" or dtype == "float32" or settings.get("narrow_adapters")]
            for way, settings in all_ways.items() if not settings.get("autocast")}
    commands = [(bench.ours("steps", [ours for ours, _ in rows.values()], dtype), list(rows))]
    commands += [(bench.peer("steps", names, dtype, all_ways[way]), names) for way, names in ways.items()]
    table, ends = with_turns(bench, commands, list(rows), bench.turns)
    medians = {}
    for name, (mine, *theirs) in zip(rows, table):
        tuned = {way: seconds for way, seconds in zip(ways, theirs) if seconds}
        best = min(tuned, key=lambda way: statistics.median(tuned[way]))
        end = [ends[0][name], ends[1 + list(ways).index(best)][name]]
        medians[name] = mine
        result["tuned"][f"{name} {dtype}"] = {way: statistics.median(seconds) for way, seconds in tuned.items()}
        row = result["rows"][f"{name} {dtype}"] = {"way": best, "fastest": {
            "ours": mine, "peer": tuned[best], "ratio": ratio(tuned[best], mine), "peak_bytes": [e["peak_bytes"] for e in end],
            "memory": end[0]["peak_bytes"] / end[1]["peak_bytes"], "trained": end[0]["trained"]}}
        print(f"  {name} in {dtype}: {unet_report.row_line(row)}", file=sys.stderr)
    for group in groups:
        own = [f"{method} {group}" for method in ("lora", "dora", "lokr")]
        if set(own) <= set(medians):
            result["own"][f"{group} {dtype}"] = {name: ratio(medians[name], medians[own[0]]) for name in own}
