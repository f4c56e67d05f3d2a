#!/usr/bin/env bash
# Runs every test binary ($BUILD/tests/test_*; emu_*: the same tests of kernels over the emulated GPU) and every test script
# (tests/cli/test_*.sh), or those named as arguments (part of the name; after "=" the whole of it), and ends with one line:
# "N passed, N failed, N skipped".
# Exit status 1 if anything failed. A script reports its cases with lines "ok NAME", "not ok NAME" or "skip NAME"; a binary is
# a cmocka one. With GPU=1 (make test-gpu) the tests are those on a real GPU: $BUILD/tests/gpu_* and tests/cli/gpu_*.sh. Without one
# that is one case skipped, or failed with REQUIRE_GPU=1.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build/release}
# threads of many small regions must not spin while others wait for the core
export OMP_WAIT_POLICY=passive
# no test uses a GPU by accident: those that want the emulated one say so
export HYLAB_DEVICE=cpu
export BUILD HYLAB=${HYLAB:-$PWD/$BUILD/hylab} HYLAB_EMU=${HYLAB_EMU:-$PWD/$BUILD/hylab-emu}
tests=("$BUILD"/tests/test_* "$BUILD"/tests/emu_* tests/cli/test_*.sh)
if [ "${GPU:-}" = 1 ]; then
  tests=("$BUILD"/tests/gpu_* tests/cli/gpu_*.sh)
  if ! gpu=$("$HYLAB" doctor | grep '^CUDA') || ! grep -qE '^CUDA +ok' <<<"$gpu"; then
    echo "SKIP: ${gpu:-this build knows no CUDA}"
    if [ "${REQUIRE_GPU:-}" = 1 ]; then echo "0 passed, 1 failed, 0 skipped"; exit 1; fi
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
  fi
fi
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
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
  start=$(date +%s)
  "$t" >"$log" 2>&1
  rc=$?
  p=$(grep -cE '^\[       OK \]|^ok ' "$log")
  f=$(grep -cE '^\[  FAILED  \] [^0-9]|^not ok ' "$log")
  s=$(grep -cE '^\[  SKIPPED \] [^0-9]|^skip ' "$log")
  # cmocka repeats failed and skipped names in its closing list: count each once
  if grep -q '^\[==========\]' "$log"; then
    f=$(grep -E '^\[  FAILED  \] [^0-9]' "$log" | sort -u | wc -l)
    s=$(grep -E '^\[  SKIPPED \] [^0-9]' "$log" | sort -u | wc -l)
  fi
  if [ $rc != 0 ] && [ "$f" = 0 ]; then f=1; fi
  if [ $rc = 0 ] && [ $((p + f + s)) = 0 ]; then f=1; echo "no case ran in $name"; fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  printf '%-28s %4d passed, %d failed, %d skipped  (%d s)\n' "$name" "$p" "$f" "$s" $(($(date +%s) - start))
  if [ "$f" != 0 ]; then tail -n 60 "$log"; fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ $((passed + skipped)) -gt 0 ]
