#!/usr/bin/env bash
# gpu_sanitizer.sh [TEXT...] - NVIDIA's compute-sanitizer over the tests of kernels on a GPU, at their small shapes: all of them, or those
# whose "TOOL TEST" has one of the texts in it. Part of `make test-gpu`. SANITIZER_JOBS programs run at a time (4), each for at most
# SANITIZER_SECONDS (500). initcheck is left out: the backend clears what it allocates, and tests fill workspaces with NaN instead.
set -u
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build/release}
tool=$(command -v compute-sanitizer || ls "${CUDA:-/usr/local/cuda}"/bin/compute-sanitizer 2>/dev/null)
export tool

one() { # TOOL TEST: one line, and what was found
  local log rc bad
  if [ -z "$tool" ]; then echo "skip $1 $2 (compute-sanitizer is not installed)"; return; fi
  log=$(mktemp)
  # tests of failures make calls of the API fail, and look at what comes of it themselves
  KT_SMALL=1 timeout "${SANITIZER_SECONDS:-500}" "$tool" --tool "$1" --report-api-errors no --error-exitcode 99 "$BUILD/tests/$2" >"$log" 2>&1
  rc=$?
  bad=0
  if [ $rc = 0 ]; then echo "ok $1 $2"; else
    bad=1
    echo "not ok $1 $2 ($([ $rc = 124 ] && echo "not done in ${SANITIZER_SECONDS:-500} s" || echo "exit $rc"))
$(grep -E '^=========|FAILED|ERROR' "$log" | head -20)"
  fi
  rm -f "$log"
  return $bad
}
export -f one

for t in "$BUILD"/tests/gpu_*; do
  case "$t" in *.d) continue ;; esac
  for check in memcheck racecheck synccheck; do
    name="$check $(basename "$t")" hit=$(($# == 0))
    for want in "$@"; do case "$name" in *"$want"*) hit=1 ;; esac; done
    [ $hit = 0 ] || echo "$name"
  done
done | xargs -P "${SANITIZER_JOBS:-4}" -L 1 bash -c 'one "$@"' one
