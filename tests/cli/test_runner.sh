#!/usr/bin/env bash
# The runner end to end, on an experiment of seconds: what is stored is skipped, nothing is lost or stored twice when
# processes are interrupted or killed, failures and crashes are rows, bad input and a full disk are clear errors.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/runner_helpers.sh
# ---- plan, run, skip, force
run "$dir/a.db" --dry-run
check "dry run lists the runs" same "$? $(grep -c 'to do' "$dir/out")" "0 4"
check "dry run stores nothing" test ! -e "$dir/a.db"
run "$dir/a.db" --only 'Mamba/*/seed2'
check "--only runs one of them" same "$? $(sql "$dir/a.db" "SELECT variant, seed, status FROM model")" "0 Mamba,2,done"
run "$dir/a.db"
check "a run stores the rest" same "$?" 0
check "each run is stored once" once "$dir/a.db" 4
check "mean and spread over two seeds are printed" grep -q "^Llama  *2 .*±" "$dir/out"
check "work files are gone" same "$(ls "$dir/a.db.work")" ""
run "$dir/a.db"
check "a second call has nothing to do" same "$? $(grep -c '^4 runs are stored already' "$dir/out")" "0 1"
check "and stores nothing twice" once "$dir/a.db" 4
facts "$dir/a.db" >"$dir/a.facts"
check "figures and curves are there" test "$(wc -l <"$dir/a.facts")" -gt 100
run "$dir/b.db" --jobs 2
check "two jobs give the same bits" same "$? $(facts "$dir/b.db" | cmp - "$dir/a.facts" 2>&1)" "0 "
threads_of() { sql "$1" "SELECT DISTINCT threads FROM v_run ORDER BY 1"; }
run "$dir/j1.db" --threads 3 --only '*/seed1'
check "small models train one a thread" same "$? $(threads_of "$dir/j1.db")" "0 1"
run "$dir/j2.db" --threads 3 --only Mamba/recall/seed1
check "a single one has them all" same "$? $(threads_of "$dir/j2.db")" "0 3"
run "$dir/j3.db" --threads 3 --jobs 1 --only '*/seed1'
check "--jobs 1: all for each" same "$? $(threads_of "$dir/j3.db")" "0 3"
run "$dir/j4.db" --threads 3 --scale all
check "what is timed has all threads" same "$? $(threads_of "$dir/j4.db")" "0 3"
run "$dir/a.db" --force --only Mamba
check "--force runs again, the old result stays as superseded" same "$? $(sql "$dir/a.db" "SELECT count(*), sum(superseded_by IS NULL) FROM model")" "0 6,4"
check "the same bits again" same "$(facts "$dir/a.db" | cmp - "$dir/a.facts" 2>&1)" ""
run "$dir/a.db" --set train.steps=5
check "another recipe is another run" same "$? $(sql "$dir/a.db" "SELECT count(*) FROM v_run")" "0 8"

# ---- failures
run "$dir/f.db" --set train.lr=1e9 --set train.clip=0 --set seeds=[1] --only Llama
check "a diverging run ends with status 1" same "$?" 1
check "and leaves no work files" same "$(ls "$dir/f.db.work")" ""
check "it is a failed row that names step and tensor" test -n "$(sql "$dir/f.db" "SELECT error FROM v_run WHERE status = 'failed' AND error LIKE 'step %first not finite: %'")"
run "$dir/f.db" --set train.lr=1e9 --set train.clip=0 --set seeds=[1] --only Llama
check "a failed run is not repeated by itself" same "$? $(sql "$dir/f.db" "SELECT count(*) FROM model")" "1 1"
run "$dir/f.db" --set train.lr=1e9 --set train.clip=0 --set seeds=[1] --only Llama --retry-failed
check "--retry-failed repeats it" same "$? $(sql "$dir/f.db" "SELECT count(*), sum(superseded_by IS NULL) FROM model")" "1 2,1"

# ---- interruption: long runs, so that there is something to interrupt
LONG=(--set train.steps=5000 --set train.eval_every=1000 --set train.checkpoint_every=250 --set seeds=[1])
run "$dir/l.db" "${LONG[@]}"
check "the long runs" once "$dir/l.db" 2
facts "$dir/l.db" >"$dir/l.facts"
start "$dir/i.db" "${LONG[@]}"
wait_for "$dir/i.db"
kill -INT "$pid"
wait "$pid"
rc=$?
check "ctrl-C ends with status 130" same "$rc" 130
check "the run is interrupted, not lost" same "$(sql "$dir/i.db" "SELECT status FROM model WHERE status != 'done'")" "interrupted"
steps=$(sql "$dir/i.db" "SELECT max(steps) FROM model WHERE status = 'interrupted'")
check "it stopped at a step" test "${steps:-0}" -gt 0 -a "${steps:-0}" -lt 5000
run "$dir/i.db" "${LONG[@]}"
check "it did go on, not start again" grep -q "goes on from step $steps\$" "$dir/out"
check "the same command goes on" once "$dir/i.db" 2
check "the row counts it" same "$(sql "$dir/i.db" "SELECT count(*) FROM model WHERE resumes = 1")" 1
check "the same bits as without a stop" same "$(facts "$dir/i.db" | cmp - "$dir/l.facts" 2>&1)" ""

# ---- kill -9 of the parent, of the child, of both, at times that differ
for i in 1 2 3 4 5 6; do
  start "$dir/k.db" "${LONG[@]}"
  sleep "0.$((RANDOM % 4))$((RANDOM % 10))"
  child=$(child_of "$pid")
  case $((i % 3)) in
    0) kill -9 "$pid" ;;
    1) [ -n "$child" ] && kill -9 "$child" ;;
    2) kill -9 "$pid" $child ;;
  esac 2>/dev/null
  wait "$pid" 2>/dev/null
done
run "$dir/k.db" "${LONG[@]}"
check "after kill -9 at random the same command ends well" same "$?" 0
check "each run is stored exactly once" once "$dir/k.db" 2
check "with the same bits" same "$(facts "$dir/k.db" | cmp - "$dir/l.facts" 2>&1)" ""
run "$dir/k.db" "${LONG[@]}"
check "no work files are left" same "$? $(ls "$dir/k.db.work")" "0 "

# ---- a crash of a child is a failed row, not the end of the sweep
start "$dir/c.db" "${LONG[@]}"
wait_for "$dir/c.db"
kill -ABRT "$(child_of "$pid")"
wait "$pid"
check "a crash does not end the sweep" same "$? $(sql "$dir/c.db" "SELECT sum(status = 'failed'), sum(status = 'done') FROM model")" "1 1,1"
check "the row names the signal" test -n "$(sql "$dir/c.db" "SELECT error FROM model WHERE error LIKE '%SIGABRT%'")"

# ---- two at once
start "$dir/two.db"
first=$pid
run "$dir/two.db"
rc=$?
wait "$first"
check "two sweeps at once on one database end well" same "$? $rc" "0 0"
check "and store each run once" once "$dir/two.db" 4
check "with the same bits" same "$(facts "$dir/two.db" | cmp - "$dir/a.facts" 2>&1)" ""

# ---- no space: files may not grow beyond a limit, which hits the plan, the checkpoint or the result
FULL=(--set seeds=[1] --set train.log_every=1 --set train.steps=2500 --only Llama)
for limit in 60 200 400; do
  (ulimit -f $limit; run "$dir/full.db" "${FULL[@]}")
  check "a full disk ($limit kB) is an error with status 1" same "$?" 1
  check "that says so ($limit kB)" grep -qE "full|too large|cannot write" "$dir/out"
done
"$HYLAB" doctor --db "$dir/full.db" >"$dir/out" 2>&1
check "the database is sound" same "$?" 0
run "$dir/full.db" "${FULL[@]}"
check "with space the same command ends well" same "$?" 0
check "and the run is stored once" once "$dir/full.db" 1

# ---- bad input
edit() { sed "$1" "$EXP" | sed 's,\.\./\.\./variants,'"$PWD"'/variants,' >"$dir/bad.yaml"; }
edit 's/^seeds:/seed:/'
bad "unknown key" 'bad.yaml:9:1: unknown key "seed" (did you mean "seeds"?)' "$HYLAB" run "$dir/bad.yaml" --db "$dir/x.db"
edit 's/kind: mqar/kind: mqra/'
bad "unknown task" 'no task kind "mqra" (did you mean "mqar"?)' "$HYLAB" run "$dir/bad.yaml" --db "$dir/x.db"
edit 's/lr: 1e-2/lr: fast/'
bad "wrong type" 'bad.yaml:' "$HYLAB" run "$dir/bad.yaml" --db "$dir/x.db"
edit 's/name: Mamba/name: Llama/'
bad "two variants of one name" 'two variants are called "Llama"' "$HYLAB" run "$dir/bad.yaml" --db "$dir/x.db"
edit 's/llama.yaml/lama.yaml/'
bad "no such variant file" 'there is no file' "$HYLAB" run "$dir/bad.yaml" --db "$dir/x.db"
edit 's/vocab: 64, d_model/vocab: 32, d_model/'
bad "vocabulary too small" 'needs a vocabulary of 64' "$HYLAB" run "$dir/bad.yaml" --db "$dir/x.db"
head -c 200 "$EXP" >"$dir/bad.yaml"
bad "half a file" 'bad.yaml:' "$HYLAB" run "$dir/bad.yaml" --db "$dir/x.db"
bad "no such scale" 'no scale "large"' "$HYLAB" run "$EXP" --scale large --db "$dir/x.db"
bad "no experiment" 'which experiment' "$HYLAB" run --db "$dir/x.db"
bad "unknown option" 'no option "--seed"' "$HYLAB" run "$EXP" --seed 3 --db "$dir/x.db"
bad "nothing that --only chooses" 'no run matches' "$HYLAB" run "$EXP" --only Nope --db "$dir/x.db"
bad "a device that is not there" 'device cuda: ' env CUDA_VISIBLE_DEVICES= "$HYLAB" run "$EXP" --device cuda --db "$dir/x.db"
bad "a device that is none" 'there are cpu' "$HYLAB" run "$EXP" --device gpu --db "$dir/x.db"
bad "--set of a varied path" 'the grid varies it' "$HYLAB" run "$EXP" --scale grid --set train.lr=1 --db "$dir/x.db"
check "nothing was created" test ! -e "$dir/x.db"
head -c 5000 "$dir/a.db" >"$dir/half.db"
bad "damaged database" 'damaged' "$HYLAB" run "$EXP" --db "$dir/half.db"
cp "$EXP" "$dir/text.db"
bad "not a database" 'not an SQLite database' "$HYLAB" run "$EXP" --db "$dir/text.db"
bad "doctor of a damaged database" 'damaged' "$HYLAB" doctor --db "$dir/half.db"

# ---- the grid
run "$dir/g.db" --scale grid --set seeds=[1]
check "a grid prints its best and all its points" same "$? $(grep -c 'lr=1e-[23]  ' "$dir/out")" "0 6"
run "$dir/g.db" --scale grid --set seeds=[1] --format json
check "tables as JSON" grep -q '"summary"' "$dir/out"

# ---- all measures
run "$dir/m.db" --scale all
check "all measures" same "$? $(sql "$dir/m.db" "SELECT count(*) FROM artifact")" "0 16"
check "cache by formula equals what is allocated" same "$(sql "$dir/m.db" "SELECT count(*) FROM v_final a JOIN v_final b USING(run_id) WHERE a.metric = 'cache_true' AND a.cell = '' AND b.metric = 'cache_allocated' AND a.value = b.value")" 2
check "every timing has its repetitions and its kernel path" same "$(sql "$dir/m.db" "SELECT count(*) FROM v_timing WHERE repetitions = 3 AND min <= median AND median <= max AND path != ''")" 12
check "maps are row-normalised: their shares add to 1" same "$(sql "$dir/m.db" "SELECT sum(abs(t - 1) < 1e-9), count(*) FROM (SELECT sum(value) t FROM v_final WHERE metric IN ('map_meta','map_bos','map_self','map_cross') GROUP BY run_id, cell)")" "8,8"

# ---- random weights: timed, not trained
run "$dir/r.db" --scale speed
check "random weights are timed and not trained" same "$? $(sql "$dir/r.db" "SELECT sum(metric = 'throughput_decode'), sum(metric = 'accuracy') FROM v_final")" "0 2,0"
check "as multiples of one variant, the paper's beside" same "$(grep -cE '^Llama .* 1\.00 +1\.00$|^Mamba .* 6\.55$' "$dir/out")" 2
sed -e "s|../../variants|$PWD/variants|" -e 's/^  - {name: recall.*/&\n  - {name: again, kind: mqar, options: {vocab: 64, train: [[16, 2]], test: [[16, 2]], test_examples: 4}}/' "$EXP" >"$dir/two.yaml"
"$HYLAB" run "$dir/two.yaml" --scale speed --threads 1 --db "$dir/r.db" >"$dir/out" 2>&1
check "on each task as multiples of the same task's" same "$(grep -cE '^Llama +(recall|again) .* 1\.00 +1\.00 +1\.00$' "$dir/out")" 2
run "$dir/r.db" --scale speed --set base=Lama
check "the variant to compare with must exist" same "$? $(grep -c 'there is no variant "Lama"' "$dir/out")" "2 1"
# more measures than a word has bits: the 33rd is not the first
cat >"$dir/many.yaml" <<END
name: many
tasks: [{name: M, kind: mqar, options: {vocab: 24, train: [[16, 2]], test: [[16, 2]], test_examples: 4}}]
variant: {vocab: 24, d_model: 8, layers: 1, attention: {heads: 2, kv_heads: 2}, mlp: {kind: none}}
train: {steps: 1, batch: 1}
variants: [{name: A, file: $PWD/variants/llama.yaml}]
seeds: [1, 2]
measures:
  accuracy: {seeds: [1]}
  erf: [$(for i in $(seq 2 35); do printf '%s{max_len: %d}' "$([ "$i" = 2 ] || echo ', ')" "$i"; done)]
END
"${HYLAB:-./hylab}" run "$dir/many.yaml" --db "$dir/many.db" >"$dir/out" 2>&1
check "36 measures, one of a single seed" same "$? $(sql "$dir/many.db" "SELECT measure, seed, count(DISTINCT measurement_id) FROM v_metric WHERE measure IN ('accuracy', 'erf') GROUP BY 1, 2" | tr '\n' ' ')" "0 accuracy,1,1 erf,1,34 erf,2,34 "
exit $failed
