#!/usr/bin/env bash
# Pictures: which method adapts the emoji base best, to another hand (style) and to things that it has never seen (subject)?
# Builds the emoji sets from Debian's packages, compares LoRA, DoRA and LoKr over three seeds for each question, and prints the paths of
# the two reports. Goes on where it was when run again.
# MODEL=<diffusers folder> takes another base, FEATURES=<ViT folder> another judge of pictures ("": the base's own autoencoder).
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-demo}
MODEL=${MODEL:-assets/emoji-sd}
FEATURES=${FEATURES-$([ -d assets/emoji-vit ] && echo assets/emoji-vit || true)}
EMOJI=build/data/emoji
SUBJECT=build/data/subject
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
judge=()
[ -z "$FEATURES" ] || judge=(--feature-model "$FEATURES")

say "data: emoji of two hands"
tools/bootstrap.sh images
python3 tools/data/emoji.py --out "$EMOJI" | tail -n 2
python3 tools/data/emoji_subject.py --emoji "$EMOJI" --out "$SUBJECT"

say "style: 40 pictures of gemojione's hand, judged on 200 others"
build/lowrank compare --config tools/demo_style.yaml --model "$MODEL" --data "$EMOJI/style-train" --test "$EMOJI/style-test" \
  --forgetting "$EMOJI/noto-base" "${judge[@]}" --out "$OUT/style"

say "subject: the Halloween emoji, judged on other views of them and in new colours and outlines"
build/lowrank compare --config tools/demo_subject.yaml --model "$MODEL" --data "$SUBJECT/subject-train" --test "$SUBJECT/subject-test" \
  --prior-images "$SUBJECT/subject-prior" --forgetting "$EMOJI/noto-base" --prompts "$SUBJECT/prompts.json" "${judge[@]}" --out "$OUT/subject"

say "the reports: $(realpath "$OUT/style/report.html") and $(realpath "$OUT/subject/report.html")"
