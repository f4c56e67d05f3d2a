#!/usr/bin/env bash
# Several processes against one: seconds of the same training (sum=parts, the same bits) with 1 and N processes of one thread each,
# interleaved, the median ratio, and what `hylab plan` foretells for it. On a machine with N idle processors.
#   bench_ranks.sh [N] [ROUNDS]     MODEL, STEPS, MPIRUN, FLOPS, BANDWIDTH, LATENCY from the environment
set -eu
cd "$(dirname "$0")/../.."
n=${1:-2} rounds=${2:-5}
hylab=${HYLAB:-./hylab} model=${MODEL:-experiments/bench/llama-bench.yaml} steps=${STEPS:-6}
mpirun=${MPIRUN:-mpirun --bind-to core}
[ "$(id -u)" != 0 ] || [ -n "${MPIRUN:-}" ] || mpirun="$mpirun --allow-run-as-root"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
train() { # processes: seconds a step, of all but the first, from the curve's tokens a second
  local front=""
  [ "$1" = 1 ] || front="$mpirun -n $1"
  $front "$hylab" train "$model" --task mqar --task-set vocab=1024 --task-set 'train=[[512,8]]' --task-set 'test=[[512,8]]' --train sum=parts \
    --train batch=1 --train accumulate=$((4 * n)) --train steps="$steps" --train eval_examples=1 --threads 1 --curve "$dir/curve.csv" \
    --out "$dir/w$1.safetensors" >/dev/null 2>"$dir/err" || { cat "$dir/err" >&2; exit 1; }
  awk -F, -v tokens=$((4 * n * 512)) 'NR > 2 { s += tokens / $5; k++ } END { printf "%.4f", s / k }' "$dir/curve.csv"
}
for _ in $(seq "$rounds"); do
  one=$(train 1) all=$(train "$n")
  cmp -s "$dir/w1.safetensors" "$dir/w$n.safetensors" || { echo "not the same bits" >&2; exit 1; }
  echo "$one $all" | tee -a "$dir/times" >&2
done
awk '{ print $1 / $2 }' "$dir/times" | sort -g | awk -v n="$n" '{ a[NR] = $1 } END { m = NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2
  printf "%d processes: %.2f times as fast as one (n %d, %.2f to %.2f), efficiency %.0f %%\n", n, m, NR, a[1], a[NR], 100 * m / n }'
"$hylab" plan "$model" --ranks "$n" --batch 1 --accumulate $((4 * n)) --length 512 --flops "${FLOPS:-30G}" --bandwidth "${BANDWIDTH:-2G}" \
  --latency "${LATENCY:-20u}" | grep -E 'computing|talking|step'
