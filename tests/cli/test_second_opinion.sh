#!/usr/bin/env bash
# A measure is the same by whatever way it is taken: in an experiment, or of the stored weights by eval, probe and cache. --remeasure
# replaces what it names and nothing else. What a continued training cannot know is not stored.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/runner_helpers.sh
cp tests/data/tiny-parallel.yaml "$dir/m.yaml"
cat >"$dir/e.yaml" <<'YAML'
name: ways
variants: [{name: tiny, file: m.yaml}]
tasks: [{name: recall, kind: mqar, options: {vocab: 256, train: [[16, 2]], test: [[24, 2], [32, 3]], test_examples: 6}}]
seeds: [4]
train: {steps: 3, batch: 2, lr: 1e-2, eval_batch: 3}
measures:
  accuracy: {examples: 5}
  cache: {tokens: 77}
  size: false
  maps: {examples: 2, cell: 1, keep: statistics}
  erf: {examples: 3, meta: renormalised}
  outputs: {examples: 4}
  stream: {examples: 4}
  ablation: {examples: 3, how: mean}
  kv_similarity: {examples: 4, cka: debiased}
  reach: {examples: 4, rows: 2}
  retrieval: {examples: 4}
  gradient_erf: {examples: 4, of: top, each: from}
  contributions: {examples: 2, rows: 5, keep: statistics}
  throughput: {contexts: [8], batch: [2], repetitions: 2, decode_tokens: 3}
YAML
EXP=$dir/e.yaml
run "$dir/x.db" || no run "$(tail -3 "$dir/out")"
weights=$(ls "$dir"/models/*.safetensors)
task=(--task mqar --task-set vocab=256 --task-set 'train=[[16,2]]' --task-set 'test=[[24,2],[32,3]]' --task-set test_examples=6 --seed 4 --threads 1 --db "$dir/y.db")
{
  "$HYLAB" eval "$weights" "${task[@]}" --examples 5 --batch 3
  "$HYLAB" cache "$weights" --tokens 77 --db "$dir/y.db"
  "$HYLAB" probe "$weights" "${task[@]}" --measure maps --option examples=2 --option cell=1 --option keep=statistics
  "$HYLAB" probe "$weights" "${task[@]}" --measure erf --option examples=3 --option meta=renormalised
  "$HYLAB" probe "$weights" "${task[@]}" --measure outputs --option examples=4
  "$HYLAB" probe "$weights" "${task[@]}" --measure stream --option examples=4
  "$HYLAB" probe "$weights" "${task[@]}" --measure ablation --option examples=3 --option how=mean
  "$HYLAB" probe "$weights" "${task[@]}" --measure kv_similarity --option examples=4 --option cka=debiased
  "$HYLAB" probe "$weights" "${task[@]}" --measure reach --option examples=4 --option rows=2
  "$HYLAB" probe "$weights" "${task[@]}" --measure retrieval --option examples=4
  "$HYLAB" probe "$weights" "${task[@]}" --measure gradient_erf --option examples=4 --option of=top --option each=from
  "$HYLAB" probe "$weights" "${task[@]}" --measure contributions --option examples=2 --option rows=5 --option keep=statistics
  "$HYLAB" bench "$weights" --context 8 --batch 2 --repetitions 2 --tokens 3 --threads 1 --db "$dir/y.db"
} >"$dir/out" 2>&1 || no 'by commands' "$(tail -3 "$dir/out")"
figures() { # database, measure
  sql "$1" "SELECT metric, metric_version, cell, layer, kind, head, value, stderr, n, x, y, options FROM v_final WHERE measure = '$2' ORDER BY metric, cell"
}
for m in accuracy cache maps erf outputs stream ablation kv_similarity reach retrieval gradient_erf contributions; do
  n=$(figures "$dir/x.db" $m | wc -l)
  check "$m has figures" [ "$n" -gt 4 ]
  check "$m, two ways" same "$(figures "$dir/y.db" $m)" "$(figures "$dir/x.db" $m)"
done
timings() { # database: all but how fast
  sql "$1" "SELECT v.metric, v.cell, v.stderr, v.n, v.x, v.y, v.options, count(s.rep) FROM v_final v JOIN sample s USING(metric_id) GROUP BY metric_id ORDER BY 1"
}
check 'throughput has figures' same "$(timings "$dir/x.db" | grep -c ',T8.B2,,2,8.0,2.0,')" 3
check 'throughput, two ways' same "$(timings "$dir/y.db")" "$(timings "$dir/x.db")"

# ---- taken again
rows() { sql "$1" "SELECT measurement_id, measure, value, metric, cell FROM v_final WHERE measure $2 ORDER BY 1, 4, 5"; }
others=$(rows "$dir/x.db" "!= 'erf'") before=$(rows "$dir/x.db" "= 'erf'") model=$(sql "$dir/x.db" "SELECT run_id, started, weights FROM v_model")
run "$dir/x.db" --remeasure erf || no remeasure "$(tail -3 "$dir/out")"
check 'others stay as they are' same "$(rows "$dir/x.db" "!= 'erf'")" "$others"
check 'the model is not trained again' same "$(sql "$dir/x.db" "SELECT run_id, started, weights FROM v_model")" "$model"
check 'the same figures' same "$(rows "$dir/x.db" "= 'erf'" | cut -d, -f2-)" "$(cut -d, -f2- <<<"$before")"
check 'of a new measurement' [ "$(rows "$dir/x.db" "= 'erf'" | cut -d, -f1 | sort -u)" -gt "$(cut -d, -f1 <<<"$before" | sort -u)" ]

# ---- weights that changed are no weights of this model: it is trained again, to the same figures
figure=$(figures "$dir/x.db" erf)
printf '\1' | dd of="$weights" bs=1 seek=$(($(stat -c %s "$weights") - 9)) conv=notrunc 2>>"$dir/out"
run "$dir/x.db" --remeasure erf || no 'changed weights' "$(tail -3 "$dir/out")"
check 'it says so' grep -q 'its stored weights are gone or changed' "$dir/out"
check 'figures of the weights that belong to it' same "$(figures "$dir/x.db" erf)" "$figure"

# ---- two figures of one name are refused before anything is trained, not by the database after it
bad 'a context twice' 'measure throughput: contexts: 8 stands there twice' "$HYLAB" run "$EXP" --db "$dir/none.db" --set 'measures.throughput.contexts=[8,4,8]'
bad 'a batch twice' 'batch: 2 stands there twice' "$HYLAB" run "$EXP" --db "$dir/none.db" --set 'measures.throughput.batch=[2,2]'
bad 'a channel twice' 'channels: 1 stands there twice' "$HYLAB" run "$EXP" --db "$dir/none.db" --set 'measures.maps.channels=[1,1]'
bad 'a head twice' 'single_heads: 0 stands there twice' "$HYLAB" run "$EXP" --db "$dir/none.db" --set 'measures.maps.single_heads=[0,0]'
bad 'a cell twice' 'two evaluation cells would both be called T24.K2' "$HYLAB" run "$EXP" --db "$dir/none.db" --set 'task.test=[[24,2],[24,2]]'
bad 'depths of one name' 'would both be called len64.depth0.50: name each setting once, depths at least 0.01 apart' \
  "$HYLAB" task needle --set test=64 --set 'depths=[0.499, 0.501]'

# ---- a training that another process began
train=(train "$dir/m.yaml" --task mqar --task-set vocab=256 --task-set 'train=[[16,2]]' --task-set 'test=[[24,2]]' --task-set test_examples=6 --threads 1
  --train steps=4 --train batch=2 --train schedule=constant --train warmup=0 --train log_every=1)
"$HYLAB" "${train[@]}" --out "$dir/t.safetensors" --db "$dir/whole.db" >"$dir/out" 2>&1 || no train "$(tail -3 "$dir/out")"
check 'seconds of a whole training' same "$(sql "$dir/whole.db" "SELECT count(*) FROM v_metric WHERE metric = 'train_seconds' AND value > 0")" 1
"$HYLAB" "${train[@]}" --resume "$dir/t.safetensors" --db "$dir/rest.db" >"$dir/out" 2>&1 || no resume "$(tail -3 "$dir/out")"
check 'of a part nobody knows them' same "$(sql "$dir/rest.db" "SELECT count(*) FROM v_metric WHERE metric = 'train_seconds'")" 0
exit $failed
