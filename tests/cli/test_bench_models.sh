#!/usr/bin/env bash
# The two models of the training benchmark have the sizes that experiments/bench/README.md and bench_torch.py state.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=${HYLAB:-./hylab}
bad=0
for want in llama:7475456 hymba:7451264; do
  model=${want%:*} n=${want#*:}
  text=$(sed -E 's/([0-9]) ([0-9]{3}) ([0-9]{3})/\1\2\3/g' experiments/bench/README.md "experiments/bench/$model-bench.yaml")
  if "$H" show spec "experiments/bench/$model-bench.yaml" | grep -qE "^total +$n " && [ "$(grep -c "$n" <<<"$text")" = 2 ]; then
    echo "ok $model-bench has $n parameters"
  else
    echo "not ok $model-bench has $n parameters"
    bad=1
  fi
done
# The defaults of bench_torch.py give the same: only where PyTorch is installed.
for want in llama:7475456 hymba:7451264; do
  model=${want%:*} n=${want#*:}
  if ! python3 -c 'import torch' 2>/dev/null; then echo "skip PyTorch's $model (no torch)"; continue; fi
  if python3 experiments/bench/bench_torch.py --model "$model" --steps 0 | grep -q "\"parameters\": $n,"; then
    echo "ok PyTorch's $model has $n parameters"
  else
    echo "not ok PyTorch's $model has $n parameters"
    bad=1
  fi
done
exit $bad
