#!/usr/bin/env bash
# test_gpu_session.sh - tests/gpu_session.sh as on a lent machine: packed, unpacked elsewhere, its steps run over the emulated GPU; and
# what it says of steps that fail, hang or have no time left.
set -u
cd "$(dirname "$0")/../.." || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. tests/check.sh
export BUILD=${BUILD:-build/release} PREFIX=emu_position TINY=1
emu=$(realpath "${HYLAB_EMU:-$BUILD/hylab-emu}")
check "packed" 0 '^[^ ]+gpu-session.tar.xz: [0-9]+ MB$' env HYLAB="$emu" BENCH="$BUILD/bench/bench_gpu-emu" tests/gpu_session.sh --pack "$dir/gpu-session.tar.xz"
mkdir "$dir/there" && tar -C "$dir/there" -xf "$dir/gpu-session.tar.xz"
there=$dir/there/gpu-session
state() { cut -f1,2 "$dir/$1/summary.txt" | tail -n +2 | tr '\t\n' ' ,'; }
export HYLAB=hylab-emu BENCH=bench_gpu-emu
check "its steps run" 0 '^sweep.ok' env BUILD=build/release "$there/tests/gpu_session.sh" "$dir/out" doctor kernels goldens bench-kernels sweep
same "$(state out)" "doctor ok,kernels ok,goldens ok,bench-kernels ok,sweep ok," "each step is told"
for want in 'doctor:^CUDA +ok' 'kernels:^[1-9][0-9]* passed, 0 failed' 'goldens:tensors agree' 'bench-kernels:^norm' 'sweep:^Mamba,'; do
  grep -qE "${want#*:}" "$dir/out/${want%%:*}.txt"
  say $? "output of ${want%%:*}" "$(tail -2 "$dir/out/${want%%:*}.txt" 2>&1)"
done
same "$(grep -c '^Mamba,' "$dir/out/sweep.txt")" 2 "the sweep is shown of both devices"

# in the tree, with a program that fails or never ends
printf '#!/bin/sh\nexit 3\n' >"$dir/fails" && printf '#!/bin/sh\nsleep 1000\n' >"$dir/hangs" && chmod +x "$dir/fails" "$dir/hangs"
check "a step that fails" 1 'doctor.failed \(3\)' env HYLAB="$dir/fails" tests/gpu_session.sh "$dir/a" doctor
check "a step that hangs, and one without time" 1 'doctor.stopped after [56] s' env HYLAB="$dir/hangs" tests/gpu_session.sh "$dir/b" --seconds 6 doctor goldens
same "$(state b | sed 's/after [56]/after N/')" "doctor stopped after N s,goldens left out," "the rest is left out"
(cd "$dir" && HYLAB=$dir/fails "$there/tests/gpu_session.sh" rel doctor >/dev/null 2>&1)
same "$(state rel)" "doctor failed (3)," "OUT counts from where it was called"
check "an unknown step" 2 'no step kernel; there are doctor kernels' tests/gpu_session.sh "$dir/c" kernel
check "what is to be packed is not there" 2 'gone is not there: make gpu-session builds it' env HYLAB="$dir/gone" tests/gpu_session.sh --pack "$dir/x.tar.xz"
[ ! -e "$dir/x.tar.xz" ]
say $? "then there is no pack"
check "help" 0 '^  sweep +180 s' tests/gpu_session.sh --help
exit $bad
