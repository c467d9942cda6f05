#!/usr/bin/env python3
"""Writes tests/golden/data/buckets.json: bucket sets and the bucket, scaled size and cut of pictures of many sizes.

The rule is kohya's (sd-scripts, `make_bucket_resolutions` and `BucketManager.select_bucket`), told again in exact
fractions where theirs has floats, and in floats where a float decides (the nearest ratio, the rounded side).
"""
import argparse
import json
import math
import random
from pathlib import Path

SETTINGS = [  # width, height, min, max, step, no_upscale
    (512, 512, 256, 1024, 64, False), (1024, 1024, 256, 2048, 64, False), (512, 768, 320, 960, 64, False),
    (64, 64, 32, 128, 8, False), (512, 512, 256, 1024, 64, True), (768, 768, 256, 1024, 32, True)]
SIZES = [(512, 512), (576, 448), (448, 576), (1024, 256), (1, 1000), (1000, 1), (136, 128), (640, 480), (480, 640),
         (4000, 3000), (3000, 4000), (1920, 1080), (513, 511), (64, 64), (2048, 2048)]


def bucket_set(width, height, least, most, step):
    area = width * height
    square = math.isqrt(area) // step * step
    found = {(square, square)}
    for side in range(least, most + 1, step):
        other = min(most, area // side // step * step)
        if other >= least:
            found |= {(side, other), (other, side)}
    return sorted(found)


def half_up(x):
    return int(x + 0.5)


def place(buckets, area, step, no_upscale, width, height):
    """(bucket width, height, scaled width, height, left, top), or None where no whole step fits."""
    ratio = width / height
    if not no_upscale:
        bucket = (width, height) if (width, height) in buckets else min(buckets, key=lambda b: abs(b[0] / b[1] - ratio))
        scale = bucket[1] / height if ratio > bucket[0] / bucket[1] else bucket[0] / width
        scaled = (half_up(width * scale), half_up(height * scale))
    else:
        scaled = (width, height)
        if width * height > area:
            down = lambda x: half_up(x) - half_up(x) % step
            wide = math.sqrt(area * ratio)
            a, d = down(wide), down(area / wide)
            b, c = down(a / ratio), down(d * ratio)
            if 0 in (a, b, c, d):
                return None
            scaled = (a, half_up(a / ratio)) if abs(a / b - ratio) < abs(c / d - ratio) else (half_up(d * ratio), d)
        bucket = tuple(side - side % step for side in scaled)
        if 0 in bucket:
            return None
    return [*bucket, *scaled, (scaled[0] - bucket[0]) // 2, (scaled[1] - bucket[1]) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "tests/golden/data/buckets.json")
    arguments = parser.parse_args()
    rng = random.Random(11)
    sizes = SIZES + [(rng.randint(60, 3000), rng.randint(60, 3000)) for _ in range(150)]
    lines = []
    for width, height, least, most, step, no_upscale in SETTINGS:
        buckets = bucket_set(width, height, least, most, step)
        cases = [[w, h, place(buckets, width * height, step, no_upscale, w, h)] for w, h in sizes]
        lines.append(json.dumps({"resolution": [width, height], "min": least, "max": most, "step": step,
                                 "no_upscale": no_upscale, "buckets": buckets, "cases": cases}))
    arguments.out.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(lines)} settings, {len(sizes)} sizes in {arguments.out}, {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
