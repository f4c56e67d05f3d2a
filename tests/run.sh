#!/usr/bin/env bash
# Runs every test binary ($BUILD/tests/test_*; emu_*: the same tests of kernels over the emulated GPU) and every test script
# (tests/cli/test_*.sh), or those named as arguments (part of the name; after "=" the whole of it), and ends with one line:
# "N passed, N failed, N skipped".
# Exit status 1 if anything failed. A script reports its cases with lines "ok NAME", "not ok NAME" or "skip NAME"; a binary is
# a cmocka one. With GPU=1 (make test-gpu) the tests are those on a real GPU: $BUILD/tests/gpu_* and tests/cli/gpu_*.sh. Without one
# that is one case skipped, or failed with REQUIRE_GPU=1.
# FIRST=1 stops each test at its first case that fails.
# JOBS=N runs N of them side by side (default: one for each core, at most 8; one on a GPU). Lines come in the order in which tests end.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build/release}
# threads of many small regions must not spin while others wait for the core
export OMP_WAIT_POLICY=passive
# no test uses a GPU by accident: those that want the emulated one say so
export HYLAB_DEVICE=cpu
export BUILD HYLAB=${HYLAB:-$PWD/$BUILD/hylab} HYLAB_EMU=${HYLAB_EMU:-$PWD/$BUILD/hylab-emu}
tests=("$BUILD"/tests/test_* "$BUILD"/tests/emu_* tests/cli/test_*.sh)
jobs=${JOBS:-$(nproc)}
if [ "${GPU:-}" = 1 ]; then
  jobs=1
  tests=("$BUILD"/tests/gpu_* tests/cli/gpu_*.sh)
  if ! gpu=$("$HYLAB" doctor | grep '^CUDA') || ! grep -qE '^CUDA +ok' <<<"$gpu"; then
    echo "SKIP: ${gpu:-this build knows no CUDA}"
    if [ "${REQUIRE_GPU:-}" = 1 ]; then echo "0 passed, 1 failed, 0 skipped"; exit 1; fi
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
  fi
fi
case $jobs in '' | *[!0-9]*) jobs=1 ;; esac
[ "$jobs" -gt 8 ] && jobs=8
# Side by side, each test has one core; tests of thread counts ask for theirs themselves.
if [ "$jobs" -gt 1 ]; then export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}; fi

# The tests asked for, those that took longest in the last run of this build first, so that none of them is left over at the end.
times=$BUILD/tests/seconds
chosen=()
for t in "${tests[@]}"; do
  case "$t" in *.d) continue ;; esac
  [ -f "$t" ] || continue
  name=$(basename "$t")
  if [ $# -gt 0 ]; then
    hit=0
    for want in "$@"; do
      case "$want" in
        "=$name") hit=1 ;;
        =*) ;;
        *) case "$name" in *"$want"*) hit=1 ;; esac ;;
      esac
    done
    [ $hit = 1 ] || continue
  fi
  [ -f "tests/unit/test_${name#*_}.c" ] || [ -f "tests/unit/$name.cc" ] || [ -f "tests/cli/$name" ] || continue # a binary whose source is gone
  chosen+=("$t")
done
slow=" emu_attn_cache emu_variants emu_kernels test_variants emu_on_device emu_attention test_runner.sh emu_scan emu_ssd test_train_once.sh "
ordered=()
while read -r _ t; do [ -n "$t" ] && ordered+=("$t"); done < <(
  for t in ${chosen[@]+"${chosen[@]}"}; do
    name=$(basename "$t")
    s=$(awk -v n="$name" '$1 == n {print $2}' "$times" 2>/dev/null)
    if [ -z "$s" ]; then case "$slow" in *" $name "*) s=100 ;; *) s=5 ;; esac; fi
    echo "$s $t"
  done | sort -k1,1nr -k2,2)

tmp=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$tmp"' EXIT
passed=0 failed=0 skipped=0

run_one() { # test: its output to $tmp/NAME.log, "rc seconds" to $tmp/NAME.rc
  local name start rc pid
  name=$(basename "$1") start=$(date +%s)
  if [ -z "${FIRST:-}" ]; then
    "$1" >"$tmp/$name.log" 2>&1 </dev/null
    rc=$?
  else
    timeout -k 5 1d "$1" >"$tmp/$name.log" 2>&1 </dev/null & # ends whatever the test has started, too
    pid=$!
    trap 'kill $pid' TERM
    # cmocka says ERROR as soon as an assertion does not hold, FAILED when its output is flushed
    while kill -0 $pid 2>/dev/null && ! grep -qaE '^not ok |^\[  (ERROR |FAILED)  \]' "$tmp/$name.log"; do sleep 0.1; done
    kill $pid 2>/dev/null
    wait $pid
    rc=$?
  fi
  echo "$rc $(($(date +%s) - start))" >"$tmp/$name.tmp"
  mv "$tmp/$name.tmp" "$tmp/$name.rc"
}

tell() { # name: counts and prints what a test that has ended said
  local name=$1 log=$tmp/$1.log rc s took p f
  read -r rc took <"$tmp/$name.rc"
  p=$(grep -cE '^\[       OK \]|^ok ' "$log")
  f=$(grep -cE '^\[  FAILED  \] [^0-9]|^not ok ' "$log")
  s=$(grep -cE '^\[  SKIPPED \] [^0-9]|^skip ' "$log")
  # cmocka repeats failed and skipped names in its closing list: count each once
  if grep -q '^\[==========\]' "$log"; then
    f=$(grep -E '^\[  FAILED  \] [^0-9]' "$log" | sort -u | wc -l)
    s=$(grep -E '^\[  SKIPPED \] [^0-9]' "$log" | sort -u | wc -l)
  fi
  if [ "$rc" != 0 ] && [ "$f" = 0 ]; then f=1; fi
  if [ "$rc" = 0 ] && [ $((p + f + s)) = 0 ]; then f=1; echo "no case ran in $name"; fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  printf '%-28s %4d passed, %d failed, %d skipped  (%d s)\n' "$name" "$p" "$f" "$s" "$took"
  echo "$name $took" >>"$tmp/seconds"
  if [ "$f" != 0 ]; then
    grep -E '^not ok |^\[  FAILED  \] [^0-9]' "$log" | sort -u
    tail -n 60 "$log"
  fi
  rm -f "$log" "$tmp/$name.rc"
}

collect() { for r in "$tmp"/*.rc; do [ -f "$r" ] && tell "$(basename "$r" .rc)"; done; }

for t in ${ordered[@]+"${ordered[@]}"}; do
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; collect; done
  collect
  run_one "$t" &
done
while [ "$(jobs -rp | wc -l)" -gt 0 ]; do wait -n; collect; done
collect
if [ $# = 0 ] && [ -f "$tmp/seconds" ]; then cp "$tmp/seconds" "$times" 2>/dev/null; fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ $((passed + skipped)) -gt 0 ]
