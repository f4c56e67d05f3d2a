#!/usr/bin/env bash
# What eval, probe, bench and cache print is what they store with --db: each number of their tables beside the raw rows, in the unit that
# its heading says. (What `hylab run` prints: test_tables.)
set -u
cd "$(dirname "$0")/../.." || exit 1
H=$(realpath "${HYLAB:-./hylab}")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. tests/check.sh
db=$dir/d.db
cat >"$dir/tiny.yaml" <<'END'
{name: tiny, vocab: 64, d_model: 8, layers: 2, mixer: parallel, attention: {heads: 2, window: 6}, ssm: {d_state: 2, dt_rank: 1}, mlp: {d_ff: 8}, meta_tokens: 3}
END
task=(--task mqar --task-set vocab=32 --task-set 'train=[[16,2]]' --task-set 'test=[[16,1],[24,4]]' --task-set test_examples=200)
"$H" train "$dir/tiny.yaml" "${task[@]}" --train steps=3 --train batch=2 --out "$dir/m.safetensors" >/dev/null 2>&1
# figures of a measure, one a line: cell|metric|value|stderr|n
stored() {
  "$H" show sql "SELECT v.cell || '|' || d.name || '|' || ifnull(v.value, '') || '|' || ifnull(v.stderr, '') || '|' || v.n FROM metric v
    JOIN metric_def d ON d.id = v.def_id JOIN measurement x ON x.id = v.measurement_id WHERE x.measure = '$1' ORDER BY v.id" \
    --db "$db" --format csv | tail -n +2 | tr -d '\r"' >"$dir/$1.stored"
}
# Looks up each cell of a CSV: column "metric", "metric_se"; scales: "metric=100 ..." (1 for others); n: columns that are the n of a metric.
lookup() { # CSV, stored, scales, counts "examples=accuracy ...", fewest cells that have to be compared
  awk -v scales="$3" -v counts="$4" -v fewest="$5" '
    function near(a, b) {return a != "" && b != "" && (a - b) ^ 2 <= 1e-20 * (b * b + 1e-30)}
    function wrong(what, got, want) {print "    " what ": " got ", stored " want; bad++}
    BEGIN {
      n = split(scales, s, " "); for (i = 1; i <= n; i++) {split(s[i], p, "="); scale[p[1]] = p[2]}
      n = split(counts, s, " "); for (i = 1; i <= n; i++) {split(s[i], p, "="); count[p[1]] = p[2]}
    }
    FNR == NR {split($0, f, "|"); value[f[1], f[2]] = f[3]; se[f[1], f[2]] = f[4]; size[f[1], f[2]] = f[5]; next}
    {sub(/\r$/, ""); n = split($0, c, ",")}
    FNR == 1 {for (i = 1; i <= n; i++) name[i] = c[i]; next}
    {
      cell = c[1] == "all" ? "" : c[1]
      for (i = 2; i <= n; i++) {
        metric = name[i]; is_se = sub(/_se$/, "", metric); k = scale[metric] ? scale[metric] : 1
        if (name[i] in count) {compared++; if (c[i] != size[cell, count[name[i]]]) wrong(cell " " name[i], c[i], size[cell, count[name[i]]])}
        else if (name[i] != "layer" && name[i] != "kind" && name[i] != "head") {
          want = is_se ? se[cell, metric] : value[cell, metric]
          if (want == "" && c[i] == "") continue
          compared++
          if (want == "" || !near(c[i], k * want)) wrong(cell " " name[i], c[i], k * want)
        }
      }
    }
    END {if (compared < fewest) {print "    only " compared + 0 " compared"; bad++} exit bad != 0}' "$2" "$1"
}

"$H" eval "$dir/m.safetensors" "${task[@]}" --db "$db" --format csv >"$dir/eval.csv" 2>/dev/null
stored accuracy
lookup "$dir/eval.csv" "$dir/accuracy.stored" 'accuracy=100 exact=100' 'examples=accuracy labels=loss' 21
say $? 'eval: every cell is the stored figure'
awk -F'|' '$3 == 0 || ($4 == 0 && $2 == "loss") {print; bad++} END {exit bad != 0 || NR != 3}' <(grep -E '^\|(accuracy|exact|loss)\|' "$dir/accuracy.stored")
say $? 'and none of all is 0, which would hide its unit'
"$H" eval "$dir/m.safetensors" "${task[@]}" >"$dir/eval" 2>/dev/null
sed -nE 's/^(T[^ ]+|all) +/\1 /p' "$dir/eval" | tr -s ' ' | sed 's/^all/|/; s/ *$//' >"$dir/got"
awk -F'|' '{v[$1, $2] = $3; e[$1, $2] = $4; n[$1, $2] = $5} $2 == "loss" && !($1 in seen) {seen[$1] = 1; order[++k] = $1}
  END {for (j = 2; j <= k + 1; j++) {c = order[j > k ? 1 : j]
    printf "%s %d %d %.4f %.4f %.2f %.2f %.2f\n", c == "" ? "|" : c, n[c, "accuracy"], n[c, "loss"], v[c, "loss"], e[c, "loss"],
           100 * v[c, "accuracy"], 100 * e[c, "accuracy"], 100 * v[c, "exact"]}}' "$dir/accuracy.stored" | diff - "$dir/got"
say $? 'eval: so is the table, rounded'
grep -q '^s.e.: standard error of the mean over the examples$' "$dir/eval"
say $? 'eval says what s.e. is'
for measure in erf outputs reach retrieval gradient_erf contributions; do
  "$H" probe "$dir/m.safetensors" "${task[@]}" --measure $measure --db "$db" --format csv >"$dir/$measure.csv" 2>/dev/null
  stored $measure
  lookup "$dir/$measure.csv" "$dir/$measure.stored" 'output_share=100 long_memory=100 retrieval_score=100 retrieval_top=100 retrieval_uniform=100 gradient_meta=100 gradient_share=100 contribution_share=100 contribution_meta=100 contribution_bos=100 contribution_self=100 contribution_cross=100' '' 18
  say $? "probe, $measure: every cell is the stored figure"
done
"$H" probe "$dir/m.safetensors" "${task[@]}" --measure outputs 2>/dev/null >"$dir/outputs"
grep -q '^± standard error of the mean over the examples' "$dir/outputs"
say $? 'probe says what ± is'

# a timing: median, smallest and largest of the repetitions that are stored
"$H" bench "$dir/m.safetensors" --context 8 --batch 2 --repetitions 4 --db "$db" --format csv 2>/dev/null | tr -d '\r' |
  awk -F, 'NR > 1 {print $1 "," $2 "," $3 "," $4 "," $5 "," $6 "," $7}' >"$dir/bench"
"$H" show sql "SELECT d.name, v.y, v.x, s.value FROM sample s JOIN metric v ON v.id = s.metric_id JOIN metric_def d ON d.id = v.def_id
  ORDER BY v.id, s.value" --db "$db" --format csv | tail -n +2 | tr -d '\r' | awk -F, '
  {if (!($1 in n)) order[++k] = $1; v[$1, ++n[$1]] = $4; b[$1] = $2; c[$1] = $3}
  END {for (i = 1; i <= k; i++) {m = order[i]; printf "%s %d %d %.12g %.12g %.12g %d\n", m, b[m], c[m], (v[m, 2] + v[m, 3]) / 2, v[m, 1], v[m, 4], n[m]}}' |
  sed 's/throughput_train/training step/; s/throughput_//' >"$dir/timed"
awk -F, '{printf "%s %d %d %.12g %.12g %.12g %d\n", $1, $2, $3, $4, $5, $6, $7}' "$dir/bench" | diff "$dir/timed" - && [ "$(wc -l <"$dir/timed")" = 3 ]
say $? 'bench: median, min and max are those of the stored repetitions'
[ "$("$H" show sql "SELECT count(*) FROM v_timing t JOIN v_final v USING(measurement_id, metric) WHERE abs(t.median - v.value) = 0 AND t.min <= t.median
  AND t.median <= t.max AND t.repetitions = 4 AND t.context = 8 AND t.batch = 2" --db "$db" --format csv | tail -n 1 | tr -d '\r')" = 3 ]
say $? 'v_timing has the same'

# MB are 10^6 bytes
"$H" cache "$dir/m.safetensors" --tokens 100 --db "$db" --format csv >"$dir/cache.csv" 2>/dev/null
stored cache
awk -F'|' '$2 == "cache_true" && $1 !~ /layer/ {v[$1] = $3} END {printf "%.9f %.9f %.9f %.9f %.9f\n", v["kv"] / 1e6, v["meta"] / 1e6, v["conv"] / 1e6, v["ssm"] / 1e6, v[""] / 1e6}' \
  "$dir/cache.stored" >"$dir/wanted"
tr -d '\r' <"$dir/cache.csv" | awk -F, 'NR == 2 {printf "%.9f %.9f %.9f %.9f %.9f\n", $3, $4, $5, $6, $7}' | diff "$dir/wanted" -
say $? 'cache: every column is the stored one over 10^6'
[ "$(tr ' ' '\n' <"$dir/wanted" | sort -u | wc -l)" = 5 ]
say $? 'and no two of them are equal'
"$H" cache "$dir/m.safetensors" --tokens 100 --by-layer --format csv | tr -d '\r' | awk -F, 'NR > 1 {printf "%d %.9f %.9f %.9f %.9f\n", $2, $6, $7, $8, $9}' >"$dir/got"
awk -F'|' '$2 == "cache_true" && $1 ~ /^layer/ {split($1, p, "."); v[substr(p[1], 6), p[2]] = $3 / 1e6}
  END {for (l = 0; l < 2; l++) printf "%d %.9f %.9f %.9f %.9f\n", l, v[l, "kv"], v[l, "meta"], v[l, "conv"], v[l, "ssm"]}' "$dir/cache.stored" | diff - "$dir/got"
say $? 'cache by layer: so is each layer'

# one run: its listing has every figure, and only those of that run
id=$("$H" show sql "SELECT run_id FROM v_measurement WHERE measure = 'erf' LIMIT 1" --db "$db" --format csv | tail -n 1 | tr -d '\r')
"$H" show run "$id" --db "$db" --format csv | tr -d '\r' | tail -n +2 | awk -F, '{print $1 "|" $2 "|" $3 "|" $5 "|" $7}' | sort >"$dir/got"
"$H" show sql "SELECT x.measure || '|' || d.name || '|' || v.cell, v.value, v.n FROM metric v JOIN metric_def d ON d.id = v.def_id
  JOIN measurement x ON x.id = v.measurement_id WHERE x.model_id = $id" --db "$db" --format csv | tr -d '\r' | tail -n +2 | tr , '|' | sort | diff - "$dir/got"
say $? 'show run: every figure of the run'
"$H" show metrics --db "$db" --format csv | tr -d '\r' | awk -F, 'NR > 1 && $5 > 0 {print $1 "," $5}' | sort >"$dir/got"
"$H" show sql "SELECT d.name, count(*) FROM metric v JOIN metric_def d ON d.id = v.def_id GROUP BY 1" --db "$db" --format csv | tr -d '\r' | tail -n +2 |
  sort | diff - "$dir/got" && [ -s "$dir/got" ]
say $? 'show metrics: how many figures of each are stored'
exit $bad
