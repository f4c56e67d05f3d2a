#!/usr/bin/env bash
# Results databases of earlier versions in use (tests/data/stores): refused with advice by what only reads, migrated with a copy by
# `hylab doctor --migrate` and by `hylab run`, which then finds their results: nothing is trained again. And the rules of `show sql`.
set -u
cd "$(dirname "$0")/../.." || exit 1
HYLAB=${HYLAB:-$PWD/build/release/hylab}
DATA=tests/data/stores
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
ok() { echo "ok $1"; }
no() { echo "not ok $1: $2"; failed=1; }
check() { # name, condition as a command with its arguments
  local name=$1
  shift
  if "$@"; then ok "$name"; else no "$name" "$*"; sed 's/^/    /' "$dir/out" | tail -n 20; fi
}
same() { [ "$1" = "$2" ] || { echo "    got: $1"; echo "    wanted: $2"; return 1; }; }
sql() { "$HYLAB" show sql "$2" --db "$1" --format csv 2>>"$dir/out" | tail -n +2 | tr -d '\r'; }

# The dump of a database without keys, without rows of failed runs and what took their place, without plans and results of measures that
# failed, and without what an experiment did not say yet in version 1.
plain() {
  awk -F'\t' -v OFS='\t' '/^#/ || /^experiment\./ || /measures\.maps\.cell=7/ || /contexts=\[4000000\]/ { next }
    $1 == "v_run" { $3 = "" } $1 == "attempt" { $3 = $4 = "" } $1 == "v_plan" { $13 = "" } { print }' "$1" |
    grep -v "$(printf '\tfailed$')"
}

for v in 1 2 3 4; do
  db=$dir/$v.db
  cp "$DATA/schema$v.sqlite" "$db"
  "$HYLAB" show runs --db "$db" >"$dir/out" 2>&1
  check "version $v: reading is refused with advice" same "$? $(grep -c "hylab doctor --db $db --migrate" "$dir/out")" "2 1"
  check "version $v: and changes nothing" cmp "$db" "$DATA/schema$v.sqlite"
  "$HYLAB" doctor --db "$db" --migrate >"$dir/out" 2>&1
  check "version $v: migrated" same "$? $(sql "$db" "PRAGMA user_version")" "0 5"
  cp "$db.bak-v$v" "$dir/copy.db"
  if python3 -c 'import sqlite3' 2>>"$dir/out"; then
    python3 "$DATA/dump.py" "$db" >"$dir/dump" 2>>"$dir/out"
    check "version $v: the views show the same rows" diff <(plain "$DATA/schema$v.expected.tsv") <(plain "$dir/dump")
    python3 "$DATA/dump.py" "$dir/copy.db" >"$dir/dump" 2>>"$dir/out"
    check "version $v: the copy is as it was" cmp "$dir/dump" "$DATA/schema$v.expected.tsv"
  else
    echo "skip version $v: dumps of the views (python3 is not installed; test_migrate compares them too)"
  fi
  models=$(sql "$db" "SELECT count(*) FROM model")
  "$HYLAB" run "$DATA/schema$v.yaml" --threads 1 --db "$db" >"$dir/out" 2>&1
  check "version $v: hylab run finds its results" same "$? $(sql "$db" "SELECT count(*) FROM model")" "0 $models"
  check "version $v: and has all that was planned" same "$(sql "$db" "SELECT DISTINCT status FROM v_plan WHERE sets = '' AND scale IN ('','small')")" done
  [ $v = 4 ] && continue
  check "version $v: weights were not kept" same "$(sql "$db" "SELECT count(weights) FROM v_run")" 0
done

# A measure that needs weights trains again what has none. The figures of an old build stay where that gives its bits again.
one=(--threads 1 --only 'Mamba-2/recall/lr=3e-3/seed2')
"$HYLAB" run "$DATA/schema3.yaml" "${one[@]}" --db "$dir/3.db" --set measures.erf.examples=3 >"$dir/out" 2>&1
check "a measure that needs weights trains an old model again" same "$? $(sql "$dir/3.db" "SELECT count(*) FROM v_run WHERE weights IS NOT NULL")" "0 1"
figures() { sql "$dir/again.db" "SELECT measurement_id, metric, cell, value FROM v_final WHERE metric IN ('loss','erf') AND options NOT LIKE 'examples: 3%' ORDER BY 2, 3"; }
"$HYLAB" run "$DATA/schema3.yaml" "${one[@]}" --db "$dir/again.db" >"$dir/out" 2>&1
before=$(figures)
"$HYLAB" models --prune --db "$dir/again.db" >"$dir/out" 2>&1
check "weights are pruned" same "$? $(find "$dir" -name '*.safetensors' -path '*Mamba-2*' -newer "$dir/again.db" | wc -l)" "0 0"
"$HYLAB" run "$DATA/schema3.yaml" "${one[@]}" --db "$dir/again.db" --set measures.erf.examples=3 >"$dir/out" 2>&1
check "trained again by the same build" same "$? $(sql "$dir/again.db" "SELECT count(*), sum(weights IS NOT NULL) FROM v_run")" "0 1,1"
check "and its measurements stay: it is the same bit by bit" same "$(figures)" "$before"

# ---- show sql
"$HYLAB" show sql "SELECT 1; SELECT 2" --db "$dir/3.db" >"$dir/out" 2>&1
check "show sql: a second statement is an error" same "$? $(grep -c 'one SQL statement at a time; a second one begins at: SELECT 2' "$dir/out")" "2 1"
"$HYLAB" show sql "SELECT 1;" --db "$dir/3.db" >"$dir/out" 2>&1
check "show sql: a semicolon at the end is none" same "$?" 0
"$HYLAB" show sql "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c" --db "$dir/3.db" >"$dir/out" 2>&1 &
pid=$!
sleep 0.5
kill -TERM "$pid"
for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null && sleep 0.1; done
kill -KILL "$pid" 2>/dev/null
wait "$pid"
check "show sql: a query without end ends at SIGTERM" same "$?" 130
exit $failed
