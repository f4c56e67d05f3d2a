#!/usr/bin/env bash
# The rules of tests/layering.sh hold here, and each of them goes red when it is broken: in a copy of the tree, one fault at a time.
set -u
cd "$(dirname "$0")/../.." || exit 1
CC=${CC:-gcc}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

out=$(tests/layering.sh 2>&1)
if [ $? = 0 ] && [ "$out" = "layering holds" ]; then echo "ok layering holds"; else echo "not ok layering holds"; echo "$out" | head -20; failed=1; fi

find core kernels results analysis experiments/cli experiments/runner python/capi \
  \( -name '*.c' -o -name '*.cc' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.def' \) -print0 |
  tar -c --null -T - | tar -x -C "$tmp"
mkdir -p "$tmp/experiments/bench"

red() { # name, wanted words of the message, file to add to (or make), text
  local name=$1 want=$2 file=$3 text=$4 was=
  if [ -f "$tmp/$file" ]; then was=1; cp "$tmp/$file" "$tmp/kept"; fi
  mkdir -p "$(dirname "$tmp/$file")"
  printf '%s\n' "$text" >>"$tmp/$file"
  out=$(ROOT=$tmp BUILD=$tmp/build tests/layering.sh 2>&1)
  if [ $? = 1 ] && grep -qF -- "$want" <<<"$out"; then echo "ok red: $name"; else
    echo "not ok red: $name (wanted \"$want\")"; echo "$out" | head -5; failed=1
  fi
  if [ -n "$was" ]; then mv "$tmp/kept" "$tmp/$file"; else rm "$tmp/$file"; fi
}
red 'a higher rank' 'core/base/rng.c (rank 0) includes core/exec/exec.h (rank 4)' core/base/rng.c '#include "core/exec/exec.h"'
red 'the same rank elsewhere' 'includes core/task/task.h of a room beside its own' core/exec/exec.c '#include "core/task/task.h"'
red 'kernels know base only' 'core/format/json.h of a room beside its own' kernels/cpu/gemm.c '#include "core/format/json.h"'
red 'results know base only' 'core/format/json.h of a room beside its own' results/store.c '#include "core/format/json.h"'
red 'the API knows nothing of the program' 'includes experiments/cli/args.h of a room beside its own' python/capi/api.c '#include "experiments/cli/args.h"'
red 'an internal header' 'core/exec/exec_impl.h, which is internal to its folder' core/train/train.c '#include "core/exec/exec_impl.h"'
red 'a folder without a rank' 'core/other/new.c lies in no room' core/other/new.c '#include "core/base/base.h"'
red 'a header without a rank' 'which lies in no room of the table' core/exec/exec.c '#include "somewhere/else.h"'
red 'the umbrella header inside' 'includes the umbrella header' analysis/probe/erf.c '#include "core/hylab.h"'
red 'a circle of headers' 'circle between headers' core/model/program.h '#include "core/model/params.h"'
red 'a system library in two files' '<sqlite3\.h> only in results/store_impl.h' results/schema.c '#include <sqlite3.h>'
red 'CUDA elsewhere' 'CUDA headers only under kernels/cuda' kernels/cpu/gemm.c '#include <cuda_runtime.h>'
red 'gnuplot elsewhere' 'gnuplot is started only in' analysis/report/report.c 'static const char *const program = "gnuplot";'
red 'exit' 'only main ends the process' core/exec/exec.c 'void stop(void) { exit(1); }'
red 'SELECT' 'SELECT only under results/' analysis/report/report.c 'static const char *const q = "SELECT 1";'

# a circle of sources: by what their objects define and use
mkdir -p "$tmp/build/core/base"
for f in a b; do
  [ $f = a ] && other=b || other=a
  echo "void hy_$other(void); void hy_$f(void); void hy_$f(void) { hy_$other(); }" >"$tmp/core/base/circle_$f.c"
  $CC -c -o "$tmp/build/core/base/circle_$f.o" "$tmp/core/base/circle_$f.c" || failed=1
done
out=$(ROOT=$tmp BUILD=$tmp/build tests/layering.sh 2>&1)
if grep -q 'circle between sources: .*circle_[ab]' <<<"$out"; then echo "ok red: a circle of sources"; else echo "not ok red: a circle of sources"; echo "$out" | head -5; failed=1; fi
exit $failed
