#!/usr/bin/env bash
# test_cuda.sh - commands with --device cuda over the emulated GPU ($HYLAB_EMU): every golden checkpoint in every precision, and
# training, evaluation, generation, probes and timings of a tiny model beside --device cpu. `make test-gpu` runs it with the
# program of the real GPU instead (gpu_commands.sh).
set -u
cd "$(dirname "$0")/../.." || exit 1
H=${HYLAB_EMU:?the program with the emulated GPU}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. tests/check.sh
emulated() { case "$H" in *-emu) return 0 ;; *) return 1 ;; esac; }
same() { if cmp -s "$2" "$3"; then echo "ok $1"; else echo "not ok $1"; bad=1; fi; }
# numbers of two csv files that agree but for so much of themselves; words must be equal
near() { # name, limit, file, file
  if paste -d '\n' "$3" "$4" | awk -F, -v limit="$2" '
      NR % 2 { n = NF; split($0, a); next }
      { if (NF != n) exit wrong = 1
        for (i = 1; i <= n; i++) { d = a[i] - $i; if (d < 0) d = -d; s = $i < 0 ? -$i : $i
          if (a[i] + 0 == 0 && $i + 0 == 0 ? a[i] != $i : d > limit * s) { print "  " a[i] " and " $i; exit wrong = 1 } } }
      END { exit wrong || NR < 2 }'; then echo "ok $1"; else echo "not ok $1"; bad=1; fi
}

for config in tests/golden/*/config.json; do
  golden=$(dirname "$config")
  for precision in f32 tf32 bf16; do
    check "verify $(basename "$golden") $precision" 0 '^([0-9]+) of \1 tensors agree' "$H" verify "$golden" --device cuda --precision $precision
  done
done

cp tests/data/tiny-parallel.yaml "$dir/m.yaml"
task=(--task mqar --task-set vocab=256 --task-set 'test=[[24, 2]]' --task-set 'train=[[24, 2]]' --task-set test_examples=20)
train() { # name, more arguments
  local name=$1
  shift
  "$H" train "$dir/m.yaml" "${task[@]}" --train steps=5 --train batch=3 --curve "$dir/$name.curve" --out "$dir/$name.safetensors" "$@" 2>&1
  cut -d, -f1-4 "$dir/$name.curve" >"$dir/$name.csv" # without the speed
}
for name in cpu cuda tf32 bf16; do
  case $name in cpu) how=(--device cpu) ;; cuda) how=(--device cuda) ;; *) how=(--device cuda --precision $name) ;; esac
  check "train $name" 0 '^T24.K2' train $name "${how[@]}"
done
check 'train again' 0 '^T24.K2' train again --device cuda
near 'losses and norms in f32' 1e-5 "$dir/cuda.csv" "$dir/cpu.csv"
near 'losses and norms in tf32' 1e-2 "$dir/tf32.csv" "$dir/cpu.csv"
near 'losses and norms in bf16' 1e-1 "$dir/bf16.csv" "$dir/cpu.csv"
same 'two runs give the same bits' "$dir/again.safetensors" "$dir/cuda.safetensors"
if emulated; then
  check 'train in another order' 0 '^T24.K2' env HYLAB_EMU_SEED=7 bash -c "$(declare -f train); $(declare -p H dir task); train other --device cuda"
  same 'any order of threads gives the same bits' "$dir/other.safetensors" "$dir/cuda.safetensors"
fi

on() { # file, limit, command: the same figures on both devices
  local name=$1 limit=$2 d
  shift 2
  for d in cpu cuda; do "$H" "$@" --format csv --device $d 2>"$dir/err" | tail -n +2 >"$dir/$name.$d" || cat "$dir/err"; done
  near "$name" "$limit" "$dir/$name.cuda" "$dir/$name.cpu"
}
on eval 1e-4 eval "$dir/cpu.safetensors" "${task[@]}"
on probe 1e-3 probe "$dir/cpu.safetensors" "${task[@]}" --entropy
for d in cpu cuda; do "$H" generate "$dir/cpu.safetensors" "5 90 7 83 5" "17 3" --ids --max-new 12 --temperature 0 --device $d >"$dir/text.$d" 2>/dev/null; done
same 'generation, two prompts of different lengths' "$dir/text.cuda" "$dir/text.cpu"
check 'generation in bf16' 0 '^[0-9 ]+' "$H" generate "$dir/cpu.safetensors" "5 90 7" --ids --max-new 5 --device cuda --precision bf16
check bench 0 'decod' "$H" bench "$dir/m.yaml" --context 32 --repetitions 1 --tokens 2 --device cuda --precision bf16
check 'bench by op' 0 'attention' "$H" bench "$dir/m.yaml" --context 32 --repetitions 1 --ops --device cuda

if emulated; then
  check 'out of memory' 1 '[Mm]emory' env HYLAB_EMU_MEMORY=70000000 "$H" bench "$dir/m.yaml" --set d_model=512 --batch 64 --context 512 --train --repetitions 1 --device cuda
  check 'no GPU' 2 'no NVIDIA driver' env HYLAB_EMU_DEVICES=0 "$H" verify tests/golden/llama-tiny --device cuda
  check 'no GPU, auto' 0 'tensors agree' env HYLAB_EMU_DEVICES=0 "$H" verify tests/golden/llama-tiny --device auto
fi
exit $bad
