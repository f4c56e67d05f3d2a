#!/usr/bin/env bash
# `hylab merge`: shards that were run apart make the database that one run makes, with its weights; what is damaged, named twice or the
# destination itself is told and harms nothing; a merge that is tried changes nothing.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/runner_helpers.sh
merge() {
  "$HYLAB" merge "$@" >"$dir/out" 2>&1
  local rc=$?
  ! grep -q "Sanitizer\|runtime error" "$dir/out" || no "sanitizer" "$(grep -m1 -A12 "Sanitizer\|runtime error" "$dir/out")"
  return $rc
}
has() { grep -qE -- "$1" "$dir/out"; }
content() { # what does not depend on when and where it was run
  facts "$1"
  sql "$1" "SELECT experiment, scale, ord, variant, task, seed, run_key, status FROM v_plan ORDER BY 1, 2, 3"
  sql "$1" "SELECT variant, seed, measure, key, status FROM v_measurement ORDER BY 1, 2, 3, 4"
  sql "$1" "SELECT variant, seed, path, value FROM v_param ORDER BY 1, 2, 3"
  sql "$1" "SELECT variant, seed, weights, weights_hash FROM v_model WHERE superseded_by IS NULL ORDER BY 1, 2"
}
mkdir -p "$dir/a" "$dir/b"
ALL=$dir/all.db A=$dir/a/s.db B=$dir/b/s.db D=$dir/d/dest.db
run "$ALL"
run "$A" --only Llama
run "$B" --only Mamba

merge "$D" "$A" "$B" --dry-run
check "a merge that is tried says what would come" same "$? $(grep -cE "[ab]/s.db +merged +2 +0 +8 +[01] +2 " "$dir/out")" "0 2"
check "and makes nothing" same "$(ls "$dir/d" 2>/dev/null)" ""
merge "$D" "$A" "$B"
check "two shards are merged" same "$? $(grep -cE "[ab]/s.db +merged +2 +0 +8 +[01] +2 " "$dir/out")" "0 2"
content "$ALL" >"$dir/wanted"
check "what is in them is what one run makes" diff "$dir/wanted" <(content "$D")
"$HYLAB" doctor --db "$D" >"$dir/out" 2>&1
check "doctor finds it sound" same "$?" 0
"$HYLAB" models --check --db "$D" --format csv >"$dir/out" 2>&1
check "all weights are there and what they were" same "$? $(grep -c 'stored,.*safetensors' "$dir/out")" "0 4"
merge "$D" "$B" "$A"
check "once more: nothing comes" same "$? $(grep -cE "[ab]/s.db +merged +0 +2 +0 +0 +0 " "$dir/out")" "0 2"
merge "$dir/other/dest.db" "$B" "$A" --no-weights
check "another order, without weights" same "$? $(ls "$dir/other")" "0 dest.db"
check "has the same figures" diff <(facts "$D") <(facts "$dir/other/dest.db")
models=$(sql "$D" "SELECT count(*) FROM model")
run "$D"
check "hylab run finds everything" same "$? $(sql "$D" "SELECT count(*) FROM model")" "0 $models"
run "$D" --set measures.erf.examples=2
check "and measures without training" same "$? $(sql "$D" "SELECT count(*) FROM model")" "0 $models"
rm "$A"-* 2>/dev/null
"$HYLAB" models --check --db "$A" --format csv >"$dir/out" 2>&1
check "the shard's weights stay" same "$? $(grep -c 'stored,.*safetensors' "$dir/out")" "0 2"

# ---- names
merge "$D" "$D" "$A" "$dir/a/../a/s.db"
check "the destination as a shard, and one named twice, are told" same "$? $(grep -c 'is the destination itself' "$dir/out") $(grep -c 'named twice' "$dir/out")" "0 1 1"
bad "a shard that is not there: before any work" "no such database; nothing was merged" "$HYLAB" merge "$dir/none/d.db" "$A" "$dir/missing.db"
check "nothing is made" same "$(ls "$dir/none" 2>/dev/null)" ""
bad "a destination that is a folder" "is a folder" "$HYLAB" merge "$dir/a" "$A"
echo "not a database" >"$dir/text.db"
bad "a destination that is no database" "is not an SQLite database" "$HYLAB" merge "$dir/text.db" "$A"

# ---- trouble
cp "$B" "$dir/b/damaged.db"
printf 'garbage garbage garbage' | dd of="$dir/b/damaged.db" bs=1 seek=$(($(stat -c %s "$B") / 2)) conv=notrunc 2>/dev/null
head -c 5000 "$B" >"$dir/b/short.db"
merge "$dir/part.db" "$dir/b/damaged.db" "$A" "$dir/text.db" "$dir/b/short.db"
check "damaged shards are named, with exit 1" same "$? $(grep -cE '(damaged|text|short)\.db +damaged' "$dir/out")" "1 3"
check "and the others are merged" same "$(sql "$dir/part.db" "SELECT count(*) FROM v_run WHERE status = 'done'")" 2
check "no copy is left" same "$(ls "$dir" | grep -c shard-)" 0
mkdir "$dir/w" && cp "$B" "$dir/w/s.db" && cp -r "$dir/b/models" "$dir/w/models"
for f in "$dir"/w/models/*1-cpu*; do printf 'x' | dd of="$f" bs=1 seek=2000 conv=notrunc 2>/dev/null; done
merge "$dir/v/dest.db" "$dir/w/s.db"
check "damaged weights are not brought" same "$? $(grep -c '1 file of weights damaged' "$dir/out") $(ls "$dir/v/models" | wc -l)" "0 1 1"
check "and not promised" same "$(sql "$dir/v/dest.db" "SELECT count(weights) FROM v_run")" 1
cp tests/data/stores/schema3.sqlite "$dir/old.db"
merge "$dir/o/dest.db" "$dir/old.db"
check "a shard of an older version" same "$? $(cmp "$dir/old.db" tests/data/stores/schema3.sqlite && echo unchanged) $(ls "$dir/o" | tr "\n" " ")" "0 unchanged dest.db models "

# ---- a shard that is worked on, and one that is not done
start "$dir/live.db" --set train.steps=3000
wait_for "$dir/live.db"
merge "$dir/l/dest.db" "$dir/live.db"
check "a shard that is worked on: what is open is no result" same "$? $(grep -c 'open: .* running or interrupted' "$dir/out")" "0 1"
kill -TERM "$pid"
wait "$pid"
merge "$dir/l/dest.db" "$dir/live.db"
check "nor is what was interrupted" same "$? $(sql "$dir/l/dest.db" "SELECT count(*) FROM model WHERE status <> 'done'")" "0 0"

# ---- the same model twice with other bits
mkdir "$dir/x" && cp "$A" "$dir/x/s.db"
if command -v sqlite3 >/dev/null; then
  sqlite3 "$dir/x/s.db" "UPDATE model SET weights_hash = 'other', host = 'elsewhere', ended = '2020-01-01T00:00:00Z' WHERE seed = 1"
  merge "$dir/y.db" "$dir/x/s.db" "$A" --no-weights
  check "unequal bits are told with both makers" same "$? $(grep -c '^model.*Llama.*on elsewhere' "$dir/out")" "0 1"
  check "both are kept" same "$(sql "$dir/y.db" "SELECT count(*), sum(superseded_by IS NULL) FROM model")" "3,2"
  merge "$dir/y.db" "$A" --format json
  check "as JSON, too" has '"current"'
else
  echo "skip unequal bits (sqlite3 is not installed)"
fi
exit $failed
