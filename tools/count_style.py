#!/usr/bin/env python3
"""Prints file and function sizes against the budget (files 400, functions 60 lines); fails at 600 and 120."""
import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE_BUDGET, FILE_LIMIT, FUNCTION_BUDGET, FUNCTION_LIMIT = 400, 600, 60, 120
OPENING = re.compile(r"^(?:  )?(?!namespace|class|struct|enum|using|//|#|else|for|if|while|switch|do|return)\S.*\)[^;{]*\{$")


def functions(lines):
    """(first line, length) of each block that starts with a signature and ends with a brace at the same indent."""
    start, indent = None, 0
    for number, line in enumerate(lines, 1):
        if start is None and OPENING.match(line):
            start, indent = number, len(line) - len(line.lstrip())
        elif start is not None and line.startswith(" " * indent + "}") and len(line) - len(line.lstrip()) == indent:
            yield start, number - start + 1
            start = None


def main():
    files, lengths, long_ones, failures = [], [], [], []
    for folder in ("src", "tests", "bench", "examples"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in {".h", ".cpp", ".cu"}:
                continue
            lines = path.read_text().splitlines()
            name = path.relative_to(ROOT)
            files.append(len(lines))
            if len(lines) > FILE_BUDGET:
                long_ones.append(f"{name}: {len(lines)} lines (budget {FILE_BUDGET})")
            if len(lines) > FILE_LIMIT:
                failures.append(f"{name}: {len(lines)} lines, over the limit of {FILE_LIMIT}")
            for first, length in functions(lines):
                lengths.append(length)
                if length > FUNCTION_BUDGET:
                    long_ones.append(f"{name}:{first}: a function of {length} lines (budget {FUNCTION_BUDGET})")
                if length > FUNCTION_LIMIT:
                    failures.append(f"{name}:{first}: a function of {length} lines, over the limit of {FUNCTION_LIMIT}")
    ordered = sorted(lengths)
    share = 100 * sum(length > FUNCTION_BUDGET for length in lengths) / len(lengths)
    print(f"{len(files)} files, {sum(files)} lines, median {statistics.median(files):.0f}, longest {max(files)}")
    print(f"{len(lengths)} functions, median {statistics.median(lengths):.0f}, 90 % within "
          f"{ordered[int(0.9 * len(ordered))]} lines, {share:.1f} % over {FUNCTION_BUDGET}")
    print("\n".join(long_ones + failures))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
