#!/usr/bin/env bash
# Plans of many runs: ten thousand points of a recipe are planned in little memory, and each run of a grid is the run that a file
# without a grid describes.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=$(realpath "${HYLAB:-build/release/hylab}")
. tests/check.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
cat >m.yaml <<'END'
{vocab: 40, d_model: 8, layers: 1, mixer: attention, attention: {heads: 2, window: 8}, mlp: {d_ff: 8}}
END
list() { awk -v f="$1" 'BEGIN {for (i = 1; i <= 100; i++) printf("%s%.6g", (i > 1 ? ", " : ""), i * f)}'; }
cat >head.yaml <<'END'
name: big
variants: [{name: A, file: m.yaml}, {name: B, file: m.yaml, set: {d_model: 16}, train: {lr: 0.5}}]
tasks: [{name: t, kind: mqar, options: {vocab: 40, train: [[16, 2]], test: [[16, 2]]}}]
train: {steps: 10}
END
(sed '/^variants/s/.*/variants: [{name: A, file: m.yaml}]/' head.yaml; echo "grid: {train.lr: [$(list 1e-4)], train.weight_decay: [$(list 1e-3)]}") >big.yaml
plan() { # the experiment, options: the plan as columns separated by |
  "$H" run "$1" --db none.db --dry-run --format csv "${@:2}" 2>err | tr -d '\r' | sed 's/"\([^"]*\), \([^"]*\), \([^"]*\)"/\1+\2+\3/; s/,/|/g'
}
column() { awk -F'|' -v want="$1" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == want) c = i; next} {print $c}'; }
keys() { awk -F'|' -v g="$1" 'NR == 1 {for (i = 1; i <= NF; i++) c[$i] = i; next} $(c["grid"]) == g && $(c["seed"]) == 1 {print $(c["variant"]), $(c["key"])}'; }

# ---- memory: a copy of what the points share (36 kB of a model) for each of them would be 360 MB
limit=250000
grep -q __asan_init "$H" && limit=unlimited # the sanitizers map more than there is
(ulimit -v $limit; export OMP_NUM_THREADS=1; plan big.yaml >big.csv)
same "$(column key <big.csv | wc -l) $(column key <big.csv | sort -u | wc -l)" "10000 10000" "ten thousand points of a recipe take less than 250 MB"
same "$(column grid <big.csv | sed -n '1p;2p;101p;10000p' | tr '\n' ';')" \
  "lr=0.0001 weight_decay=0.001;lr=0.0001 weight_decay=0.002;lr=0.0002 weight_decay=0.001;lr=0.01 weight_decay=0.1;" "the last axis changes first"

# ---- each point is the run of its own file
(cat head.yaml; echo 'grid: {train.lr: [0.001, 0.002], variant.attention.window: [4, 8], task.test_examples: [8, 16], train.weight_decay: [0, 0.1]}'
  echo 'seeds: [1, 2]') >mix.yaml
plan mix.yaml >mix.csv
same "$(column key <mix.csv | wc -l)" 64 "variants x points x seeds"
wrong=0 looked=0
for lr in 0.001 0.002; do for w in 4 8; do for n in 8 16; do for d in 0 0.1; do
  got=$(keys "lr=$lr window=$w test_examples=$n weight_decay=$d" <mix.csv)
  want=$(plan head.yaml --set train.lr=$lr --set variant.attention.window=$w --set task.test_examples=$n --set train.weight_decay=$d | keys "")
  looked=$((looked + 1)); [ -n "$got" ] && [ "$got" = "$want" ] || wrong=$((wrong + 1))
done; done; done; done
same "$wrong of $looked" "0 of 16" "a point of a grid is the run that --set describes"
same "$(column state <mix.csv | sort | uniq -c | awk '{print $1, $2, $3}' | tr '\n' ';')" "64 to do;" "runs that differ in what is measured are none twice"
sed 's/0.001, 0.002/0.001, 1e-3/' mix.yaml >twin.yaml
plan twin.yaml >twin.csv
same "$(column state <twin.csv | grep -c 'same as another')" 32 "two values that are one number make the same runs"
exit $bad
