#!/usr/bin/env bash
# test_precision.sh - --precision and train.precision over the emulated GPU: what is refused, a run that is resumed in its own
# precision only, what tables say of it, and the message of a GPU that is too small.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
E=${HYLAB_EMU:-build/release/hylab-emu}
unset HYLAB_DEVICE
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
M="variants/hymba.yaml --set vocab=40 --set d_model=32 --set layers=2 --set kv_share=none --threads 1 --device cuda"
T="--task mqar --task-set vocab=40 --task-set train=[[16,2]] --task-set test=[[16,2]] --task-set test_examples=4"
R="--train steps=3 --train batch=2 --train log_every=2"

check "weights kept in float32 too" 0 "tensors agree" "$E" verify tests/golden/llama3-tiny --device cuda --precision bf16 --weights f32
check "no such precision" 2 "precision f16: there are f32, tf32 and bf16" "$E" eval "$dir/none" --precision f16
check "tf32 is not on the CPU" 2 "tf32 computing needs --device cuda" "$E" verify tests/golden/llama3-tiny --device cpu --precision tf32
for g in tests/golden/*/config.json; do
  check "bf16 on the CPU: $g" 0 "tensors agree" "$E" verify "${g%/*}" --device cpu --precision bf16
done
C="${M% --device cuda} --device cpu"
check "train in bf16 on the CPU" 0 "accuracy" "$E" train $C $T $R --precision bf16 --out "$dir/c.safetensors"
if "$E" doctor | grep -q '^bf16  *slow'; then check "which is said to be slow" 0 "note: bf16 is slower than f32 here" "$E" train $C $T $R --precision bf16
else check "with products of the processor's own" 0 "onednn \(bf16\): linear" "$E" verify tests/golden/llama-tiny --device cpu --precision bf16; fi
check "resumed there" 0 "accuracy" "$E" train $C $T $R --precision bf16 --resume "$dir/c.safetensors"
check "not in another" 2 "was trained in bf16, this run computes in f32" "$E" train $C $T $R --resume "$dir/c.safetensors"
check "eval in bf16 on the CPU" 0 "accuracy" "$E" eval "$dir/c.safetensors" $T --device cpu --precision bf16
check "generate in bf16 on the CPU" 0 "sample 1" "$E" generate "$dir/c.safetensors" --ids "1 2 3" "4" --max-new 2 --device cpu --precision bf16
check "bench in bf16 on the CPU" 0 "bf16" "$E" bench "$dir/c.safetensors" --device cpu --precision bf16 --context 8 --tokens 2 --repetitions 1 --prefill
check "one of two types" 2 "give one of the two" "$E" verify tests/golden/llama3-tiny --device cpu --precision bf16 --dtype f64

check "train in bf16" 0 "accuracy" "$E" train $M $T $R --precision bf16 --out "$dir/a.safetensors" --curve "$dir/a.csv"
check "its curve has every step" 0 "^3,[0-9.]+,.*" cat "$dir/a.csv"
check "resumed in bf16" 0 "accuracy" "$E" train $M $T $R --train precision=bf16 --resume "$dir/a.safetensors"
check "not resumed in f32" 2 "was trained in bf16, this run computes in f32" "$E" train $M $T $R --resume "$dir/a.safetensors"
check "a checkpoint has float32 masters" 0 "accuracy" "$E" eval "$dir/a.safetensors" $T --device cpu
check "eval in bf16" 0 "accuracy" "$E" eval "$dir/a.safetensors" $T --device cuda --precision bf16
check "generate in bf16" 0 "sample 1" "$E" generate "$dir/a.safetensors" --ids "1 2 3" "4" --max-new 2 --device cuda --precision bf16
check "bench in bf16" 0 "training step.*" "$E" bench $M --precision bf16 --context 8 --tokens 2 --repetitions 1
check "bench tells the precision" 0 "emulated GPU, bf16" "$E" bench "$dir/a.safetensors" --device cuda --precision bf16 --context 8 --tokens 2 --repetitions 1 --prefill
check "matrices are kept in bf16" 0 "matrices in bfloat16" "$E" bench "$dir/a.safetensors" --device cuda --precision bf16 --context 8 --repetitions 1 --prefill

cat >"$dir/x.yaml" <<X
name: precisions
question: does it matter?
variants:
  - {name: Llama, file: $PWD/variants/llama.yaml}
  - {name: Half, file: $PWD/variants/llama.yaml, train: {precision: bf16}}
variant: {vocab: 40, d_model: 32, layers: 1}
tasks:
  - {name: recall, kind: mqar, options: {vocab: 40, train: [[16, 2]], test: [[16, 2]], test_examples: 4}}
train: {steps: 2, batch: 2}
seeds: [1]
X
check "tf32 is refused on the CPU before anything runs" 2 "variant Llama on task recall: train.precision: tf32 needs --device cuda" "$E" run "$dir/x.yaml" --db "$dir/x.db" --set train.precision=tf32 --device cpu
check "bf16 runs there" 0 "^Half +bf16 +1 " "$E" run "$dir/x.yaml" --db "$dir/y.db" --device cpu
check "a run of two precisions" 0 "^Half +bf16 +1 " "$E" run "$dir/x.yaml" --db "$dir/x.db" --device cuda
check "its note" 0 "computed in f32 and bf16 on cuda \(emulated GPU\)" "$E" run "$dir/x.yaml" --db "$dir/x.db" --device cuda
"$E" report "$dir/x.yaml" --db "$dir/x.db" --out "$dir/x.html" >"$dir/out" 2>&1
check "the report's table tells them apart" 0 "precision" grep -E "<th[^>]*>precision|<td[^>]*>bf16" "$dir/x.html"
check "and its caption" 0 "Computed in f32 and bf16 on cuda" cat "$dir/x.html"
check "runs tell device and precision" 0 "cuda +bf16" "$E" show runs --db "$dir/x.db"
check "float32 on the CPU is told of nowhere" 0 "^Llama +1 " "$E" run "$dir/x.yaml" --db "$dir/x.db" --device cpu --set train.precision=f32
check "runs of both devices are kept apart" 0 "cpu +f32" "$E" show runs --db "$dir/x.db"

check "too small: a batch that fits" 1 "activation gradients .* are free, enough for a batch of [0-9]+: with batch [0-9]+ and accumulate times" \
  env HYLAB_EMU_MEMORY=4000000 "$E" train $M $T --train batch=64 --train eval_batch=1
check "too small: what is held" 1 "holds, in MB, weights [0-9.]+, gradients [0-9.]+, optimiser moments [0-9.]+, weights in bfloat16" \
  env HYLAB_EMU_MEMORY=4000000 "$E" train $M $T --train batch=64 --train eval_batch=1 --precision bf16
check "too small: an evaluation" 1 "an evaluation needs [0-9.]+ MB: lower train.eval_batch" env HYLAB_EMU_MEMORY=4000000 "$E" train $M $T --train batch=1
exit $bad
