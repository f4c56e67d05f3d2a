#!/usr/bin/env bash
# gpu_session.sh - for whoever has a GPU for a short while: every check and measurement that wants one, the most telling first, each
# under its own time limit and with its output in a file. Nothing is built there.
#   make gpu-session                                  # where nvcc is: builds, and packs build/gpu-session.tar.xz
#   tar xf gpu-session.tar.xz && gpu-session/tests/gpu_session.sh OUT         # where the GPU is: all steps, 15 minutes at most
#   gpu-session/tests/gpu_session.sh OUT --seconds 400 kernels sanitizer      # some steps
# OUT gets STEP.txt and files of the steps, and summary.txt: step, status, seconds, what its output ends with. Status 1: a step failed.
# In the tree itself the programs of $BUILD serve. PREFIX=emu_position HYLAB=hylab-emu BENCH=bench_gpu-emu TINY=1: the emulated GPU, to
# try it.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
steps=() # name, seconds at most, what it does; in this order
step() { steps+=("$1"); limit[$1]=$2; what[$1]=$3; }
declare -A limit what
step doctor 30 "what GPU, driver and libraries there are"
step kernels 180 "tests of the kernels and of whole models on them against the CPU's, with sentinels around what they write"
step goldens 60 "checkpoints of other programs in f32, tf32 and bf16, commands beside --device cpu"
step sanitizer 240 "compute-sanitizer's memcheck and racecheck over the tests of kernels at small shapes"
step bench-kernels 150 "kernels against ceilings of the same GPU, bf16"
step bench-models 150 "whole models: training, prefill, decoding, bf16"
step throughput 180 "the paper's throughput column (experiments/throughput, scale paper, bf16)"
step sweep 180 "a small sweep of experiments/roadmap on the GPU and on the CPU: the same accuracy within its spread"

die() { echo "gpu_session: $*" >&2; exit 2; }
usage() {
  sed -n '2,/^set -u/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'
  echo "steps:"
  for s in "${steps[@]}"; do printf '  %-14s %4d s  %s\n' "$s" "${limit[$s]}" "${what[$s]}"; done
}

# ---- packing: programs without their debugging symbols, the libraries that they load, and what the steps read
pack() { # file
  local programs=() f at to
  for f in "$HYLAB" "$BENCH" "$BUILD/tests/$PREFIX"*; do
    case $f in *.d) continue ;; esac
    [ -x "$f" ] || die "$f is not there: make gpu-session builds it"
    programs+=("$f")
  done
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  to=$scratch/gpu-session
  mkdir -p "$to/build/release/tests" "$to/build/release/bench" "$to/lib"
  tar -c variants experiments/roadmap experiments/throughput experiments/bench/*.yaml experiments/bench/*.py experiments/data tests/run.sh \
    tests/check.sh tests/tiny.sh tests/gpu_session.sh tests/golden tests/data tests/cli tests/unit/*.c | tar -x -C "$to" || die "no room in $scratch"
  for f in "${programs[@]}"; do
    case $f in */tests/*) at=tests ;; */bench/*) at=bench ;; *) at=. ;; esac
    strip -o "$to/build/release/$at/$(basename "$f")" "$f" 2>/dev/null || cp "$f" "$to/build/release/$at/"
  done
  for f in "${programs[@]}"; do ldd "$f" | awk '$3 ~ /^\// { print $3 }'; done | sort -u |
    grep -vE '/(libc|libm|ld-linux[^/]*|libpthread|libdl|librt|libcuda)\.so' | xargs -I '{}' cp -L '{}' "$to/lib/"
  mkdir -p "$(dirname "$1")"
  # programs hold the same kernels, 50 MB apart: a window that sees them makes 30 MB of a thousand
  tar -C "$scratch" -I "xz -T1 --lzma2=preset=1,dict=128MiB" -cf "$1.new" gpu-session && mv "$1.new" "$1" || die "$1 cannot be written"
  echo "$1: $(du -m "$1" | cut -f1) MB"
}

# ---- the steps
do_doctor() { "$HYLAB" doctor && { nvidia-smi 2>/dev/null || true; }; }
do_kernels() {
  local names=()
  for t in "$BUILD/tests/$PREFIX"*; do case $t in *.d) ;; *) names+=("=$(basename "$t")") ;; esac; done
  GPU=$([ "$PREFIX" = gpu_ ] && echo 1) REQUIRE_GPU=1 tests/run.sh "${names[@]}"
}
do_goldens() {
  if [ -n "${TINY:-}" ]; then "$HYLAB" verify tests/golden/llama-tiny --device cuda --precision bf16; else HYLAB_EMU=$HYLAB tests/cli/test_cuda.sh; fi
}
do_sanitizer() { SANITIZER_SECONDS=120 tests/cli/gpu_sanitizer.sh memcheck racecheck; }
do_bench() { "$BENCH" --precision bf16 ${TINY:+--tiny --reps 1 --only norm} "$@"; }
do_bench-kernels() { do_bench --kernels; }
do_bench-models() { do_bench --models; }
do_throughput() {
  "$HYLAB" run experiments/throughput/throughput.yaml --scale paper --device cuda --precision bf16 --db "$out/throughput.db" || return 1
  "$HYLAB" plot experiments/throughput/throughput.yaml --scale paper --db "$out/throughput.db" --out "$out/throughput" 2>&1 || true # no gnuplot there
}
do_sweep() {
  local d experiment=(experiments/roadmap/roadmap.yaml --set train.steps=300)
  [ -z "${TINY:-}" ] || experiment=(tests/data/runner-tiny.yaml)
  for d in cuda cpu; do
    "$HYLAB" run "${experiment[@]}" --device $d --db "$out/sweep-$d.db" --set 'measures={}' >"$out/sweep-$d.txt" 2>&1 || { tail -5 "$out/sweep-$d.txt"; return 1; }
  done
  for d in cuda cpu; do
    echo "$d: variant, accuracy (mean over seeds), lowest, highest, seeds"
    "$HYLAB" show sql "SELECT variant, round(avg(value), 4), round(min(value), 4), round(max(value), 4), count(*) FROM v_final
      WHERE metric = 'accuracy' AND cell = '' GROUP BY variant ORDER BY min(run_id)" --db "$out/sweep-$d.db" --format csv | tail -n +2
  done
}

# ---- arguments
seconds=900 out='' chosen=() to_pack=''
while [ $# -gt 0 ]; do
  case $1 in
    --help) usage; exit 0 ;;
    --pack) to_pack=${2:?} && shift ;;
    --seconds) seconds=${2:?} && shift ;;
    -*) die "unknown option $1" ;;
    *) if [ -z "$out" ]; then out=$1; else chosen+=("$1"); fi ;;
  esac
  shift
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "--seconds takes a number"
# names of files count from where it was called
case $out in '' | /*) ;; *) out=$PWD/$out ;; esac
case $to_pack in '' | /*) ;; *) to_pack=$PWD/$to_pack ;; esac
cd "$here" || exit 2
export BUILD=${BUILD:-build/release} PREFIX=${PREFIX:-gpu_}
HYLAB=${HYLAB:-$here/$BUILD/hylab} BENCH=${BENCH:-$here/$BUILD/bench/bench_gpu}
case $HYLAB in */*) ;; *) HYLAB=$here/$BUILD/$HYLAB ;; esac
case $BENCH in */*) ;; *) BENCH=$here/$BUILD/bench/$BENCH ;; esac
export HYLAB HYLAB_DEVICE=cuda
if [ -n "$to_pack" ]; then pack "$to_pack"; exit 0; fi
[ -n "$out" ] || { usage >&2; exit 2; }
for s in "${chosen[@]+"${chosen[@]}"}"; do [ -n "${limit[$s]:-}" ] || die "no step $s; there are ${steps[*]}"; done
[ ${#chosen[@]} -gt 0 ] || chosen=("${steps[@]}")
mkdir -p "$out" || die "$out cannot be made"
out=$(cd "$out" && pwd)
[ ! -d lib ] || export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export out TINY
printf 'step\tstatus\tseconds\tits last line\n' >"$out/summary.txt"
failed=0
for s in "${chosen[@]}"; do
  left=$((seconds - SECONDS))
  if [ $left -lt 5 ]; then
    printf '%s\tleft out\t0\tthe time is over\n' "$s" >>"$out/summary.txt"
    continue
  fi
  began=$SECONDS most=$((limit[$s] < left ? limit[$s] : left))
  echo "== $s ($most s at most): ${what[$s]}"
  # a process group of its own, so that nothing of the step outlives its time
  timeout -k 5 "$most" bash -c "$(declare -f "do_$s" do_bench); BENCH='$BENCH'; do_$s" >"$out/$s.txt" 2>&1
  rc=$?
  case $rc in 0) how=ok ;; 124 | 137) how="stopped after $most s" ;; *) how="failed ($rc)" ;; esac
  [ "$how" = ok ] || failed=1
  printf '%s\t%s\t%d\t%s\n' "$s" "$how" $((SECONDS - began)) "$(grep -v '^ *$' "$out/$s.txt" | tail -1 | cut -c1-100)" >>"$out/summary.txt"
  tail -1 "$out/summary.txt"
done
exit $failed
