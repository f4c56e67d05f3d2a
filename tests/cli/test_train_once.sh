#!/usr/bin/env bash
# Train once, measure many: what is measured of a model is stored measure by measure, its weights are kept, and nothing is trained
# again without need, whatever is interrupted, killed, pruned or fails on the way. Models of others stand beside own ones.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/runner_helpers.sh
ONE=(--set seeds=[1] --only Llama)
models() { sql "$1" "SELECT count(*), sum(superseded_by IS NULL), sum(status = 'done') FROM model"; }
trained() { sql "$1" "SELECT count(*) FROM model WHERE origin = 'trained'"; } # how often anything was trained
measured() { sql "$1" "SELECT measure, count(*) FROM measurement WHERE measure != 'training' GROUP BY 1 ORDER BY 1" | tr '\n' ' '; }
of() { sql "$1" "SELECT status, resumes FROM measurement WHERE measure = '$2'"; }

# ---- one more measure, other options
run "$dir/a.db"
check "a run trains and measures" same "$? $(models "$dir/a.db") $(measured "$dir/a.db")" "0 4,4,4 accuracy,4 cache,4 size,4 "
check "weights are kept, and no more than weights" same "$(ls "$dir/models" | wc -l) $(ls "$dir/a.db.work" | wc -l)" "4 0"
check "without the optimiser's state" same "$("$HYLAB" show spec "$dir"/models/*-1-cpu.safetensors >/dev/null 2>&1; cat "$dir"/models/*.safetensors | grep -c 'train\.m\.')" 0
rm -f "$dir/models.before"
stat -c '%n %Y %i' "$dir"/models/* >"$dir/models.before"
run "$dir/a.db" --set measures.maps=true --dry-run
check "a dry run says what is to be measured, and that nothing is to be trained" same "$(grep -c 'to measure .* maps ' "$dir/out") $(grep -c 'nothing is to be trained' "$dir/out")" "4 1"
run "$dir/a.db" --set measures.maps=true
check "one more measure trains nothing" same "$? $(models "$dir/a.db") $(measured "$dir/a.db")" "0 4,4,4 accuracy,4 cache,4 maps,4 size,4 "
check "and takes the stored weights" cmp -s "$dir/models.before" <(stat -c '%n %Y %i' "$dir"/models/*)
run "$dir/a.db" --set measures.cache.tokens=200
check "other options of a measure run only that measure" same "$? $(models "$dir/a.db") $(measured "$dir/a.db")" "0 4,4,4 accuracy,4 cache,8 maps,4 size,4 "
run "$dir/a.db" --set train.eval_batch=7 --set train.log_every=2 --set train.save_seconds=1
check "how it is evaluated, logged and saved changes nothing" same "$? $(grep -c '^4 runs are stored already' "$dir/out")" "0 1"
run "$dir/a.db" --set task.test_examples=8
check "other evaluation examples measure again and train nothing" same "$? $(models "$dir/a.db") $(sql "$dir/a.db" "SELECT count(*) FROM measurement WHERE measure = 'accuracy'")" "0 4,4,4 8"
check "a query by what models are made of" same "$(sql "$dir/a.db" "SELECT p.value, count(*) FROM v_final f JOIN v_param p USING(run_id) WHERE f.metric = 'accuracy' AND f.cell = '' AND p.path = 'train.lr' GROUP BY 1")" "0.01,8"
run "$dir/a.db" --force "${ONE[@]}"
check "--force trains and measures again" same "$? $(models "$dir/a.db") $(of "$dir/a.db" cache | grep -c done)" "0 5,4,5 9"
check "a model that is the same bit by bit keeps its other measurements" same "$(sql "$dir/a.db" "SELECT count(*) FROM v_measurement WHERE measure = 'maps'")" 4

# ---- checks come first
bad "a cell that the task lacks is refused before anything is trained" 'variant Llama on task recall: measure maps' "$HYLAB" run "$EXP" --db "$dir/none.db" --set measures.maps.cell=7
check "with the place of the variant" grep -q "runner-tiny.yaml:4:5: " "$dir/out"
bad "by a dry run, too" 'measure maps' "$HYLAB" run "$EXP" --db "$dir/none.db" --set measures.maps.cell=7 --dry-run
bad "a measure that finds nothing in any model" 'find nothing' "$HYLAB" run "$EXP" --db "$dir/none.db" --set measures.maps.layers=[7]
check "nothing was created" test ! -e "$dir/none.db"

# ---- how much a plan is: by the speed of what is stored, in proportion to the sizes of the models
run "$dir/p.db" "${ONE[@]}"
"$HYLAB" run "$EXP" --db "$dir/p.db" --set seeds=[1] --only Mamba --set variant.d_model=32 --set train.accumulate=2 --dry-run --format csv >"$dir/out" 2>&1
known=$(sql "$dir/p.db" "SELECT (SELECT value FROM v_final WHERE metric = 'train_rate') * (SELECT value FROM v_final WHERE metric = 'parameters')")
check "a dry run tells tokens and time of a model of another size" same \
  "$(awk -F, -v known="$known" '/^Mamba/ {want = $13 * $10 / known; print int($13), ($14 - want) ^ 2 < 1e-6 * want ^ 2}' "$dir/out")" "$((20 * 4 * 2 * 16)) 1"

# ---- random weights
run "$dir/d.db" "${ONE[@]}" --set train.steps=0 --set measures.accuracy=true
run "$dir/d.db" "${ONE[@]}" --set train.steps=1 --set train.lr=0
LOSSES="SELECT count(*), count(DISTINCT value) FROM v_final WHERE metric = 'loss' AND cell = '' AND measure = 'accuracy'"
check "random weights are those that training starts from" same "$? $(sql "$dir/d.db" "$LOSSES")" "0 2,1"
"$HYLAB" eval variants/llama.yaml --set vocab=64 --set d_model=16 --set layers=2 --set mlp.d_ff=32 --task mqar --task-set vocab=64 --task-set 'train=[[16, 2]]' \
  --task-set 'test=[[16, 2], [32, 4]]' --task-set test_examples=32 --threads 1 --db "$dir/d.db" >"$dir/out" 2>&1
check "what a command draws is another model" same "$? $(sql "$dir/d.db" "$LOSSES") $(sql "$dir/d.db" "SELECT count(*) FROM v_run")" "0 3,2 3"

# ---- weights that are gone
"$HYLAB" models --db "$dir/p.db" --format csv >"$dir/out" 2>&1
check "hylab models lists the weights" same "$? $(cut -d, -f2,5,6,7,8,11 "$dir/out" | grep -c '^Llama,1,cpu,20,stored,3')" "0 1"
: >"$dir/models/0123456789abcdef0123456789abcdef-1-cpu.safetensors"
"$HYLAB" models --db "$dir/p.db" >"$dir/out" 2>&1
check "files of no model are shown, those of other databases are not" same "$(grep -c 'of no model' "$dir/out")" 1
rm "$dir/models"/0123*
half=$dir/models/0123456789abcdef0123456789abcdef-1-cpu.safetensors.tmp
: >"$half.1"
: >"$half.2"
touch -d '2 hours ago' "$half.2"
"$HYLAB" models --db "$dir/p.db" --prune '0123*' >"$dir/out" 2>&1
check "what somebody may be writing stays, what a killed process left goes" same "$? $(ls "$dir/models" | grep -c '^0123.*1$') $(ls "$dir/models" | grep -c '^0123')" "0 1 1"
rm "$half.1"
: >"$dir/models/0123456789abcdef0123456789abcdef-1-cpu.safetensors"
"$HYLAB" models --db "$dir/p.db" --prune --older-than 1 >"$dir/out" 2>&1
check "young files stay with --older-than" same "$? $(grep -c '^0 bytes of 0 files freed' "$dir/out")" "0 1"
bad "a name of no file" 'no stored weights of that name' "$HYLAB" models nosuch --db "$dir/p.db" --prune
"$HYLAB" models 'Llama/recall/seed1' --db "$dir/p.db" --format csv >"$dir/out" 2>&1
check "a name without a grid" same "$? $(tail -n +2 "$dir/out" | wc -l)" "0 1"
n=$(ls "$dir/models" | wc -l)
"$HYLAB" models --db "$dir/p.db" --prune >"$dir/out" 2>&1
check "--prune frees them and says how much" same "$? $(grep -cE '^[1-9][0-9]+ bytes of 2 files freed; 3 measurements stay' "$dir/out") $(($(ls "$dir/models" | wc -l) - n))" "0 1 -2"
run "$dir/p.db" "${ONE[@]}"
check "a pruned model keeps its measurements" same "$? $(grep -c '^1 run is stored already' "$dir/out")" "0 1"
run "$dir/p.db" "${ONE[@]}" --set measures.cache.tokens=200
check "what needs no weights trains nothing" same "$? $(trained "$dir/p.db")" "0 1"
run "$dir/p.db" "${ONE[@]}" --set measures.maps=true --dry-run
check "a dry run says that it will be trained again" grep -q "to train again" "$dir/out"
run "$dir/p.db" "${ONE[@]}" --set measures.maps=true
check "what needs weights trains again, and only that is measured" same "$? $(trained "$dir/p.db") $(measured "$dir/p.db")" "0 2 accuracy,1 cache,2 maps,1 size,1 "
run "$dir/p.db" "${ONE[@]}" --set measures.erf=true
check "once" same "$? $(trained "$dir/p.db")" "0 2"
file=$dir/models/$(sql "$dir/p.db" "SELECT weights FROM v_run")
before=$(sha256sum <"$file")
printf x >>"$file"
"$HYLAB" doctor --db "$dir/p.db" >"$dir/out" 2>&1
check "doctor finds weights that have changed" grep -q "^weights .* changed: 1" "$dir/out"
run "$dir/p.db" "${ONE[@]}" --set measures.erf.uniform=true
check "weights with another content are not used" same "$? $(trained "$dir/p.db") $(sha256sum <"$file")" "0 3 $before"
rm "$file"
run "$dir/p.db" "${ONE[@]}" --set measures.erf.examples=2
check "nor are weights that somebody removed" same "$? $(trained "$dir/p.db") $(sha256sum <"$file")" "0 4 $before"

# ---- a measure that fails costs itself: weights of infinities can be counted, not evaluated
MQAR=(--task mqar --task-set vocab=64 --task-set 'train=[[16, 2]]' --task-set 'test=[[16, 2]]')
SMALL=(variants/llama.yaml --set vocab=64 --set d_model=16 --set layers=2)
"$HYLAB" train "${SMALL[@]}" "${MQAR[@]}" --train steps=1 --train lr=1e12 --train clip=0 --train warmup=0 --train schedule=constant --train checkpoint_every=1 \
  --out "$dir/nan.safetensors" >"$dir/out" 2>&1
check "training whose last step ruins the weights ends with status 1" same "$? $(grep -c 'step 1 of 1: the loss of example' "$dir/out")" "1 1"
"$HYLAB" eval "$dir/nan.safetensors" "${MQAR[@]}" >"$dir/out" 2>&1
check "hylab eval of such weights fails and says so" same "$? $(grep -c 'evaluation cell T16.K2 is .*nan' "$dir/out")" "1 1"
"$HYLAB" generate "$dir/nan.safetensors" --ids '1 2 3' --max-new 3 >"$dir/out" 2>&1
check "and so does hylab generate" same "$? $(grep -c 'logit of token' "$dir/out")" "1 1"
cat >"$dir/files.yaml" <<END
name: files
variants:
  - {name: ruined, file: nan.safetensors, train: none}
  - {name: published, file: $PWD/tests/golden/llama-tiny, train: none}
  - {name: windowed, file: $PWD/tests/golden/llama-tiny, train: none, set: {attention.window: 8}}
  - {name: tuned, file: $PWD/tests/golden/llama-tiny}
  - {name: own, spec: {d_model: 16, layers: 1, mixer: attention, attention: {heads: 2}}}
variant: {vocab: 64}
tasks: [{name: recall, kind: mqar, options: {vocab: 40, train: [[16, 2]], test: [[16, 2], [32, 4]], test_examples: 16}}]
seeds: [1]
train: {steps: 10, batch: 4, lr: 1e-2}
measures: {maps: {layers: [0]}}
END
files() { "$HYLAB" run "$dir/files.yaml" --threads 1 --db "$dir/files.db" "$@" >"$dir/out" 2>&1; }
files
check "a failed measure ends with status 1" same "$?" 1
check "and costs that measure, no others" same "$(sql "$dir/files.db" "SELECT measure, status FROM v_measurement WHERE variant = 'ruined' ORDER BY 1" | tr '\n' ' ')" "accuracy,failed cache,done maps,done size,done "
check "models of others stand beside own ones" same "$(sql "$dir/files.db" "SELECT variant, origin, steps FROM v_run WHERE status = 'done' ORDER BY run_id" | tr '\n' ' ')" "ruined,file,0 published,file,0 windowed,file,0 tuned,trained,10 own,trained,10 "
check "in the same table, the failed one too" same "$(grep -cE '^(published|windowed|tuned|own) +1 +[0-9]' "$dir/out")" 4
check "a change that keeps the shapes counts" test "$(sql "$dir/files.db" "SELECT count(DISTINCT value) FROM v_final WHERE metric = 'cache_true' AND cell = '' AND variant IN ('published', 'windowed')")" = 2
"$HYLAB" eval tests/golden/llama-tiny --task mqar --task-set vocab=40 --task-set 'train=[[16, 2]]' --task-set 'test=[[16, 2], [32, 4]]' --task-set test_examples=16 --threads 1 --format csv >"$dir/eval.csv" 2>/dev/null
check "measured as hylab eval measures it" grep -qF "$(sql "$dir/files.db" "SELECT value FROM v_final WHERE metric = 'loss' AND cell = '' AND variant = 'published'" | cut -c1-6)" "$dir/eval.csv"
files
check "nothing of it is repeated by itself" same "$? $(sql "$dir/files.db" "SELECT count(*) FROM model") $(sql "$dir/files.db" "SELECT count(*) FROM measurement WHERE status = 'failed'")" "1 5 1"
files --retry-failed
check "--retry-failed repeats what failed, and trains nothing" same "$? $(sql "$dir/files.db" "SELECT count(*) FROM model") $(sql "$dir/files.db" "SELECT count(*), sum(superseded_by IS NULL) FROM measurement WHERE status = 'failed'")" "1 5 2,1"
"$HYLAB" train "${SMALL[@]}" "${MQAR[@]}" --train steps=1 --out "$dir/nan.safetensors" >"$dir/out" 2>&1
files --set measures.erf=true --dry-run
check "weights of a file are measured, not trained again" same "$(grep -cE '^(published|windowed) .* to measure ' "$dir/out")" 2
files
check "another content of a file is another model" same "$? $(sql "$dir/files.db" "SELECT count(*) FROM v_run WHERE variant = 'ruined'") $(sql "$dir/files.db" "SELECT status FROM v_plan WHERE variant = 'ruined'")" "0 2 done"
edited() { sed "$1" "$dir/files.yaml" >"$dir/edited.yaml"; }
edited 's/set: {attention.window: 8}/set: {d_model: 64}/'
bad "a change of shapes is refused" 'edited.yaml:5:5: variant windowed' "$HYLAB" run "$dir/edited.yaml" --db "$dir/none.db"
edited 's/name: own, /name: own, train: none, /'
bad "train: none is for weights" 'has no weights' "$HYLAB" run "$dir/edited.yaml" --db "$dir/none.db"
cat >"$dir/half.yaml" <<END
name: half
variants:
  - {name: slow, spec: {vocab: 64, d_model: 16, layers: 1, mixer: attention, attention: {heads: 2}}}
  - {name: kept, file: half, train: none}
tasks: [{name: recall, kind: mqar, options: {vocab: 40, train: [[16, 2]], test: [[16, 2]], test_examples: 4}}]
seeds: [1]
train: {steps: 3000, batch: 4}
measures: {throughput: {contexts: [8], repetitions: 1, decode_tokens: 1}}
END
"$HYLAB" export tests/golden/llama-tiny --dtype bf16 --out "$dir/half" >"$dir/out" 2>&1
"$HYLAB" run "$dir/half.yaml" --threads 1 --db "$dir/half.db" --only kept >"$dir/out" 2>&1
check "weights in bfloat16 are read again, in float32, where gradients are wanted" same "$? $(sql "$dir/half.db" "SELECT measure, status FROM v_measurement ORDER BY 1" | tr '\n' ' ')" "0 accuracy,done cache,done size,done throughput,done "
"$HYLAB" run "$dir/half.yaml" --threads 1 --db "$dir/changed.db" >"$dir/out" 2>&1 &
pid=$!
wait_for "$dir/changed.db"
cp tests/golden/llama-tiny/model.safetensors "$dir/half/model.safetensors"
wait "$pid"
check "a file that changes before its turn comes is not measured as what it was" same "$? $(sql "$dir/changed.db" "SELECT DISTINCT status, error LIKE '%its content has changed since%' FROM v_measurement WHERE variant = 'kept' AND measure IN ('accuracy', 'throughput')")" "1 failed,1"
edited 's/vocab: 40/vocab: 60/'
bad "a task that needs more tokens than the file has" 'the model in the file has 47' "$HYLAB" run "$dir/edited.yaml" --db "$dir/none.db"

# ---- kill -9, a crash and ctrl-C while a measure runs
SLOW=("${ONE[@]}" --set 'measures.throughput={contexts: [64], batch: [4], repetitions: 1000, decode_tokens: 16}' --set measures.maps=true)
wait_measure() { # database: until a measurement is running
  for _ in $(seq 500); do
    [ -n "$(sql "$1" "SELECT 1 FROM measurement WHERE status = 'running' AND measure = 'throughput'")" ] && return 0
    sleep 0.02
  done
  return 1
}
for how in KILL ABRT INT; do
  db=$dir/$how.db
  start "$db" "${SLOW[@]}"
  wait_measure "$db"
  if [ $how = INT ]; then kill -INT "$pid"; else kill -$how "$(child_of "$pid")"; fi
  wait "$pid"
  rc=$?
  case $how in
    KILL) check "a measure that is killed is interrupted, the rest stored" same "$rc $(models "$db") $(of "$db" throughput) $(of "$db" accuracy)" "1 1,1,1 interrupted,0 done,0" ;;
    ABRT) check "a crash in a measure fails that measure; those after it go on" same "$rc $(models "$db") $(of "$db" throughput) $(of "$db" maps)" "1 1,1,1 failed,0 done,0"
          check "and names the signal" test -n "$(sql "$db" "SELECT 1 FROM measurement WHERE error LIKE '%SIGABRT%'")" ;;
    INT) check "ctrl-C in a measure" same "$rc $(models "$db") $(of "$db" throughput)" "130 1,1,1 interrupted,0" ;;
  esac
  run "$db" "${ONE[@]}" --set measures.maps=true --set measures.erf=true
  check "other measures go on after $how, from the stored weights" same "$? $(models "$db") $(of "$db" maps) $(of "$db" erf)" "0 1,1,1 done,0 done,0"
done
start "$dir/ABRT.db" "${SLOW[@]}" --retry-failed
wait_measure "$dir/ABRT.db"
kill -ABRT "$(child_of "$pid")"
wait "$pid"
check "a second crash ends it, --retry-failed or not" same "$? $(sql "$dir/ABRT.db" "SELECT count(*), sum(status = 'failed') FROM measurement WHERE measure = 'throughput'")" "1 2,2"
start "$dir/ABRT.db" "${SLOW[@]}" --retry-failed
wait_measure "$dir/ABRT.db"
kill -9 "$pid" "$(child_of "$pid")" 2>/dev/null
wait "$pid" 2>/dev/null
check "--retry-failed takes a measure up again and trains nothing" same "$(models "$dir/ABRT.db") $(sql "$dir/ABRT.db" "SELECT sum(status = 'failed'), sum(status = 'running') FROM measurement")" "1,1,1 2,1"
SHORT=("${ONE[@]}" --set 'measures.throughput={contexts: [16], batch: [1], repetitions: 1, decode_tokens: 2}')
run "$dir/KILL.db" "${SHORT[@]}"
check "a killed measure is no hindrance" same "$? $(models "$dir/KILL.db")" "0 1,1,1"

# ---- weights that cannot be stored
run "$dir/w/w.db" "${ONE[@]}" --dry-run
mkdir "$dir/w"
: >"$dir/w/models"
run "$dir/w/w.db" "${ONE[@]}"
check "weights that cannot be stored are an error with status 1" same "$? $(grep -c 'NOT STORED .*w/models' "$dir/out")" "1 1"
check "before anything is trained" same "$(sql "$dir/w/w.db" "SELECT status, steps FROM model") $(ls "$dir/w/w.db.work" | grep -c safetensors)" "interrupted,0 0"
rm "$dir/w/models"
mkdir "$dir/w/models"
: >"$dir/w/models/$(sql "$dir/w/w.db" "SELECT model_key FROM model")-1-cpu.safetensors"
"$HYLAB" models --db "$dir/w/w.db" --prune >"$dir/out" 2>&1
check "weights of a model that is being made are nobody's to prune" same "$? $(ls "$dir/w/models" | wc -l)" "0 1"
run "$dir/w/w.db" "${ONE[@]}"
check "and the model is made when there is a place for it" same "$? $(sql "$dir/w/w.db" "SELECT status, steps FROM model") $(ls "$dir/w/models" | wc -l)" "0 done,20 1"

# ---- one measure again
before=$(sql "$dir/w/w.db" "SELECT max(id) FROM measurement")
run "$dir/w/w.db" "${ONE[@]}" --remeasure cache
check "--remeasure takes one measure again" same "$? $(sql "$dir/w/w.db" "SELECT measure, superseded_by IS NULL FROM measurement WHERE id > $before") $(sql "$dir/w/w.db" "SELECT count(*) FROM model")" "0 cache,1 1"
check "in place of the earlier one" same "$(sql "$dir/w/w.db" "SELECT count(*) FROM measurement WHERE measure = 'cache' AND superseded_by IS NULL")" 1
bad "a measure that there is not" '--remeasure nosuch: there are accuracy|' "$HYLAB" run "$EXP" --db "$dir/w/w.db" --remeasure nosuch

# ---- two runners, different questions
start "$dir/two.db" --set measures.maps=true
first=$pid
run "$dir/two.db" --set measures.erf=true
rc=$?
wait "$first"
check "two runners with different measures end well" same "$? $rc" "0 0"
check "train each model once and take each measure once" same "$(models "$dir/two.db") $(measured "$dir/two.db")" "4,4,4 accuracy,4 cache,4 erf,4 maps,4 size,4 "

# ---- two tasks of one training: one model, measured on both
sed -e "s|../../variants|$PWD/variants|" -e 's/^  - {name: recall.*/&\n  - {name: long, kind: mqar, options: {vocab: 64, train: [[16, 2]], test: [[32, 8]], test_examples: 4}}/' "$EXP" >"$dir/tasks.yaml"
"$HYLAB" run "$dir/tasks.yaml" --db "$dir/tasks.db" --dry-run >"$dir/out" 2>&1
check "tasks that train alike are planned as one model each" grep -q "^to train: 4 models" "$dir/out"
"$HYLAB" run "$dir/tasks.yaml" --threads 1 --jobs 2 --db "$dir/tasks.db" >"$dir/out" 2>&1
check "tasks that train alike share their models" same "$? $(models "$dir/tasks.db") $(measured "$dir/tasks.db")" "0 4,4,4 accuracy,8 cache,4 size,8 "
"$HYLAB" run "$dir/tasks.yaml" --threads 1 --jobs 2 --db "$dir/tasks.db" --force >"$dir/out" 2>&1
check "--force trains each once, too" same "$? $(models "$dir/tasks.db")" "0 8,4,8"

# ---- what commands make
"$HYLAB" train variants/llama.yaml --set vocab=64 --set d_model=16 --set layers=2 --set mlp.d_ff=32 --task mqar --task-set vocab=64 --task-set 'train=[[16, 2]]' \
  --task-set 'test=[[16, 2], [32, 4]]' --task-set test_examples=32 --train steps=20 --train batch=4 --train lr=1e-2 --train eval_every=10 --train log_every=5 --threads 1 --db "$dir/t.db" >"$dir/out" 2>&1
check "hylab train --db stores model and accuracy" same "$? $(models "$dir/t.db") $(measured "$dir/t.db")" "0 1,1,1 accuracy,1 "
run "$dir/t.db" "${ONE[@]}"
check "which hylab run takes for the answer" same "$? $(trained "$dir/t.db") $(measured "$dir/t.db")" "0 1 accuracy,1 cache,1 size,1 "
facts "$dir/t.db" | sed 's/^llama/Llama/' >"$dir/t.facts"
run "$dir/u.db" "${ONE[@]}"
check "with the figures that it would have got" same "$(facts "$dir/u.db" | cmp - "$dir/t.facts" 2>&1)" ""

"$HYLAB" eval "$dir/models/$(sql "$dir/t.db" "SELECT weights FROM v_run")" --task mqar --task-set vocab=64 --task-set 'train=[[16, 2]]' --task-set 'test=[[16, 2]]' \
  --task-set test_examples=8 --threads 1 --db "$dir/t.db" >"$dir/out" 2>&1
check "hylab eval --db of stored weights is a measurement of their model" same "$? $(models "$dir/t.db") $(sql "$dir/t.db" "SELECT run_id, step FROM v_final WHERE metric = 'accuracy' AND cell = '' AND measure = 'accuracy'" | tr '\n' ' ')" "0 1,1,1 1,20 1,20 "
had=$(facts "$dir/t.db")
"$HYLAB" eval "$dir/models/$(sql "$dir/t.db" "SELECT weights FROM v_run")" --seed 5 --task mqar --task-set vocab=64 --task-set 'train=[[16, 2]]' --task-set 'test=[[16, 2], [32, 4]]' \
  --task-set test_examples=32 --threads 1 --db "$dir/t.db" >"$dir/out" 2>&1
check "data of another seed are no measurement of it" same "$? $(grep -c 'of seed 1, whose measurements are of that seed' "$dir/out") $(facts "$dir/t.db" | cmp - <(echo "$had") 2>&1)" "2 1 "
"$HYLAB" cache variants/hymba.yaml --db "$dir/t.db" >"$dir/out" 2>&1
check "hylab cache --db of a variant stores it as a model of its own" same "$? $(sql "$dir/t.db" "SELECT origin, variant FROM v_run WHERE run_id > 1")" "0 random,hymba"
"$HYLAB" eval tests/golden/llama-tiny --task mqar --task-set vocab=40 --task-set 'train=[[16, 2]]' --task-set 'test=[[16, 2]]' --threads 1 --db "$dir/t.db" >"$dir/out" 2>&1
"$HYLAB" eval tests/golden/llama-tiny --task mqar --task-set vocab=40 --task-set 'train=[[16, 2]]' --task-set 'test=[[16, 2]]' --threads 1 --db "$dir/t.db" >"$dir/out" 2>&1
check "twice of a folder is one model, and the newer figures count" same "$? $(sql "$dir/t.db" "SELECT origin, (SELECT count(*) FROM measurement x WHERE x.model_id = run_id), (SELECT count(*) FROM v_measurement x WHERE x.run_id = v_run.run_id) FROM v_run WHERE run_id > 2")" "0 file,2,1"

# ---- the text of a task lies beside the experiment or in the current folder
mkdir -p "$dir/exp" "$dir/elsewhere"
cp tests/data/shakespeare-100k.txt "$dir/exp/book.txt"
cat >"$dir/exp/text.yaml" <<END
name: text
variants: [{name: a, spec: {vocab: 256, d_model: 16, layers: 1, mixer: attention, attention: {heads: 2}}}]
tasks: [{kind: text, options: {path: book.txt, train: 16, test: 16}}]
seeds: [1]
train: {steps: 0}
END
keys() { (cd "$1" && "$HYLAB" run "$2" --db "$dir/none.db" --dry-run --format csv | tail -n +2 | sed 's/.*,//' | tr -d '\r'); }
here=$(keys "$dir/exp" text.yaml)
check "a path of a task is relative to the file" same "$(keys "$dir/elsewhere" ../exp/text.yaml) ${#here}" "$here 12"
mv "$dir/exp/book.txt" "$dir/elsewhere/book.txt"
check "or to the current folder, and is the same model" same "$(keys "$dir/elsewhere" ../exp/text.yaml)" "$here"
exit $failed
