#!/usr/bin/env bash
# Tasks of data files in experiments: the experiments of images and speech resolve, with stand-ins for data that are not in the tree, and
# their models are of equal size; a path is found beside its experiment; other bytes are another model.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=${HYLAB:-./hylab}
. tests/check.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
zeros() { head -c "$1" /dev/zero; }

# ---- stand-ins: 20 images of 4 x 4 pixels with a test part; a record of CIFAR in each file; five recordings of four samples
mkdir "$dir/digits" "$dir/mnist" "$dir/cifar" "$dir/words" "$dir/words/no"
for part in digits/train mnist/train mnist/t10k; do
  { printf '\0\0\10\3\0\0\0\24\0\0\0\4\0\0\0\4' && head -c 320 tests/data/shakespeare-100k.txt; } >"$dir/$part-images-idx3-ubyte"
  { printf '\0\0\10\1\0\0\0\24' && printf '\0\1\2\3\4\5\6\7\10\11%.0s' 1 2; } >"$dir/$part-labels-idx1-ubyte"
done
for f in data_batch_{1..5} test_batch; do zeros 3073 >"$dir/cifar/$f.bin"; done
echo path,label,group >"$dir/five.csv"
for l in en es fr it ru; do
  for i in 0 1 2; do
    printf 'RIFF\0\0\0\0WAVEfmt \20\0\0\0\1\0\1\0\100\37\0\0\200\76\0\0\2\0\20\0data\10\0\0\0\0\177\0\177\0\200\0\200' >"$dir/$l$i.wav"
    echo "$l$i.wav,$l,$i" >>"$dir/five.csv"
  done
done
for i in 0 1 2; do cp "$dir/en$i.wav" "$dir/words/no/${i}_nohash_0.wav"; done
echo no/1_nohash_0.wav >"$dir/words/testing_list.txt"
echo no/2_nohash_0.wav >"$dir/words/validation_list.txt"

# ---- the experiments: number of runs, and the largest model over the smallest
resolves() { # file, runs, task.path or none
  local n
  "$H" run "$1" --dry-run --db "$dir/none.db" --format csv ${3:+--set "task.path=$3"} 2>"$dir/err" | tr -d '\r' >"$dir/plan"
  n=$(($(wc -l <"$dir/plan") - 1))
  [ "$n" = "$2" ]
  say $? "$1: $n runs" "$(head -n 2 "$dir/err")"
  awk -F, 'NR > 1 {n = $10; if (!lo || n < lo) lo = n; if (n > hi) hi = n} END {exit !(lo && hi / lo < 1.05)}' "$dir/plan"
  say $? "$1: models of equal size within 5 %"
}
resolves experiments/images/mnist1d.yaml 60
resolves experiments/images/digits.yaml 60 "$dir/digits"
resolves experiments/images/mnist.yaml 60 "$dir/mnist"
resolves experiments/images/cifar.yaml 60 "$dir/cifar"
resolves experiments/speech/language.yaml 90 "$dir/five.csv"
resolves experiments/speech/commands.yaml 30 "$dir/words"

# ---- a run of a small one, its data beside it
cat >"$dir/small.yaml" <<'END'
name: small
seeds: [1]
variant: {vocab: 27, d_model: 16, layers: 1, max_len: 32, mlp: {kind: none}}
variants: [{name: tiny, file: VARIANT}]
tasks: [{name: images, kind: images, options: {path: mnist, levels: 16}}]
train: {steps: 2, batch: 4}
END
sed -i "s|VARIANT|$PWD/variants/mixer-none.yaml|" "$dir/small.yaml"
"$H" run "$dir/small.yaml" --db "$dir/a.db" --jobs 1 >"$dir/out" 2>&1
say $? 'a path beside the experiment' "$(tail -3 "$dir/out")"
grep -q 'A guess' "$dir/out" && grep -q '10.00 %' "$dir/out" # two images of each class
say $? 'the words tell the share of the commonest class' "$(grep guess "$dir/out")"
check 'stored' 0 ',stored,' "$H" run "$dir/small.yaml" --db "$dir/a.db" --dry-run --format csv
printf '\11' | dd of="$dir/mnist/t10k-labels-idx1-ubyte" bs=1 seek=8 conv=notrunc status=none # one label in evaluation
check 'other bytes are another model' 0 ',to do,' "$H" run "$dir/small.yaml" --db "$dir/a.db" --dry-run --format csv
check 'no data' 2 'digits.yaml.*(data/nothing)' "$H" run experiments/images/digits.yaml --dry-run --db "$dir/none.db" --set task.path=data/nothing
exit $bad
