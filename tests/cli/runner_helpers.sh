# runner_helpers.sh - what the scripts that test `hylab run` share. They source it in the root of the project; $dir is theirs.
HYLAB=${HYLAB:-$PWD/build/release/hylab}
EXP=tests/data/runner-tiny.yaml
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
sql() { "$HYLAB" show sql "$2" --db "$1" --format csv 2>>"$dir/out" | tail -n +2 | tr -d '\r'; }
run() {
  "$HYLAB" run "$EXP" --threads 1 --db "$@" >"$dir/out" 2>&1
  local rc=$?
  ! grep -q "Sanitizer\|runtime error" "$dir/out" || no "sanitizer" "$(grep -m1 -A12 "Sanitizer\|runtime error" "$dir/out")"
  return $rc
}
same() { [ "$1" = "$2" ] || { echo "    got: $1"; echo "    wanted: $2"; return 1; }; }
# Everything that must not depend on how a run came about: figures, curves, evaluations during training; no times.
facts() {
  sql "$1" "SELECT variant, seed, metric, cell, step, final, value, stderr, n FROM v_metric WHERE metric NOT IN ('train_seconds','train_rate') ORDER BY 1, 2, 3, 4, 5, 6"
  sql "$1" "SELECT variant, seed, step, loss, lr, grad_norm FROM v_curve ORDER BY 1, 2, 3"
}
once() { # each model, and each measurement of it, is stored exactly once
  same "$(sql "$1" "SELECT count(*), count(DISTINCT model_key || seed), sum(status = 'done') FROM model")" "$2,$2,$2" &&
    same "$(sql "$1" "SELECT count(*) - count(DISTINCT model_id || measure || version || key), count(*) - sum(status = 'done') FROM measurement")" "0,0"
}
start() { # database, options: in the background, pid in $pid
  "$HYLAB" run "$EXP" --threads 1 --db "$@" >"$dir/out" 2>&1 &
  pid=$!
}
wait_for() { # database: until a run has logged steps
  for _ in $(seq 1000); do
    grep -qs '^p' "$1".work/*.log && return 0
    sleep 0.01
  done
  return 1
}
child_of() { cat "/proc/$1/task/$1/children" 2>/dev/null | awk '{print $1}'; }
bad() { # name, text that the message must hold, command
  local name=$1 text=$2
  shift 2
  "$@" >"$dir/out" 2>&1
  local rc=$?
  if [ $rc = 2 ] && grep -qF -- "$text" "$dir/out"; then ok "$name"; else no "$name" "status $rc"; sed 's/^/    /' "$dir/out"; fi
}
