#!/usr/bin/env bash
# `hylab run --shard K/N`: the shards share the models among them, run apart and merged they make what one run makes, and a part that is
# stopped by TERM, USR1 or --time-left goes on where it stopped.
set -u
cd "$(dirname "$0")/../.." || exit 1
EXP_LATER=$PWD/tests/data/runner-tiny.yaml
. tests/cli/runner_helpers.sh
EXP=$EXP_LATER
HYLAB=$(realpath "$HYLAB")
unset HYLAB_DB
cd "$dir" || exit 1
shard() { "$HYLAB" run "$EXP" --threads 1 --shard "$@" >"$dir/out" 2>&1; }
plan() { "$HYLAB" run "$EXP" --dry-run --format csv "$@" 2>>"$dir/out" | tr -d '\r' | awk -F, '$5 == "to do" {print $1 "," $2 "," $3 "," $4}' | sort; }
plan --scale grid >all.plan
for n in 1 2 3 5 11; do
  for k in $(seq $n); do plan --scale grid --shard "$k/$n"; done | sort >parts.plan
  check "$n shards have every model once" diff all.plan parts.plan
done
shard 2/3 --dry-run
check "a plan tells the shares" same "$? $(grep -c 'this is shard 2 of 3; .* 1: .*; 2: .*; 3: .*times the mean' out)" "0 1"
check "and makes nothing" same "$(ls runs 2>/dev/null)" ""
run whole.db
plan --shard 1/2 >before.plan
shard 1/2
check "a shard runs" same "$? $(sql runs/shards/tiny.1-of-2.db "SELECT count(*), sum(status = 'done') FROM model")" "0 2,2"
check "it has the models that were planned" same "$(sql runs/shards/tiny.1-of-2.db "SELECT variant, task, grid, seed FROM model ORDER BY variant, seed")" "$(cat before.plan)"
SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_TASK_MIN=0 shard auto
check "the other one, by the variables of a job array" same "$? $(ls runs/shards/*.db | tr '\n' ' ')" "0 runs/shards/tiny.1-of-2.db runs/shards/tiny.2-of-2.db "
"$HYLAB" merge merged/r.db runs/shards/*.db >out 2>&1
check "merged they are what one run makes" same "$? $(facts merged/r.db | cmp - <(facts whole.db) 2>&1)" "0 "
check "with all that was planned" same "$(sql merged/r.db "SELECT DISTINCT status FROM v_plan")" done
shard 1/2
check "a shard that is run twice has nothing to do" same "$? $(grep -c '2 runs are stored already' out)" "0 1"
shard 4/4 --set seeds=[1] --db four.db
check "a shard without models is no error" same "$? $(sql four.db "SELECT count(*) FROM model")" "0 0"
bad "a shard that is none" "K/N with K from 1 to N" "$HYLAB" run "$EXP" --shard 3/2
bad "auto without a job array" "no task of a Slurm job array" "$HYLAB" run "$EXP" --shard auto

# ---- how far all of it is
row() { "$HYLAB" status "$EXP" --format csv "$@" 2>>out | tr -d '\r' | cut -d, -f1-6; }
check "status: both shards are done" same "$(row)" "shard,models,done,running,failed,left
runs/shards/tiny.1-of-2.db,2,2,0,0,0
runs/shards/tiny.2-of-2.db,2,2,0,0,0
all,4,4,0,0,0"
check "of one database" same "$(row --db whole.db | tail -1)" "whole.db,4,4,0,0,0"
cp whole.db gpu.db && sqlite3 gpu.db "UPDATE planned SET device = 'cuda'; UPDATE model SET device = 'cuda'"
check "of a sweep on GPUs, where there need be none" same "$(unset HYLAB_DEVICE; row --db gpu.db | tail -1) $(row --db gpu.db --device cuda:1 | tail -1)" "gpu.db,4,4,0,0,0 gpu.db,4,4,0,0,0"
check "none of it is the CPU's, as HYLAB_DEVICE says here" same "$(row --db gpu.db | tail -1)" "gpu.db,4,0,0,0,4"
check "of parts that are not there yet" same "$(row --shards none --of 4 | tail -1)" "all,4,0,0,0,4"
bad "without any" "no databases tiny.K-of-N.db" "$HYLAB" status "$EXP" --shards none
mkdir two && cp runs/shards/tiny.1-of-2.db two/ && cp whole.db two/tiny.1-of-3.db
bad "of two partitions" "parts of 2 and parts of 3: give --of N" "$HYLAB" status "$EXP" --shards two
echo "no database" >two/tiny.2-of-2.db
"$HYLAB" status "$EXP" --shards two --of 2 >out 2>&1
check "one that cannot be read is named, the others are counted" same "$? $(grep -c 'is not an SQLite database' out) $(grep -cE '^two/tiny.1-of-2.db +2 +2 ' out)" "1 1 1"
run bad.db --set train.lr=1e9 --set train.clip=0 --set seeds=[1] --only Llama
check "what failed, and what is left" same "$(row --db bad.db --set train.lr=1e9 --set train.clip=0 --set seeds=[1] | tail -1)" "bad.db,2,0,0,1,1"

# ---- the same model in two variants is one model
cat >twins.yaml <<YAML
name: twins
variants: [{name: A, spec: {mixer: attention}}, {name: B, spec: {mixer: attention}}, {name: C, spec: {mixer: attention}, set: {layers: 2}}]
variant: {vocab: 32, d_model: 16, layers: 1, attention: {heads: 2}, mlp: {d_ff: 16}}
tasks: [{name: recall, kind: induction, options: {train: 16, test: 16}}]
train: {steps: 2, batch: 2, eval_examples: 4}
YAML
for k in 1 2; do "$HYLAB" run twins.yaml --threads 1 --shard $k/2 --db twins.$k.db >out 2>&1; done
check "twins are in one shard" same "$(sql twins.1.db "SELECT variant FROM model") $(sql twins.2.db "SELECT variant FROM model")" "C A"

# ---- stopped
LONG=(--set train.steps=20000 --set train.checkpoint_every=100 --set seeds=[1])
for how in TERM USR1; do
  "$HYLAB" run "$EXP" --threads 1 --shard 1/2 --db "$how.db" "${LONG[@]}" >out 2>&1 &
  pid=$!
  wait_for "$how.db"
  check "status sees it at work" same "$(row --db "$how.db" "${LONG[@]}" | tail -1 | cut -d, -f3-5)" "0,1,0"
  kill -$how "$pid"
  wait "$pid"
  check "$how stops a shard with a checkpoint" same "$? $(sql "$how.db" "SELECT status, steps > 0 FROM model") $(ls "$how.db.work" | grep -c 'safetensors$')" "130 interrupted,1 1"
done
shard 1/2 --db left.db "${LONG[@]}" --set train.steps=2000000 --time-left 4
check "--time-left stops it" same "$? $(grep -c 'the time is nearly out' out) $(sql left.db "SELECT status, steps > 0 FROM model")" "130 1 interrupted,1"
SLURM_JOB_END_TIME=$(($(date +%s) + 4)) shard 1/2 --db left.db "${LONG[@]}" --set train.steps=2000000
check "so does the end of a Slurm job, and the checkpoint is gone on from" same "$? $(grep -c 'the time is nearly out' out) $(sql left.db "SELECT status, resumes FROM model")" "130 1 interrupted,1"
shard 1/2 --db quick.db --time-left 600
check "time enough changes nothing" same "$?" 0
exit $failed
