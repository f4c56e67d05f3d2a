#!/usr/bin/env bash
# Each number that `hylab run` and the report show is the stored figure: means and spreads are computed a second time here, from
# v_result, and rows are put together from them with the labels, units and digits that metrics.def promises.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=$(realpath "${HYLAB:-./hylab}")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. tests/check.sh
sql() { "$H" show sql "$1" --format csv | tail -n +2 | tr -d '\r'; }
export HYLAB_DB=$dir/r.db
cat >"$dir/e.yaml" <<'END'
name: numbers
question: Are they the same?
variant: {vocab: 64, d_model: 8, mlp.d_ff: 8}
variants:
  - {name: Llama, spec: {layers: 1, mixer: attention, attention: {heads: 2, kv_heads: 2}}}
  - {name: Mamba, spec: {layers: 2, mixer: ssm, ssm: {d_state: 2, dt_rank: 1}}}
tasks:
  - {name: far, kind: mqar, options: {vocab: 64, train: [[16, 2]], test: [[16, 2], [24, 4]], train_examples: 50, test_examples: 90}}
  - {name: near, kind: mqar, options: {vocab: 64, train: [[16, 2]], test: [[16, 2]], train_examples: 50, test_examples: 70}}
seeds: [1, 2, 3]
train: {steps: 9, batch: 2, lr: 0.03}
measures:
  cache: {tokens: 100}
  throughput: {contexts: [8, 16], repetitions: 3, decode_tokens: 1}
  erf: {examples: 2}
END

cat >"$dir/tiny.yaml" <<'END'
{vocab: 64, d_model: 8, layers: 1, mixer: attention, attention: {heads: 2}, mlp: {d_ff: 8}}
END

# The rows of an experiment as they should be printed, from the store alone: one a line, columns separated by "|".
# metric, scale, decimals, spread: in the order of the table; the figure of the whole task, of timings that of the largest context.
rows() { # experiment
  sql "SELECT variant, task, grid, metric, seed, value FROM v_result r WHERE experiment = '$1' AND (cell = '' OR
       (metric LIKE 'throughput%' AND x = (SELECT max(x) FROM v_result WHERE experiment = '$1' AND metric = r.metric)))
       ORDER BY task_ord, variant_ord, grid_ord, seed" | awk -F, '
    BEGIN {
      n = split("accuracy 100 2 1 loss 1 4 1 parameters 1e-3 3 0 cache_true 1e-3 3 0 cache_paper 1e-3 3 0 throughput_train 1 0 0 " \
                "throughput_prefill 1 0 0 throughput_decode 1 0 0 erf 1 1 1", def, " ")
    }
    { row = $1 "|" $2 "|" $3; if (!(row in seen)) order[++rows] = row; seen[row] = 1
      k = row "|" $4; count[k]++; sum[k] += $6; value[k, count[k]] = $6; if (count[k] > most[row]) most[row] = count[k] }
    END {
      for (i = 1; i <= rows; i++) {
        out = order[i] "|" most[order[i]]
        for (c = 1; c <= n; c += 4) {
          k = order[i] "|" def[c]
          if (!count[k]) continue
          mean = sum[k] / count[k]; sq = 0
          for (j = 1; j <= count[k]; j++) sq += (value[k, j] - mean) ^ 2
          text = sprintf("%." def[c + 2] "f", mean * def[c + 1])
          if (def[c + 3] && count[k] > 1) text = text " ± " sprintf("%." def[c + 2] "f", sqrt(sq / (count[k] - 1)) * def[c + 1])
          out = out "|" text
        }
        print out
      }
    }'
}
check 'run' 0 'Llama +far +3 ' "$H" run "$dir/e.yaml" --threads 1
"$H" run "$dir/e.yaml" >"$dir/table" 2>/dev/null
rows numbers | sed 's/||/|/' >"$dir/wanted"
[ "$(wc -l <"$dir/wanted")" = 4 ]
say $? 'two variants on two tasks'
# the table has two spaces or more between columns
sed -nE 's/ {2,}/|/gp' "$dir/table" | grep -E '^(Llama|Mamba)\|' >"$dir/got"
diff "$dir/wanted" "$dir/got"
say $? 'every number of the table is that of the store'
grep -qE '^variant +task +seeds +accuracy +loss +parameters +cache +cache, paper.s way +training +prefill +decoding +ERF$' "$dir/table" &&
  grep -qE '^ +% +nats +k +kB +kB +tokens/s +tokens/s +tokens/s +tokens$' "$dir/table"
say $? 'labels and units'
# the report has the same cells
if command -v gnuplot >/dev/null; then
  check report 0 'r.html' "$H" report "$dir/e.yaml" --out "$dir/f/r.html"
  sed -nE '/^<tr><t[dh][^>]*>(Llama|Mamba)/{s/<\/t[dh]><t[dh][^>]*>/|/g; s/<[^>]*>//g; p}' "$dir/f/r.html" | head -n 4 >"$dir/page"
  diff "$dir/wanted" "$dir/page"
  say $? 'every number of the report is that of the store, in the same units and digits'
  grep -q '>accuracy (%)<' "$dir/f/r_files/recall-far.svg" && grep -q '>cache at 100 tokens (kB)<' "$dir/f/r_files/accuracy-cache-far.svg" &&
    grep -q '>loss (nats)<' "$dir/f/r_files/loss-near.svg"
  say $? 'axes have the labels and units of the table'
  awk 'FNR == NR {split($0, f, "|"); want[f[1]] = f[4] + 0; next} /^#/ || NF < 6 {next}
       {gsub(/"/, "", $6); n += sprintf("%.2f", $2) + 0 == want[$6]} END {exit n != 2}' \
    <(grep '|far|' "$dir/wanted") "$dir/f/r_files/accuracy-cache-far.dat"
  say $? 'points of a figure are the figures of the table'
else
  echo 'skip report (gnuplot is not installed)'
fi

# programs: one document, the same units for every experiment, all digits
"$H" run "$dir/e.yaml" --format csv 2>/dev/null | tr -d '\r' >"$dir/csv"
keys='variant,task,seeds,planned,done,failed,measures_failed,origin'
for metric in accuracy loss +parameters +cache_true +cache_paper +throughput_train +throughput_prefill +throughput_decode erf; do
  case $metric in +*) keys=$keys,${metric#+},${metric#+}_n ;; *) keys=$keys,$metric,${metric}_sd,${metric}_n,${metric}_lo,${metric}_hi ;; esac
done
[ "$(head -n 1 "$dir/csv")" = "$keys" ]
say $? 'keys of the CSV are names of metrics'
# every mean, standard deviation, count and interval a second time, from the raw rows of every seed: Student's t of 2 degrees of
# freedom is 0.95 / sqrt((1 - 0.95^2) / 2); a share keeps to 0..1 on the scale of asin(sqrt(x)), what cannot be negative to 0
"$H" show sql "SELECT p.task_ord, p.variant_ord, d.name, v.value FROM planned p
  JOIN model m ON m.model_key = p.model_key AND m.seed = p.seed JOIN measurement x ON x.model_id = m.id
  JOIN planned_measure w ON w.experiment_id = p.experiment_id AND w.ord = p.ord AND w.measure = x.measure AND w.key = x.key
  JOIN metric v ON v.measurement_id = x.id AND v.final = 1 JOIN metric_def d ON d.id = v.def_id
  WHERE v.cell = '' AND p.experiment_id = (SELECT id FROM experiment WHERE name = 'numbers')
  ORDER BY 1, 2, 3, p.seed" --format csv | tr -d '\r' | tail -n +2 >"$dir/raw"
awk -F, '
  function near(a, b) {return a == "" ? b == "" : b != "" && (a - b) ^ 2 <= 1e-24 * b * b}
  function asin(x) {return x >= 1 ? atan2(1, 0) : atan2(x, sqrt(1 - x * x))}
  function low(x) {return x < 0 ? 0 : x}
  function check(k, name, want) {n++; if (!near(cell[k, name], want)) {printf "%s %s: %s, not %.15g\n", k, name, cell[k, name], want; wrong++}}
  FNR == NR && FNR == 1 {for (i = 1; i <= NF; i++) name[i] = $i; next}
  FNR == NR {k = FNR - 2; for (i = 1; i <= NF; i++) cell[k, name[i]] = $i; next}
  {k = 2 * $1 + $2; key[k, $3]; v[k, $3, ++c[k, $3]] = $4}
  END {
    scale["accuracy"] = 100; scale["loss"] = 1; scale["erf"] = 1; scale["parameters"] = scale["cache_true"] = scale["cache_paper"] = 1e-6
    for (kk in key) {
      split(kk, part, SUBSEP); k = part[1]; m = part[2]
      if (!(m in scale)) continue
      s = scale[m]; sum = sq = 0
      for (i = 1; i <= c[k, m]; i++) sum += v[k, m, i]
      mean = sum / c[k, m]
      for (i = 1; i <= c[k, m]; i++) sq += (v[k, m, i] - mean) ^ 2
      sd = sqrt(sq / 2); h = 0.95 / sqrt((1 - 0.95 ^ 2) / 2) * sd / sqrt(3)
      check(k, m, s * mean); check(k, m "_n", 3)
      if (s == 1e-6) continue
      check(k, m "_sd", s * sd)
      if (sd == 0) lo = hi = ""
      else if (m == "accuracy") {
        g = asin(sqrt(mean)); d = h / (2 * sqrt(mean * (1 - mean)))
        lo = s * sin(low(g - d)) ^ 2; hi = s * (g + d > atan2(1, 0) ? 1 : sin(g + d) ^ 2)
      } else {lo = s * low(mean - h); hi = s * (mean + h)}
      check(k, m "_lo", lo); check(k, m "_hi", hi)
    }
    for (k = 0; k < 4; k++) {check(k, "seeds", 3); check(k, "planned", 3); check(k, "done", 3); check(k, "failed", 0)}
    exit wrong || n != 4 * (3 * 5 + 3 * 2 + 4)
  }' "$dir/csv" "$dir/raw"
say $? 'its numbers are in full'
# a listing: the two tasks differ in their test sets only and share their models, which are listed with the first one
"$H" show runs --experiment numbers --format csv | tr -d '\r' |
  awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i; next} {print $at["run"] "," $at["task"] "," $at["accuracy_percent"] "," $at["loss"]}' >"$dir/got"
sql "SELECT m.id, m.task, round(100 * a.value, 2), round(l.value, 4) FROM model m JOIN measurement x ON x.model_id = m.id
  JOIN metric a ON a.measurement_id = x.id AND a.final AND a.cell = '' JOIN metric l ON l.measurement_id = x.id AND l.final AND l.cell = ''
  WHERE a.def_id = (SELECT id FROM metric_def WHERE name = 'accuracy') AND l.def_id = (SELECT id FROM metric_def WHERE name = 'loss')
  AND x.task LIKE '%24%' ORDER BY 1" >"$dir/wanted.runs"
[ "$(wc -l <"$dir/wanted.runs")" = 6 ] && diff "$dir/wanted.runs" "$dir/got"
say $? 'figures of listed runs are those of the task that is named'
sed -e 's/^name: .*/name: grid/; /^measures/,$d; /name: near/d' -e 's/^seeds/grid: {train.lr: [0.003, 0.03]}\ntune: {by: loss}\nseeds/' \
  "$dir/e.yaml" >"$dir/g.yaml"
check 'run a grid' 0 'held out' "$H" run "$dir/g.yaml" --threads 1
"$H" run "$dir/g.yaml" --format csv 2>/dev/null | tr -d '\r' >"$dir/csv"
awk -F, 'NR == 1 {for (columns = 1; columns <= NF; columns++) at[$columns] = columns; next}
         {n++; best += $at["best"]; wrong += NF != columns - 1 || ($at["best"] == 1) != ($at["loss_held_out"] != "")}
         END {exit !(n == 4 && best == 2 && wrong == 0)}' "$dir/csv"
say $? 'CSV of a grid is one document: a row for each point, one of each variant is the best'
loss=$(head -n 1 "$dir/csv" | tr , '\n' | grep -nx loss | cut -d: -f1)
tail -n +2 "$dir/csv" | awk -F, -v loss="$loss" '{printf "%s|%s|%.4f\n", $1, $2, $loss}' >"$dir/points"
"$H" run "$dir/g.yaml" 2>/dev/null | sed -n '/all grid points/,$p' | sed -nE 's/ {2,}/|/gp' |
  awk -F'|' '/^(Llama|Mamba)/ {printf "%s|%s|%.4f\n", $1, $2, $5}' >"$dir/lines"
diff "$dir/points" "$dir/lines"
say $? 'and its points are those of the table'
[ "$(sql "SELECT DISTINCT path, typeof(value), value FROM v_grid ORDER BY value" | tr '\n' ' ')" = 'train.lr,real,0.003 train.lr,real,0.03 ' ]
say $? 'values of the grid are numbers in the store'
"$H" run "$dir/g.yaml" --format json 2>/dev/null >"$dir/json"
grep -q '"summary"' "$dir/json" && grep -q '"grid"' "$dir/json"
say $? 'JSON has both tables'

# pairs and intervals against another program's statistics, from the database itself
if python3 -c 'import scipy.stats, sqlite3' 2>/dev/null; then
  "$H" run "$dir/e.yaml" --format json 2>/dev/null >"$dir/e.json"
  python3 - "$HYLAB_DB" "$dir/e.json" <<'END'
import itertools, json, sqlite3, sys
import numpy as np
from scipy import stats
db, doc = sqlite3.connect(sys.argv[1]), json.load(open(sys.argv[2]))
rows = db.execute("""select p.task, p.variant, p.seed, v.value from planned p join experiment e on e.id = p.experiment_id
  join planned_measure w on w.experiment_id = p.experiment_id and w.ord = p.ord and w.measure = 'accuracy'
  join model m on m.model_key = p.model_key and m.seed = p.seed
  join measurement x on x.model_id = m.id and x.measure = w.measure and x.key = w.key
  join metric v on v.measurement_id = x.id and v.cell = '' and v.final = 1 join metric_def d on d.id = v.def_id
  where e.name = 'numbers' and d.name = 'accuracy' order by p.seed""").fetchall()
of = lambda task, variant: np.array([r[3] for r in rows if r[:2] == (task, variant)])
same = lambda a, b: abs(a - b) <= 1e-9 * max(1, abs(b))
p, checked = {}, 0
for pair in doc["pairs"]["rows"]:
    a, b = of(pair["task"], pair["a"]), of(pair["task"], pair["b"])
    assert pair["metric"] == "accuracy" and pair["n"] == 3 and same(pair["mean"], 100 * (a - b).mean()), pair
    if np.ptp(a - b) < 1e-12:
        assert pair["p"] is None and pair["lo"] is None, pair
        continue
    t = stats.ttest_rel(a, b)
    ci = t.confidence_interval(0.95)
    for got, want in ((pair["t"], t.statistic), (pair["p"], t.pvalue), (pair["lo"], 100 * max(ci.low, -1)), (pair["hi"], 100 * min(ci.high, 1))):
        assert same(got, want), (pair, want)
    p[pair["task"]] = (t.pvalue, pair["p_holm"])
    checked += 1
order, last = sorted(p.values()), 0
for k, (plain, holm) in enumerate(order):
    last = max(last, min(1, (len(order) - k) * plain))
    assert same(holm, last), (order, last)
assert checked > 0 and len(doc["pairs"]["rows"]) == 2
for row in doc["summary"]["rows"]:
    v = of(row["task"], row["variant"])
    if np.ptp(v) == 0:
        assert row["accuracy_lo"] is None
        continue
    h, m = stats.sem(v) * stats.t.ppf(0.975, 2), v.mean()
    at, d = np.arcsin(np.sqrt(m)), h / (2 * np.sqrt(m * (1 - m)))
    assert same(row["accuracy_lo"], 100 * np.sin(max(at - d, 0)) ** 2) and same(row["accuracy_hi"], 100 * np.sin(min(at + d, np.pi / 2)) ** 2), row
END
  say $? 'pairs and intervals are those of SciPy'
else
  echo 'skip pairs and intervals against SciPy (python3-scipy is not installed)'
fi

# a model that was not trained here stands in the same table, and table and report say so
"$H" train "$dir/tiny.yaml" --task mqar --task-set vocab=64 --task-set "train=[[16, 2]]" --task-set "test=[[16, 2]]" --train steps=3 --out "$dir/made.safetensors" >/dev/null 2>&1
sed -e 's/^name: .*/name: files/; /^measures/,$d; /name: near/d; s/^seeds.*/seeds: [1]/' \
  -e "/name: Mamba/a\\  - {name: released, file: $dir/made.safetensors, train: none}\n  - {name: tuned, file: $dir/made.safetensors}" \
  "$dir/e.yaml" | sed '/^variant: /d; s/spec: {layers/spec: {vocab: 64, d_model: 8, mlp: {d_ff: 8}, layers/' >"$dir/o.yaml"
check 'run a checkpoint beside trained models' 0 '^not trained here from the start: weights from a file: released; trained on from a file: tuned$' \
  "$H" run "$dir/o.yaml" --threads 1
"$H" run "$dir/o.yaml" --format csv 2>/dev/null | tr -d '\r' | awk -F, '{print $1 "," $7}' >"$dir/origins"
[ "$(tr '\n' ' ' <"$dir/origins")" = 'variant,origin Llama,trained Mamba,trained released,file tuned,trained ' ]
say $? 'the CSV has the origin of every row'
if command -v gnuplot >/dev/null; then
  check 'report of a checkpoint' 0 'html' "$H" report "$dir/o.yaml" --out "$dir/o/r.html"
  grep -q 'Not trained here from the start: weights from a file: released' "$dir/o/r.html" && grep -q '1 from a file' "$dir/o/r.html"
  say $? 'the report says which row it is, and its provenance'
fi
exit $bad
