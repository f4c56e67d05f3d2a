#!/usr/bin/env bash
# gpu_sanitizer.sh - NVIDIA's compute-sanitizer over the tests of kernels on a GPU, at their small shapes. Part of `make test-gpu`.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build/release}
tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
bad=0
for t in "$BUILD"/tests/gpu_*; do
  case "$t" in *.d) continue ;; esac
  for check in memcheck racecheck initcheck synccheck; do
    name="$check $(basename "$t")"
    if [ -z "$tool" ]; then echo "skip $name (compute-sanitizer is not installed)"; continue; fi
    if KT_SMALL=1 timeout 900 "$tool" --tool "$check" --error-exitcode 9 "$t" >"$log" 2>&1; then echo "ok $name"; else
      echo "not ok $name"
      grep -E '^=========|FAILED' "$log" | head -20
      bad=1
    fi
  done
done
exit $bad
