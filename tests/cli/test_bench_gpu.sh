#!/usr/bin/env bash
# The GPU benchmark, over the emulated GPU at sizes that say nothing about speed: every part of it runs, parity first.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build/release}
failed=0
check() { # name, wanted text, command
  local name=$1 want=$2
  shift 2
  if out=$("$@" 2>&1) && grep -q "$want" <<<"$out"; then echo "ok $name"; else echo "not ok $name: $*"; tail -n 5 <<<"$out"; failed=1; fi
}
check "kernels" '^norm_bwd,2x150 C200,cuda (bf16),0.00' "$BUILD/bench/bench_gpu-emu" --tiny --kernels --only norm --reps 2 --format csv
check "a recorded step of a model" '^hymba,decoding,2,16,' "$BUILD/bench/bench_gpu-emu" --tiny --models --precision f32 --format csv
out=$(HYLAB_EMU_MEMORY=2450000 "$BUILD/bench/bench_gpu-emu" --tiny --kernels --only m --reps 2 --format csv 2>&1)
if [ $? = 1 ] && grep -q '^norm,' <<<"$out" && grep -q 'kernels have no times' <<<"$out"; then echo "ok some kernels fail, the others have times"; else
  echo "not ok some kernels fail, the others have times"; tail -n 5 <<<"$out"; failed=1; fi
exit $failed
