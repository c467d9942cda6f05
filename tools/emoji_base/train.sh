#!/usr/bin/env bash
# Trains assets/emoji-sd from nothing: a Stable Diffusion model of small size on the Noto emoji, the Halloween ones left out.
#   tools/emoji_base/train.sh            about two hours on two idle cores (86 pictures/s); goes on where it was when run again
# EPOCHS: of the last of three rounds, in which the learning rate falls.
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

work=build/emoji_base program=build/lowrank data=build/data/emoji
tools/bootstrap.sh images
tools/bootstrap.sh base
[ -x $program ] || make build
[ -e $data/about.json ] || python3 tools/data/emoji.py --out $data
if [ ! -e $work/clip ]; then
  python3 tools/data/clip_vocabulary.py --merges .venv/lib/python3*/site-packages/open_clip/bpe_simple_vocab_16e6.txt.gz --out $work/clip
fi
pictures=(--data $data/noto-base --resolution 64 --bucket false --save-every 120 --resume)

say "a model with random weights"
[ -e $work/new ] || $program create --family stable-diffusion --architecture tools/emoji_base/architecture.json --tokenizer $work/clip \
  --seed 1 --out $work/new

say "the autoencoder, in two rounds"
autoencoder=(--method full --component vae "${pictures[@]}" --validation-fraction 0.03 --learning-rate 2e-3 --schedule cosine --kl-weight 1e-3 --latent-scale measure)
[ -e $work/vae1/model ] || $program train --model $work/new "${autoencoder[@]}" --epochs 10 --batch-size 16 --ema 0.99 --out $work/vae1
[ -e $work/vae/model ] || $program train --model $work/vae1/model "${autoencoder[@]}" --epochs 9 --batch-size 8 --ema 0.995 --out $work/vae

say "the UNet and the text encoder, in three rounds"
# round OUT MODEL EPOCHS ARGUMENTS: what all have in common.
round() {
  local out=$work/$1 model=$2 epochs=$3
  shift 3
  [ -e "$out/model" ] || $program train --model "$model" --method full "${pictures[@]}" --out "$out" --epochs "$epochs" --batch-size 32 \
    --learning-rate 1e-3 --text-encoder-learning-rate 1e-3 --warmup-fraction 0.02 --ema 0.999 --caption-dropout 0.1 --shuffle-captions \
    --keep-tokens 1 --tag-dropout 0.3 --validate-every 0 --sample-prompts tools/emoji_base/prompts.txt --sample-every 1000 \
    --sample-steps 20 --sample-cfg 4 --sample-size 64 "$@"
}
# Min-SNR weights leave out the steps next to noise alone, in which a picture's outline is found: the first round had them, the others not.
round base1 $work/vae/model 115 --schedule cosine --min-snr-gamma 5 --validation-fraction 0.03
round base2 $work/base1/model 100 --schedule constant --validation-fraction 0
round base3 $work/base2/model "${EPOCHS:-70}" --schedule cosine --validation-fraction 0

say "in float16"
[ -e $work/half ] || $program merge --model $work/base3/model --dtype float16 --out $work/half
du -sh $work/half
say "the model is in $work/half"
