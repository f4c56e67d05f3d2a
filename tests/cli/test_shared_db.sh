#!/usr/bin/env bash
# Results databases that others made, changed or damaged, and names that are none, on the command line: nothing of them runs, nothing
# outside is written or removed, what is damaged is named and the rest is shown. And what is not a result is not stored as one: NaN,
# no memory.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=$(realpath "${HYLAB:-build/release/hylab}")
. tests/check.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
if ! command -v sqlite3 >/dev/null && ! python3 -c 'import sqlite3' 2>/dev/null; then echo "skip all (neither sqlite3 nor python3 is installed)"; exit 0; fi
raw() { # database, statements: as another program would
  if command -v sqlite3 >/dev/null; then sqlite3 "$1" "$2"; else python3 -c 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); [print(*r, sep="|") for s in sys.argv[2].split(";") for r in d.execute(s)]; d.commit()' "$1" "$2"; fi
}
sql() { "$H" show sql "$2" --db "$1" --format csv 2>&1 | tail -n +2 | tr -d '\r'; }
cp tests/data/stores/schema4.sqlite "$dir/good.db"
check 'migrated' 0 'schema version 5' "$H" doctor --db "$dir/good.db" --migrate
check 'what found no memory is open again' 0 '^110,interrupted' "$H" show sql "SELECT id, status FROM measurement WHERE id = 110" --db "$dir/good.db" --format csv
fresh() { rm -f "$dir"/x.db*; cp "$dir/good.db" "$dir/x.db"; }
X=$dir/x.db

# ---------------------------------------------------------------------------------------------------- names
cat >"$dir/e.yaml" <<'YAML'
name: e
variants: [{name: A, spec: {mixer: attention}}]
variant: {vocab: 32, d_model: 16, layers: 1, attention: {heads: 2}, mlp: {d_ff: 16}}
tasks: [{name: recall, kind: induction, options: {train: 16, test: 16}}]
train: {steps: 1, batch: 2, eval_examples: 4}
seeds: [1]
YAML
V="variants/llama.yaml --set layers=1 --set d_model=16 --set vocab=32 --set attention.heads=2 --set attention.kv_heads=1 --set mlp.d_ff=16"
T="--task induction --task-set test=16 --task-set train=16"
for name in '' :memory: "$dir" "$dir/none/" /dev/null; do
  for command in "run $dir/e.yaml" "run $dir/e.yaml --dry-run" "train $V $T --train steps=1" "eval $V $T" "bench $V --contexts 16" \
    "probe $V $T" "cache $V" "show runs" "models" "plot --experiment e" "report --experiment e" "doctor"; do
    # shellcheck disable=SC2086
    "$H" $command --db "$name" >"$dir/out" 2>&1
    rc=$?
    if [ $rc = 2 ] && ! grep -qE 'stored|step ' "$dir/out"; then ok=1; else ok=0; fi
    [ $ok = 1 ] || { echo "not ok ${command%% *} --db '$name' (exit $rc)"; head -5 "$dir/out"; bad=1; }
  done
  echo "ok all commands refuse --db '${name#"$dir"}' before any work"
done
mkdir "$dir/in" && cd "$dir/in" || exit 1
check 'file:x.db is a file of that name' 0 '' "$H" run ../e.yaml --db file:x.db --threads 1
check 'and is read' 0 'done' "$H" show runs --db file:x.db
if [ -f "$dir/in/file:x.db" ]; then echo 'ok it is there'; else echo 'not ok it is there'; ls -la "$dir/in"; bad=1; fi
cd - >/dev/null || exit 1

# ---------------------------------------------------------------------------------------------------- show sql
fresh
check 'VACUUM INTO' 2 'not allowed here: .*VACUUM' "$H" show sql "VACUUM INTO '$dir/stolen.db'" --db "$X"
check 'ATTACH' 2 'not allowed here: another file' "$H" show sql "ATTACH '$dir/stolen.db' AS s" --db "$X"
check 'DELETE' 2 'not allowed here' "$H" show sql "DELETE FROM model" --db "$X"
check 'PRAGMA that sets' 2 'not allowed here: a PRAGMA' "$H" show sql "PRAGMA user_version = 7" --db "$X"
check 'load_extension' 2 'not allowed here: a function' "$H" show sql "SELECT load_extension('x')" --db "$X"
check 'a second statement' 2 'one SQL statement at a time' "$H" show sql "SELECT 1; SELECT 2" --db "$X"
check 'PRAGMA that tells' 0 '^5' "$H" show sql "PRAGMA user_version" --db "$X" --format csv
if ls "$dir"/stolen* >/dev/null 2>&1; then echo 'not ok nothing was written'; bad=1; else echo 'ok nothing was written'; fi
for signal in INT TERM; do
  # a shell starts what runs behind it with SIGINT ignored: env sets it back
  env --default-signal=INT "$H" show sql "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c" --db "$X" >"$dir/out" 2>&1 &
  pid=$!
  sleep 0.5
  kill -$signal $pid
  for _ in $(seq 100); do kill -0 $pid 2>/dev/null && sleep 0.1; done
  kill -KILL $pid 2>/dev/null
  wait $pid
  rc=$?
  if [ $rc = 130 ]; then echo "ok a query without end obeys $signal"; else echo "not ok a query without end obeys $signal ($rc)"; bad=1; fi
done

# ---------------------------------------------------------------------------------------------------- changed by others
fresh
raw "$X" "CREATE TRIGGER harm AFTER INSERT ON metric BEGIN DELETE FROM model; END"
for command in "show runs" "show sql v_run" "plot --experiment store4 --scale small" "report --experiment store4 --scale small" doctor models \
  "run tests/data/stores/schema4.yaml"; do
  # shellcheck disable=SC2086
  check "a trigger: ${command%% -*}" 2 'trigger.*harm' "$H" $command --db "$X"
done
fresh
raw "$X" "DROP VIEW v_final"
raw "$X" "CREATE VIEW v_final AS SELECT * FROM v_metric"
check 'a changed view' 2 'view.*v_final.*is not that of schema version 5' "$H" show sql v_final --db "$X"
fresh
raw "$X" "UPDATE model SET variant = 'a' || char(27) || '[2Jb' WHERE id = 1"
raw "$X" "UPDATE model SET error = 'c' || char(27) || ']0;d' || char(7) WHERE id = 1"
for command in "show runs" "show run 1" "show sql v_run"; do
  # shellcheck disable=SC2086
  "$H" $command --db "$X" >"$dir/out" 2>&1
  if LC_ALL=C grep -q $'[\x01-\x08\x0b-\x1f]' "$dir/out"; then echo "not ok control bytes: $command"; bad=1; else echo "ok no control bytes: $command"; fi
done
# names of weights that lead elsewhere
mkdir "$dir/p" "$dir/p/models"
cp "$dir/good.db" "$dir/p/x.db"
echo precious >"$dir/p/precious"
raw "$dir/p/x.db" "UPDATE model SET weights = '../precious' WHERE id = 1"
check 'a name of weights that leads elsewhere' 2 'no name of a file of weights' "$H" models --db "$dir/p/x.db"
check 'is not removed' 2 'no name of a file of weights' "$H" models --db "$dir/p/x.db" --prune
check 'really' 0 precious cat "$dir/p/precious"

# ---------------------------------------------------------------------------------------------------- damaged
fresh
raw "$X" "UPDATE metric SET value = 0.75 WHERE measurement_id IN (SELECT id FROM measurement WHERE measure = 'accuracy')"
check 'a changed accuracy is not drawn' 2 'of its measure accuracy are not those that were stored' "$H" plot --experiment store4 \
  --scale small --db "$X" --out "$dir/plots3"
check 'nor on a page' 2 'of its measure accuracy are not those that were stored' "$H" report --experiment store4 --scale small --db "$X" --out "$dir/r3.html"
check 'there is none' 2 'No such file' ls "$dir/r3.html"
fresh
raw "$X" "UPDATE artifact SET data = zeroblob(length(data))"
check 'zeroed maps' 2 'run [0-9]+: array map\.[a-z0-9.]+ is not what was stored' "$H" doctor --db "$X"
check 'and how many' 2 'and 17 more are damaged' "$H" doctor --db "$X"
check 'run says so, too' 2 'is not what was stored' "$H" run tests/data/stores/schema4.yaml --db "$X"
check 'the figures can be read' 0 'accuracy' "$H" show run 1 --db "$X"
if command -v gnuplot >/dev/null; then
  check 'plot draws the others' 2 'figure maps is left out: .*is not what was stored' "$H" plot --experiment store4 --scale small --db "$X" --out "$dir/plots" --formats svg
  check 'which are there' 0 'training-loss|loss' ls "$dir/plots"
  check 'report, too' 2 'figure maps is left out: .*is not what was stored' "$H" report --experiment store4 --scale small --db "$X" --out "$dir/page/r.html"
  check 'its page is there' 0 '</html>' cat "$dir/page/r.html"
  fresh
  raw "$X" "UPDATE curve SET loss = 0"
  check 'a changed curve' 2 'curve of its measure training are not those' "$H" plot --experiment store4 --scale small --db "$X" --out "$dir/plots2" --formats svg
  check 'the maps are there' 0 'maps' ls "$dir/plots2"
else
  echo 'skip figures of a damaged database (gnuplot is not installed)'
fi

# ---------------------------------------------------------------------------------------------------- no results
check 'NaN: run' 1 'is -?nan' "$H" run "$dir/e.yaml" --db "$dir/nan.db" --threads 1 --set train.lr=1e12 --set train.clip=0 --set train.warmup=0 \
  --set train.schedule=constant
check 'NaN: stored as failed' 0 '^failed$' sql "$dir/nan.db" "SELECT DISTINCT status FROM model"
check 'NaN: no figure of it is a result' 0 '^0$' sql "$dir/nan.db" "SELECT count(*) FROM v_metric"
# shellcheck disable=SC2086
"$H" train $V $T --train steps=1 --train lr=1e12 --train clip=0 --train warmup=0 --train schedule=constant --out "$dir/nan.safetensors" --db "$dir/nan2.db" >"$dir/out" 2>&1
rc=$?
if [ $rc = 1 ]; then echo 'ok NaN: train --db'; else echo "not ok NaN: train --db ($rc)"; bad=1; fi
done_of() { if [ -f "$1" ]; then sql "$1" "SELECT count(*) FROM v_metric WHERE metric IN ('accuracy','loss')"; else echo 0; fi; }
check 'NaN: train stores no figure' 0 '^0$' done_of "$dir/nan2.db"
# shellcheck disable=SC2086
"$H" train $V $T --train steps=1 --out "$dir/sound.safetensors" >"$dir/out" 2>&1
python3 - "$dir/sound.safetensors" "$dir/nan.safetensors" <<'PY' 2>>"$dir/out" && have=1 || have=0
import json, struct, sys
d = bytearray(open(sys.argv[1], "rb").read())
n = struct.unpack("<Q", d[:8])[0]
h = json.loads(d[8:8 + n])
at = 8 + n + h["embed"]["data_offsets"][0]
d[at:at + 4 * 16 * 32] = struct.pack("<f", float("nan")) * (16 * 32)
open(sys.argv[2], "wb").write(d)
PY
if [ $have = 1 ]; then
  # shellcheck disable=SC2086
  check 'NaN: eval --db' 1 'nan' "$H" eval "$dir/nan.safetensors" $T --db "$dir/nan3.db"
  check 'NaN: eval stores no figure' 0 '^0$' done_of "$dir/nan3.db"
else
  echo "skip NaN: eval --db (python3 is not installed)"
fi

# no memory: open, and taken by the next run. Not under a sanitizer, which reserves terabytes.
LIMIT=$((400000 + $(stat -Lc %s "$H") / 1024))
BIG="$dir/e.yaml --db $dir/m.db --threads 1 --set measures.throughput.contexts=[2000000] --set measures.throughput.repetitions=1 --set measures.throughput.train=true"
if (ulimit -v $LIMIT; "$H" run "$dir/e.yaml" --db "$dir/m0.db" --threads 1) >"$dir/out" 2>&1; then
  # shellcheck disable=SC2086
  (ulimit -v $LIMIT; "$H" run $BIG) >"$dir/out" 2>&1
  rc=$?
  if [ $rc = 1 ] && grep -q 'no memory on this machine, so the next run tries again' "$dir/out"; then echo 'ok no memory is said'; else
    echo "not ok no memory is said ($rc)"; tail -5 "$dir/out"; bad=1; fi
  check 'no memory: open, not failed' 0 '^throughput,interrupted$' sql "$dir/m.db" "SELECT measure, status FROM measurement WHERE status <> 'done'"
  check 'no memory: the plan has it as missing' 0 '^missing$' sql "$dir/m.db" "SELECT status FROM v_plan"
  # shellcheck disable=SC2086
  (ulimit -v $LIMIT; "$H" run $BIG) >"$dir/out" 2>&1
  check 'no memory: the next run tries again' 0 '^1$' sql "$dir/m.db" "SELECT resumes FROM measurement WHERE measure = 'throughput'"
else
  echo 'skip no memory: hylab does not run within the limit'
fi
exit $bad
