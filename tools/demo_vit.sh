#!/usr/bin/env bash
# Which method teaches assets/emoji-vit, which knows the Noto hand, the gemojione hand from five pictures a class? Scores the model as it
# is, compares the methods over three seeds, also under changed conditions, tells things that the model knew in the other hand from
# things that it never saw, and prints the report's path. Goes on where it was when run again.
# Arguments go to `lowrank compare`.
#   OUT=<folder>   for the study (default build/demo-vit)     DATA=<folder>   of tools/data/emoji.py (default build/data/emoji)
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-build/demo-vit}
DATA=${DATA:-build/data/emoji}
MODEL=${MODEL:-assets/emoji-vit}
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

if [ ! -e "$DATA/about.json" ]; then
  tools/bootstrap.sh images
  python3 tools/data/emoji.py --out "$DATA"
fi

say "the model as it is, on pictures of the other hand"
build/lowrank eval --model "$MODEL" --data "$DATA/classes-gemojione/test" --robustness

say "comparing: the head alone, LoRA, DoRA, LoKr and full fine-tuning over three seeds"
build/lowrank compare --model "$MODEL" --data "$DATA/classes-gemojione" --config tools/demo_vit.yaml --out "$OUT" "$@"

result=$(cat "$OUT/recommended.txt")
adapted=(--model "$MODEL" --adapter "$result")
[ "$(basename "$result")" = model ] && adapted=(--model "$result")
for things in known new; do
  say "things that the model $([ $things = known ] && echo knew || echo 'never saw') in the Noto hand: before, and after adapting"
  build/lowrank eval --model "$MODEL" --data "$DATA/classes-gemojione-$things"
  build/lowrank eval "${adapted[@]}" --data "$DATA/classes-gemojione-$things"
done

say "the report: $(realpath "$OUT/report.html")"
