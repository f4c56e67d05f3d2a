#!/usr/bin/env bash
# The experiments of the tree: every scale resolves, the small models of a comparison are of equal size, and the paper's scale of Table 10
# has the caches that the paper prints. Nothing is trained here.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=${HYLAB:-./hylab}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. tests/check.sh
plan() { "$H" run "$1" --scale "$2" --dry-run --db "$dir/none.db" --format csv | tr -d '\r'; }
# largest parameter count of a plan, in percent above the smallest
spread() { awk -F, 'NR > 1 {n = $10; if (!lo || n < lo) lo = n; if (n > hi) hi = n} END {printf "%.1f", 100 * (hi / lo - 1)}'; }

for file in experiments/*/*.yaml; do
  grep -q '^scales:' "$file" || continue
  for scale in $(sed -n '/^scales:/,$s/^  \([a-z0-9-]*\):.*/\1/p' "$file"); do
    plan "$file" "$scale" >"$dir/plan" 2>"$dir/err" && [ "$(wc -l <"$dir/plan")" -gt 8 ]
    say $? "$file, scale $scale: $(($(wc -l <"$dir/plan") - 1)) runs $(head -n 1 "$dir/err")"
  done
done
"$H" run experiments/erf-structure/text.yaml --dry-run --db "$dir/none.db" >/dev/null
say $? "experiments/erf-structure/text.yaml"
for file in experiments/table9/table9.yaml experiments/table10/table10.yaml experiments/ssm-attention-ratio/ssm-attention-ratio.yaml; do
  s=$(plan "$file" small | spread)
  awk "BEGIN {exit !($s > 0 && $s < 5)}"
  say $? "$file: small models of equal size (the largest is $s % above the smallest)"
done
got=$(plan experiments/table10/table10.yaml paper | awk -F, 'NR > 1 && !seen[$1]++ {printf "%.2f ", $12}')
[ "$got" = "1.87 99.09 197.39 394.00 148.24 414.72 5.51 41.19 39.42 28.98 39.42 1.87 40.01 156.35 " ]
say $? "the caches of Table 10 in the paper's accounting: $got"
exit $bad
