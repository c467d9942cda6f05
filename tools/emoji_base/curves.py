#!/usr/bin/env python3
"""Training and held-out loss of runs that followed one another as one SVG.
Example: tools/emoji_base/curves.py build/emoji_base/base?/metrics.jsonl > curves.svg"""
import json
import math
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 300, 56, 40, 24


def points(lines, event, smooth):
    values, kept = [], []
    for line in lines:
        if line["event"] != event:
            continue
        kept.append(line["loss"])
        values.append((line["step"], sum(kept[-smooth:]) / len(kept[-smooth:])))
    return values


def main():
    lines, done = [], 0
    for path in sys.argv[1:]:
        run = [json.loads(line) for line in Path(path).read_text().splitlines()]
        lines += [line | {"step": line["step"] + done} for line in run]
        done = lines[-1]["step"]
    curves = {"training, mean of 50 steps": ("#2a6fb0", points(lines, "step", 50)), "held out, all timesteps alike": ("#c2571a", points(lines, "validation", 1))}
    every = [loss for _, curve in curves.values() for _, loss in curve]
    low, high, last = math.log(min(every)), math.log(max(every)), max(step for _, curve in curves.values() for step, _ in curve)
    x = lambda step: LEFT + (WIDTH - LEFT - 16) * step / last
    y = lambda loss: TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log(loss)) / (high - low)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">')
    print(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for loss in (0.02, 0.05, 0.1, 0.2, 0.5, 1):
        if low <= math.log(loss) <= high:
            print(f'<path d="M{LEFT} {y(loss):.1f}H{WIDTH - 16}" stroke="#ddd"/><text x="{LEFT - 6}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss}</text>')
    for step in range(0, last + 1, max(1000, last // 6 // 1000 * 1000)):
        print(f'<text x="{x(step):.1f}" y="{HEIGHT - 20}" text-anchor="middle">{step}</text>')
    print(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 4}" text-anchor="middle">steps</text>')
    for place, (name, (colour, curve)) in enumerate(curves.items()):
        path = " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in curve[:: max(1, len(curve) // 400)])
        print(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        print(f'<text x="{WIDTH - 16}" y="{TOP + 14 + 16 * place}" text-anchor="end" fill="{colour}">{name}</text>')
    print("</svg>")


if __name__ == "__main__":
    main()
