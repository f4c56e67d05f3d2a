#!/usr/bin/env bash
# test_families.sh - every command that takes a model does so for the folders of every family.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=${HYLAB:-./hylab}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. tests/check.sh
for config in tests/golden/*/config.json; do
  d=${config%/config.json}
  g=$(basename "$d")
  vocab=$(sed -n 's/.*"vocab_size": *\([0-9]*\).*/\1/p' "$config")
  mqar=(--task mqar --task-set "vocab=$((vocab - 1))" --task-set 'train=[[16, 2]]' --task-set 'test=[[16, 2]]')
  check "$g show spec" 0 '^total +[0-9]+ +100.0' "$H" show spec "$d"
  check "$g cache" 0 '[0-9]' "$H" cache "$d" --tokens 100
  check "$g eval" 0 '^T16.K2 ' "$H" eval "$d" "${mqar[@]}" --threads 1
  check "$g generate" 0 '^[0-9]+ [0-9]+ [0-9]+ [0-9]+ *$' "$H" generate "$d" '1 2 3' '4 5' --ids --max-new 4 --temperature 0 --threads 1
  check "$g bench" 0 'decode' "$H" bench "$d" --context 16 --tokens 2 --repetitions 1 --threads 1
  check "$g probe" 0 '^ +0 +' "$H" probe "$d" "${mqar[@]}" --entropy --threads 1
  check "$g train" 0 '^T16.K2 ' "$H" train --from "$d" "${mqar[@]}" --train steps=1 --train batch=1 --train eval_examples=2 --threads 1
done
exit $bad
