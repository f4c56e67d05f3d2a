#!/usr/bin/env bash
# The n-th write, or the n-th allocation, fails (tests/shim/nth.c): a training and a run of an experiment end without a crash and say
# why, what was there before is whole, and the same command without the trouble ends with what it would have given at once.
# NTH_ALL=1 tries every write and 400 allocations instead of a few of them.
set -u
cd "$(dirname "$0")/../.." || exit 1
H=$(realpath "${HYLAB:-build/release/hylab}")
shim=$PWD/tests/shim/nth.c
. tests/check.sh
tiny=$PWD/tests/tiny.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
if grep -q __asan_init "$H" || ! ${CC:-gcc} -shared -fPIC -o nth.so "$shim" -ldl 2>/dev/null; then
  echo "skip nth: sanitizers have an allocator of their own, or there is no compiler"
  exit 0
fi
# shellcheck source=tests/tiny.sh
. "$tiny"
cat >e.yaml <<'END'
name: e
variants: [{name: A, file: m.yaml}]
tasks: [{name: t, kind: mqar, options: {vocab: 40, train: [[16, 2]], test: [[16, 2]], test_examples: 8}}]
train: {steps: 4, batch: 2, checkpoint_every: 2}
END
export OMP_NUM_THREADS=1 TMPDIR=$dir/tmp HOME=$dir/home
mkdir tmp home
train() { "$H" train m.yaml $B --train steps=4 --train checkpoint_every=2 --out s.safetensors --curve s.csv >out 2>err; }
nth() { NTH=$1 NTH_COUNT=$dir/count LD_PRELOAD=$dir/nth.so "${@:2}"; }
steps() { # how many there are, how many are tried
  if [ "${NTH_ALL:-}" ]; then seq 1 $(($1 > 400 ? $1 / 400 : 1)) "$1"; else awk -v n="$1" -v k="$2" 'BEGIN {for (i = 0; i < k; i++) print 1 + int(i * (n - 1) / (k - 1))}'; fi
}

# ---- an export: each of its files is written once
export_to() { "$H" export m.yaml --init 1 --family llama --out "$1" >out 2>err; }
export_to want.folder || { echo "not ok export: $(head -1 err)"; exit 1; }
nth write:0 export_to counted
read -r memory writes <count
wrong=
for n in $(seq 1 "$writes"); do
  rm -rf got
  nth write:$n export_to got; rc=$?
  whole=1; diff -r got want.folder >o 2>&1 || whole=0
  if [ $rc -gt 2 ]; then wrong="$wrong $n:crash-$rc"
  elif [ $rc = 0 ] && [ $whole = 0 ]; then wrong="$wrong $n:other"
  elif [ $rc != 0 ] && ! grep -q '^hylab export: ' err; then wrong="$wrong $n:silent"
  elif [ $rc != 0 ] && [ -e got/config.json ] && [ $whole = 0 ]; then wrong="$wrong $n:looks-whole"; fi
  [ -z "$(find . -name '*.tmp.*')" ] || { wrong="$wrong $n:left"; find . -name '*.tmp.*' -delete; }
done
if [ -z "$wrong" ]; then echo "ok a write of an export fails, whichever of $writes"; else echo "not ok a write of an export fails:$wrong"; bad=1; fi

# ---- one training
"$H" train m.yaml $B --train steps=3 --out old.safetensors >out 2>err
train && cp s.safetensors new.safetensors
nth write:0 train
read -r memory writes <count
wrong=
each=2; [ -z "${NTH_ALL:-}" ] || each=1
for n in $(seq 1 $each "$writes"); do # of a commit's calls in a row at least each second one
  rm -f tmp/* rescued-*
  cp old.safetensors s.safetensors
  nth write:$n train; rc=$?
  found=s.safetensors where=$(sed -n 's/.* is in \(.*\) instead.*/\1/p' err)
  [ -n "$where" ] && found=$where
  if [ $rc -gt 2 ]; then wrong="$wrong $n:crash-$rc"
  elif [ $rc != 0 ] && ! grep -q '^hylab train: ' err; then wrong="$wrong $n:silent"
  elif cmp -s "$found" new.safetensors; then :
  elif ! cmp -s s.safetensors old.safetensors; then wrong="$wrong $n:lost"
  elif [ $rc = 0 ] || grep -q '^T16' out; then wrong="$wrong $n:trained-and-gone-$rc"; fi
  [ -z "$(find . -name '*.tmp.*')" ] || { wrong="$wrong $n:left"; find . -name '*.tmp.*' -delete; }
done
if [ -z "$wrong" ]; then echo "ok a write of a training fails, whichever of $writes"; else echo "not ok a write of a training fails:$wrong"; bad=1; fi
wrong=
for n in $(steps "$memory" 25); do
  cp old.safetensors s.safetensors
  nth memory:$n train; rc=$?
  if [ $rc -gt 2 ]; then wrong="$wrong $n:crash-$rc"
  elif [ $rc != 0 ] && [ ! -s err ]; then wrong="$wrong $n:silent"
  elif [ $rc = 0 ] && ! cmp -s s.safetensors new.safetensors; then wrong="$wrong $n:other"
  elif ! cmp -s s.safetensors new.safetensors && ! cmp -s s.safetensors old.safetensors &&
    ! "$H" train m.yaml $B --train steps=4 --resume s.safetensors --out x.safetensors >o 2>e; then wrong="$wrong $n:damaged"; fi
done
if [ -z "$wrong" ]; then echo "ok an allocation of a training fails, whichever of $memory"; else echo "not ok an allocation of a training fails:$wrong"; bad=1; fi

# ---- a run of an experiment: each of its processes has such an accident; then it goes on without
facts() { "$H" show sql "SELECT variant, seed, metric, cell, step, final, value, n FROM v_metric WHERE metric NOT IN ('train_seconds','train_rate') ORDER BY 1, 2, 3, 4, 5, 6" --db "$1" --format csv; }
run() { "$H" run e.yaml --db "$1" --threads 1 >out 2>err; }
run want.db
facts want.db >want
for what in write memory; do
  wrong=
  for n in $([ "${NTH_ALL:-}" ] && seq 1 9 400 || echo 1 4 9 20 41 83 130 260 390 520); do
    [ $what = memory ] && n=$((n * 97))
    rm -rf x.db* models
    nth $what:$n run x.db; rc=$?
    if [ $rc -gt 2 ]; then wrong="$wrong $n:crash-$rc"
    elif [ $rc != 0 ] && [ ! -s err ]; then wrong="$wrong $n:silent"; fi
    grep -qE 'SIG(SEGV|ABRT|BUS)' err && wrong="$wrong $n:worker-crash"
    "$H" run e.yaml --db x.db --threads 1 --retry-failed >out 2>err || wrong="$wrong $n:not-mended-$?"
    facts x.db | cmp -s - want || wrong="$wrong $n:other-figures"
  done
  if [ -z "$wrong" ]; then echo "ok a $what of a run fails"; else echo "not ok a $what of a run fails:$wrong"; bad=1; fi
done
exit $bad
