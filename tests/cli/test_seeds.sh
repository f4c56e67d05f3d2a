#!/usr/bin/env bash
# What a seed decides, from the command line and in an experiment: first weights, training and evaluation examples, samples. And what
# else shapes samples; what ends a training early.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/runner_helpers.sh
export HYLAB_DEVICE=cpu
V=variants/llama.yaml
SMALL=(--set vocab=40 --set d_model=16 --set layers=1 --set attention.heads=2 --set attention.kv_heads=1 --set mlp.d_ff=24)
ON=(--task mqar --task-set vocab=40 --task-set 'train=[[16,2]]' --task-set 'test=[[16,2]]' --task-set test_examples=300)
BY=(--train steps=1 --train batch=2 --train lr=0 --train schedule=constant --threads 1)
train() { "$HYLAB" train "$@" "${ON[@]}" "${BY[@]}" >"$dir/out" 2>&1 || no "train $*" "$(tail -n 1 "$dir/out")"; }
first() { sed -n 2p "$1" | cut -d, -f2; } # the loss of step 1 of a curve
eval_loss() { "$HYLAB" eval "$1" "${ON[@]}" --seed "$2" --threads 1 --format csv 2>>"$dir/out" | tr -d '\r' | sed -n 2p; }
differ() { [ -n "$1" ] && [ -n "$2" ] && [ "$1" != "$2" ]; }

for s in 1 2; do train $V "${SMALL[@]}" --seed $s --out "$dir/$s.safetensors" --curve "$dir/$s.csv"; done
train $V "${SMALL[@]}" --seed 1 --out "$dir/again.safetensors" --curve "$dir/again.csv"
check "the same seed gives the same bits" cmp "$dir/1.safetensors" "$dir/again.safetensors"
check "another seed has other weights (one set of examples)" differ "$(eval_loss "$dir/1.safetensors" 7)" "$(eval_loss "$dir/2.safetensors" 7)"
check "another seed is evaluated on other examples (one set of weights)" differ "$(eval_loss "$dir/1.safetensors" 1)" "$(eval_loss "$dir/1.safetensors" 2)"
for s in 1 2; do train --from "$dir/1.safetensors" --seed $s --curve "$dir/from$s.csv" --out "$dir/from$s.safetensors"; done
check "another seed trains on other examples (one set of weights)" differ "$(first "$dir/from1.csv")" "$(first "$dir/from2.csv")"
check "from those weights, the run's own seed goes on as before" same "$(first "$dir/from1.csv")" "$(first "$dir/1.csv")"

# ---- the same in an experiment: each seed its own weights and examples, those of the command line
cat >"$dir/e.yaml" <<YAML
name: seeds
seeds: [1, 2]
variants:
  - {name: drawn, file: $PWD/$V, set: {vocab: 40, d_model: 16, layers: 1, attention.heads: 2, attention.kv_heads: 1, mlp.d_ff: 24}}
  - {name: given, file: $dir/1.safetensors}
tasks: [{name: recall, kind: mqar, options: {vocab: 40, train: [[16, 2]], test: [[16, 2]], test_examples: 300}}]
train: {steps: 1, batch: 2, lr: 0, schedule: constant}
measures: {accuracy: {}}
YAML
"$HYLAB" run "$dir/e.yaml" --db "$dir/e.db" --threads 1 >"$dir/out" 2>&1
check "an experiment of two seeds runs" same "$?" 0
for s in 1 2; do
  for v in "drawn $dir/$s.csv" "given $dir/from$s.csv"; do
    got=$(sql "$dir/e.db" "SELECT printf('%.9g', loss) FROM v_curve WHERE variant = '${v%% *}' AND seed = $s AND step = 1")
    check "seed $s of ${v%% *}: the first loss is that of hylab train" same "$got" "$(first "${v#* }")"
  done
  got=$(sql "$dir/e.db" "SELECT printf('%.4f', value) FROM v_final WHERE variant = 'given' AND seed = $s AND metric = 'loss' AND cell = ''")
  want=$("$HYLAB" eval "$dir/from$s.safetensors" "${ON[@]}" --seed $s --threads 1 --format json | grep -oE '"loss": [0-9.]+' | grep -oE '[0-9.]+$')
  check "seed $s: its evaluation is that of hylab eval" same "$got" "$(printf %.4f "$want")"
done

# ---- ending early: by tuning examples, which are not those of evaluation
stop() { "$HYLAB" run "$dir/e.yaml" --db "$dir/$1.db" --only 'drawn/*/seed1' --threads 1 --set train.steps=6 --set train.eval_every=2 --set "train.stop_accuracy=$2" --set train.lr=1e-2 >"$dir/out" 2>&1; }
told() { sql "$dir/$1.db" "SELECT group_concat(metric || ' ' || value, ' ') FROM (SELECT metric, value FROM v_final WHERE metric IN ('reached', 'steps_to_reach') ORDER BY 1)"; }
stop never 1
check "accuracy 1 is not reached" same "$? $(told never)" "0 reached 0.0"
stop soon 1e-9
n=$(told soon | grep -oE '[0-9.]+$')
check "any accuracy is, at a look" grep -qE '^reached 1.0 steps_to_reach [246].0$' <(told soon)
check "the training ended there" same "$(sql "$dir/soon.db" "SELECT steps || '.0' FROM v_run")" "$n"
check "tuning examples are shown, and are not those of evaluation" differ "$("$HYLAB" task mqar --split tune --show 3 --format csv | cut -d, -f2-)" "$("$HYLAB" task mqar --split eval --show 3 --format csv | cut -d, -f2-)"
bad "a text has none by itself" "set its option tuning" "$HYLAB" task text --set path=tests/data/shakespeare-100k.txt --split tune
check "with a part of its own it has" grep -q 'example 0 of tune cell T256' <("$HYLAB" task text --set path=tests/data/shakespeare-100k.txt --set tuning=0.1 --split tune --show 1)
sed -e 's/kind: mqar, options: .*/kind: text, options: {path: '"${PWD//\//\\/}"'\/tests\/data\/shakespeare-100k.txt, train: 16, test: 16}}]/' -e 's/vocab: 40, d_model/vocab: 256, d_model/' -e '/name: given/d' "$dir/e.yaml" >"$dir/t.yaml"
bad "an experiment that would stop on a text without one is refused before it trains" "stop_accuracy: task recall has no tuning examples" "$HYLAB" run "$dir/t.yaml" --db "$dir/t.db" --set train.stop_accuracy=0.5
bad "parts that overlap are refused when an experiment is planned" "warmup 0.6 and decay 0.5" "$HYLAB" run "$dir/e.yaml" --db "$dir/t.db" --dry-run --set train.schedule=wsd --set train.warmup=0.6 --set train.decay=0.5
bad "and by hylab train" "warmup 0.6 and decay 0.5" "$HYLAB" train $V "${SMALL[@]}" "${ON[@]}" --train schedule=wsd --train warmup=0.6 --train decay=0.5

# ---- passes over a finite set: 3 + 2 batches
FINITE='vocab: 40, train: [[16, 2], [12, 1]], train_examples: [5, 3], test: [[16, 2]], test_examples: 20'
sed -e 's/options: .*/options: {'"$FINITE"'}}]/' -e '/name: given/d' -e 's/seeds: .*/seeds: [1]/' -e 's/^train: .*/train: {batch: 2, lr: 1e-3, schedule: constant, warmup: 0, eval_epochs: 1}\ngrid: {train.epochs: [1, 2]}/' "$dir/e.yaml" >"$dir/p.yaml"
"$HYLAB" run "$dir/p.yaml" --db "$dir/p.db" --threads 1 >"$dir/out" 2>&1
check "an experiment of one and two passes runs" same "$?" 0
check "they are 5 and 10 steps" same "$(sql "$dir/p.db" "SELECT group_concat(n, ' ') FROM (SELECT max(step) n FROM v_curve GROUP BY grid ORDER BY n)")" "5 10"
bad "steps beside epochs are refused when an experiment is planned" "epochs of 5 batches come to 5 steps, but steps is 7" "$HYLAB" run "$dir/p.yaml" --db "$dir/p.db" --dry-run --set train.steps=7
passes() { # STEM more...: trains from those weights with that recipe
  local out=$1
  shift
  "$HYLAB" train $V "${SMALL[@]}" --task mqar --task-set vocab=40 --task-set 'train=[[16,2],[12,1]]' --task-set 'train_examples=[5,3]' --task-set 'test=[[16,2]]' --task-set test_examples=20 \
    --train batch=2 --train lr=1e-3 --train schedule=constant --train warmup=0 --threads 1 --out "$dir/$out.safetensors" "$@" >"$dir/out" 2>&1
}
passes e2 --train epochs=2
passes e4 --train epochs=4
cp "$dir/e2.safetensors" "$dir/e24.safetensors"
passes e24 --train epochs=4 --resume "$dir/e24.safetensors"
check "two passes go on to four as if they had been four" cmp "$dir/e4.safetensors" "$dir/e24.safetensors"
bad "a run by steps does not go on from passes: their batches come in another order" "train.epochs" "$HYLAB" train $V "${SMALL[@]}" --task mqar --task-set vocab=40 --task-set 'train=[[16,2],[12,1]]' --task-set 'train_examples=[5,3]' --task-set 'test=[[16,2]]' --task-set test_examples=20 --train batch=2 --train lr=1e-3 --train schedule=constant --train warmup=0 --train steps=20 --resume "$dir/e2.safetensors" --out "$dir/e5.safetensors"

# ---- samples
say() { "$HYLAB" generate "$dir/2.safetensors" "${PROMPTS[@]}" --ids --threads 1 "$@" 2>>"$dir/out" | grep -v '^---' | tr -s '\n '; }
PROMPTS=("5 6 7")
check "as many tokens as asked for" same "$(say --max-new 9 | wc -w)" 9
check "the default is temperature 0.8, all tokens, seed 1" same "$(say --max-new 9)" "$(say --max-new 9 --temperature 0.8 --top-p 1 --seed 1)"
check "samples have the seeds that follow" same "$(say --max-new 9 --samples 3 --seed 5 | xargs)" "$( (say --max-new 9 --seed 5; say --max-new 9 --seed 6; say --max-new 9 --seed 7) | xargs)"
greedy=$(say --max-new 9 --temperature 0)
check "the likeliest token: temperature 0 is top-k 1" same "$(say --max-new 9 --top-k 1 --temperature 3)" "$greedy"
check "and is a vanishing top-p" same "$(say --max-new 9 --top-p 1e-9 --temperature 3)" "$greedy"
check "a sample is not that" differ "$(say --max-new 9 --temperature 3)" "$greedy"
kinds() { say --max-new 1 --samples 200 "$@" | xargs -n 1 | sort -u | wc -l; }
check "top-k 3 gives three tokens" same "$(kinds --top-k 3 --temperature 100)" 3
check "a high temperature gives nearly all of 40" test "$(kinds --temperature 100)" -gt 35
check "a low one few" test "$(kinds --temperature 0.01)" -lt 4
token=$(say --max-new 1 --temperature 0 | xargs)
check "an end token is the last one" same "$(say --max-new 9 --temperature 0 --eos "$token" | xargs)" "$token"
exit $failed
