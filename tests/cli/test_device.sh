#!/usr/bin/env bash
# test_device.sh - --device, $HYLAB_DEVICE and doctor, with a GPU and without: over the emulated GPU, whose number of devices the
# environment sets; and that a stored run knows its kind of device. What models give there is test_cuda.sh's matter.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
E=${HYLAB_EMU:-build/release/hylab-emu}
unset HYLAB_DEVICE
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
none="env HYLAB_EMU_DEVICES=0"
without() { ! "$@" 2>&1 | grep -q "^device:"; }

check "doctor tells of the GPU" 0 "CUDA +ok +CUDA .*emulated GPU \(sm_" "$E" doctor
check "doctor without one" 0 "CUDA +none .*--device cpu works" $none "$E" doctor
check "cuda where there is none" 2 "^hylab [a-z]*: --device cuda: CUDA " $none "$E" verify tests/golden/hymba-tiny --device cuda
check "a GPU of another number" 2 "there is no GPU 7" "$E" verify tests/golden/hymba-tiny --device cuda:7
check "a sweep on a GPU of another number" 2 "there is no GPU 7" "$E" run tests/data/runner-tiny.yaml --db "$dir/none.db" --device cuda:7
for wrong in gpu cuda: cuda:x cuda:-1 cuda:1x CUDA; do check "no device: $wrong" 2 "--device $wrong: there are cpu, cuda" "$E" verify tests/golden/hymba-tiny --device "$wrong"; done
check "the environment is told by its name" 2 "HYLAB_DEVICE=gpu: there are cpu" env HYLAB_DEVICE=gpu "$E" verify tests/golden/hymba-tiny
check "an option wins over the environment" 0 "tensors agree" env HYLAB_DEVICE=gpu "$E" verify tests/golden/hymba-tiny --device cpu
check "auto is the CPU without a GPU" 0 "thread" $none "$E" verify tests/golden/hymba-tiny
check "auto is the CPU with --isa" 0 "thread" "$E" verify tests/golden/hymba-tiny --isa base
check "and tells of no device" 0 "" without "$E" verify tests/golden/hymba-tiny --isa base
check "--isa is none of a GPU's" 2 "--isa base names kernels of the CPU" "$E" verify tests/golden/hymba-tiny --isa base --device cuda
check "float64 is the CPU's" 2 "f64 is for --device cpu" "$E" verify tests/golden/hymba-tiny --dtype f64 --device cuda
check "float64 with auto is on the CPU" 0 "thread" "$E" verify tests/golden/hymba-tiny --dtype f64 --isa ref
check "auto takes the GPU and says so" 0 "^device: .*emulated GPU" "$E" verify tests/golden/llama3-tiny

check "tf32 is none of the CPU's" 2 "tf32" "$E" verify tests/golden/llama3-tiny --precision tf32 --device cpu
check "doctor tells how bf16 is computed on the CPU" 0 "^bf16 +(slow|ok) " "$E" doctor

check "nor of a sweep there" 2 "variant Llama on task recall: train.precision: tf32 needs --device cuda" $none "$E" run tests/data/runner-tiny.yaml --db "$dir/none.db" --set train.precision=tf32
check "which can be planned there" 0 "Llama +recall +1 +to do" $none "$E" run tests/data/runner-tiny.yaml --db "$dir/none.db" --set train.precision=tf32 --dry-run

# a stored run knows its kind of device: those of the CPU are others
run="run tests/data/runner-tiny.yaml --db $dir/r.db --only Llama --set seeds=[1]"
check "a run on the GPU" 0 "Llama" "$E" $run --device cuda
check "is stored as such" 0 "Llama +recall +1 +stored" "$E" $run --device cuda --dry-run
check "and is not one of the CPU" 0 "Llama +recall +1 +to do" "$E" $run --device cpu --dry-run

# gradients of values alone, for which backward kernels get no room for those of parameters: the CPU's, to float32
gradient=(probe tests/data/tiny-parallel.yaml --task mqar --task-set vocab=256 --task-set 'test=[[24, 2]]' --task-set 'train=[[24, 2]]'
  --measure gradient_erf --option each=both --option examples=1 --format csv)
"$E" "${gradient[@]}" --device cpu >"$dir/cpu.csv" 2>/dev/null && "$E" "${gradient[@]}" --device cuda >"$dir/cuda.csv" 2>/dev/null
check "gradients on the GPU" 0 "^(1[0-9]|2[0-9]) rows, 0 differ" awk -F, 'NR == FNR {for (i = 1; i <= NF; i++) v[FNR, i] = $i; next}
  {for (i = 1; i <= NF; i++) {d = $i - v[FNR, i]; if ($i != v[FNR, i] && (d < 0 ? -d : d) > 1e-3 * $i) bad++}}
  END {print FNR " rows, " bad + 0 " differ"}' "$dir/cpu.csv" "$dir/cuda.csv"

# batches halved until they fit are not the same everywhere: the figure has them all
speed=(tests/data/runner-tiny.yaml --scale speed --db "$dir/s.db" --set 'measures.throughput.contexts=[16, 32]' --set 'measures.throughput.batch=[128]' --set measures.throughput.repetitions=1)
check "timed at the batch that fits" 0 "prefill batch" env HYLAB_EMU_MEMORY=2000000 "$E" run "${speed[@]}" --device cuda
check "and drawn" 0 "batch [0-9]+ to [0-9]+, float32" "$E" plot "${speed[@]}" --out "$dir/figures"
check "of both variants and contexts, prefill and decoding" 0 "^8$" grep -cE '^ ?(16|32) ' "$dir/figures/throughput.dat"
exit $bad
