#!/usr/bin/env bash
# The baselines of tasks with classes: their gradients are those of finite differences, they learn, and say what was asked.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=${BUILD:-build/release}/bench/baseline
. tests/check.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# 40 images of 6 x 6 pixels in two classes: black, but for one white pixel above or below the middle, in its row by turns
{
  printf '\0\0\10\3\0\0\0\50\0\0\0\6\0\0\0\6'
  for i in {0..39}; do
    for p in {0..35}; do if [ "$p" = $((i % 2 * 18 + i % 18)) ]; then printf '\377'; else printf '\0'; fi; done
  done
} >"$dir/train-images-idx3-ubyte"
{ printf '\0\0\10\1\0\0\0\50'; printf '\0\1%.0s' {1..20}; } >"$dir/train-labels-idx1-ubyte"
images=(--task images --task-set "path=$dir" --task-set validation=0.25 --task-set tuning=0)
check 'gradients over a row' 0 '^convolutions: gradient' "$H" --check --task-set train_examples=20
check 'gradients over images' 0 '^convolutions: gradient' "$H" --check "${images[@]}"
"$H" "${images[@]}" --seeds 2 --passes 60 --format csv >"$dir/csv"
awk -F, 'NR > 1 && $4 > 85 {n++} END {exit n != 2}' "$dir/csv"
say $? "both tell one half of a picture from the other: $(tr '\n' ' ' <"$dir/csv")"
grep -q '^linear,74,2,' "$dir/csv" && grep -q '^convolutions,5378,2,' "$dir/csv" # 2 (36 + 1); 16 (9 + 1) + 32 (144 + 1) + 2 (288 + 1)
say $? 'the parameters are those of the layers'
check 'examples without end' 2 'set train_examples' "$H" --task-set train_examples=0
check 'no classes' 2 'a class at the end' "$H" --task-set target=next
exit $bad
