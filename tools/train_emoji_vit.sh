#!/usr/bin/env bash
# Trains the vision transformer of assets/emoji-vit from nothing on Noto emoji, first on all 96 subgroups and then on the 39 of the task,
# and scores it: on held-out Noto emoji as they are and under changed conditions, and on the gemojione hand, which it has not seen. 45 minutes
# on one thread. What decides the result: the packages that tools/data/emoji.py reads, this file, tools/train_emoji_vit.yaml and, for
# the last bits, the processor and the number of threads.
#   OUT=<folder>     for the run (default build/emoji-vit); must not exist
#   DATA=<folder>    of tools/data/emoji.py (default build/data/emoji; made when missing)
#   ASSET=<folder>   takes the trained model's files (default: none does)
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-build/emoji-vit}
DATA=${DATA:-build/data/emoji}
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

if [ ! -e "$DATA/about.json" ]; then
  tools/bootstrap.sh images
  python3 tools/data/emoji.py --out "$DATA"
fi
mkdir -p "$OUT"

say "a new model"
build/lowrank create --family vit --image-size 64 --patch-size 8 --width 160 --layers 6 --heads 5 --seed 1 --out "$OUT/new"

say "training it on Noto emoji of all subgroups"
build/lowrank train --model "$OUT/new" --data "$DATA/classes-all" --config tools/train_emoji_vit.yaml --out "$OUT/all" \
  --learning-rate 1e-3 --batch-size 64 --epochs 150 --validate-every 25 --ema 0.998 --mix 0.5

say "then on those that both hands drew often enough"
build/lowrank train --model "$OUT/all/model" --data "$DATA/classes-noto" --config tools/train_emoji_vit.yaml --out "$OUT/run"

say "Noto emoji that it has not seen"
build/lowrank eval --model "$OUT/run/model" --data "$DATA/classes-noto/test" --robustness
for things in known new; do
  say "gemojione, $things things"
  build/lowrank eval --model "$OUT/run/model" --data "$DATA/classes-gemojione-$things" --robustness
done

if [ -n "${ASSET:-}" ]; then
  mkdir -p "$ASSET"
  cp "$OUT/run/model/"{config.json,model.safetensors,preprocessor_config.json} "$ASSET"
  say "kept in $ASSET"
fi
