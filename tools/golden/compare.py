"""What regenerating the goldens changed: compares each changed file under tests/golden with the committed one.

Another processor sums in another order, so the last digits move. A file whose numbers all stay within the limit is put back as
committed; any other is named with its largest difference, and the exit status is 1.

    python tools/golden/compare.py [--limit 1e-4]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load, load_file

ROOT = Path(__file__).resolve().parents[2]
FLOOR = 1e-2


def git(*arguments):
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True).stdout


def tensor_distance(old, new):
    """Largest difference of any tensor, relative to that tensor's largest number, or to FLOOR if that is more (the gradient of a key's
    bias is rounding noise, and zero in exact numbers); inf where names, shapes or dtypes differ."""
    if old.keys() != new.keys():
        return float("inf")
    worst = 0.0
    for name, before in old.items():
        after = new[name]
        if before.shape != after.shape or before.dtype != after.dtype:
            return float("inf")
        if before.size and not np.array_equal(before, after):
            scale = max(float(np.abs(before).max()), FLOOR)
            worst = max(worst, float(np.abs(before.astype(np.float64) - after.astype(np.float64)).max()) / scale)
    return worst


def json_distance(old, new):
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        return max((json_distance(old[key], new[key]) for key in old), default=0.0)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return max((json_distance(a, b) for a, b in zip(old, new)), default=0.0)
    if isinstance(old, (int, float)) and isinstance(new, (int, float)) and not isinstance(old, bool):
        return abs(old - new) / max(abs(old), 1e-30) if old != new else 0.0
    return 0.0 if old == new else float("inf")


def distance(path):
    old = git("show", f"HEAD:{path}")
    if path.endswith(".safetensors"):
        return tensor_distance(load(old), load_file(ROOT / path))
    if path.endswith(".json"):
        return json_distance(json.loads(old), json.loads((ROOT / path).read_text()))
    return float("inf")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--limit", type=float, default=1e-4)
    limit = parser.parse_args().limit
    changed = git("diff", "--name-only", "--", "tests/golden").decode().split()
    distances = {path: distance(path) for path in changed}
    moved = {path: value for path, value in distances.items() if value > limit}
    for path, value in moved.items():
        print(f"{path}: moved by {value:.1e} of its largest number")
    rounding = [path for path in changed if path not in moved]
    if rounding:
        git("checkout", "HEAD", "--", *rounding)
        print(f"{len(rounding)} files differed by rounding alone, at most {max(distances[path] for path in rounding):.1e}: put back")
    new = git("ls-files", "--others", "--exclude-standard", "--", "tests/golden").decode().split()
    for path in new:
        print(f"{path}: new")
    print(f"{len(moved)} goldens moved, {len(new)} are new")
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main())
