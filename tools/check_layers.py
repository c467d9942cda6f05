#!/usr/bin/env python3
"""Fails on an #include that the layer table in docs/design.md does not allow, and on words banned from a layer."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_HEADER = re.compile(r"^(torch|ATen|c10)/")
BANNED = [  # pattern, where it is allowed, why
    (re.compile(r"\bstd::(cout|cerr)\b|\bprintf\(|\bexit\("), {"cli"}, "the library never prints or exits"),
    (re.compile(r"#\s*if.*CUDA"), {"kernels"}, "device differences live in kernels"),
]


def read_table():
    """The rows `| layer | may include | torch |` of docs/design.md."""
    table = {}
    for line in (ROOT / "docs/design.md").read_text().splitlines():
        row = re.match(r"\|\s*`(\w+)`\s*\|\s*may include:\s*([^|]*)\|\s*torch:\s*(yes|no)\s*\|", line)
        if row:
            allowed = set(re.findall(r"\w+", row.group(2))) - {"nothing"}
            table[row.group(1)] = (allowed | {row.group(1)}, row.group(3) == "yes")
    return table


def problems_of(path, layer, allowed, torch):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        place = f"{path.relative_to(ROOT)}:{number}"
        include = re.match(r'\s*#\s*include\s*["<]([^">]+)[">]', line)
        if include:
            name = include.group(1)
            ours = re.match(r"lowrank/(\w+)/", name)
            if ours and ours.group(1) not in allowed:
                yield f"{place}: layer '{layer}' must not include '{name}' (allowed: {', '.join(sorted(allowed))})"
            if TORCH_HEADER.match(name) and not torch:
                yield f"{place}: layer '{layer}' is torch-free, but includes '{name}'"
        for pattern, where, why in BANNED:
            if layer not in where and pattern.search(line.split("//")[0]):
                yield f"{place}: '{pattern.search(line).group(0)}' in layer '{layer}': {why}"


def main():
    table = read_table()
    if not table:
        sys.exit("no layer table found in docs/design.md: expected rows '| `base` | may include: … | torch: no | … |'")
    found, files = [], 0
    for folder in sorted((ROOT / "src/lowrank").iterdir()):
        if not folder.is_dir():
            continue
        if folder.name not in table:
            found.append(f"src/lowrank/{folder.name}: not in the layer table of docs/design.md")
            continue
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".h", ".cpp", ".cu", ".cuh"}:
                files += 1
                found += problems_of(path, folder.name, *table[folder.name])
    print("\n".join(found) if found else f"{files} files in {len(table)} layers: no forbidden include")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
