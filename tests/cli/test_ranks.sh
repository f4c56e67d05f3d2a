#!/usr/bin/env bash
# Several processes that train one model (mpirun -n N hylab train): the same bits for any number of them, resumed with another number
# too; one that dies, hangs or diverges ends all; what is not the same everywhere is refused.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/runner_helpers.sh
HYLAB=$(realpath "$HYLAB")
HYLAB_EMU=$(realpath -q "${HYLAB_EMU:-build/release/hylab-emu}")
MODEL=$PWD/variants/hymba.yaml
unset HYLAB_DB HYLAB_MPI
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT
ROOT=$PWD
cd "$dir" || exit 1
SIZE=(--set vocab=40 --set d_model=16 --set attention.heads=2 --set attention.kv_heads=1 --set layers=5 --set attention.window=4 --set ssm.d_state=4
  --set mlp.d_ff=16 --set meta_tokens=4)
TASK=(--task mqar --task-set vocab=40 --task-set 'train=[[16,2],[12,2]]' --task-set 'test=[[16,2]]')
RECIPE=(--train sum=parts --train batch=2 --train accumulate=5 --train steps=4 --train eval_examples=4 --train log_every=1)
args() { # file, options: the words of a training
  local out=$1
  shift
  words=("$HYLAB" train "$MODEL" "${SIZE[@]}" "${TASK[@]}" "${RECIPE[@]}" --threads 1 --out "$PWD/$out.safetensors" --curve "$out.csv" "$@")
}
alone() { args "$@"; "${words[@]}" >"$dir/out" 2>&1; }
launch() { ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" timeout -k 5 90 "$MPIRUN" "${MPIARGS[@]}" -n "$@"; } # MPI leaks; what hangs is stopped
several() { # N, file, options
  local n=$1
  shift
  args "$@"
  launch "$n" "${words[@]}" >"$dir/out" 2>&1
}
tensors() { # all but the text that says whose they are
  python3 -c 'import hashlib, struct, sys; d = open(sys.argv[1], "rb").read(); print(hashlib.sha256(d[8 + struct.unpack_from("<Q", d)[0]:]).hexdigest())' "$1.safetensors"
}
losses() { cut -d, -f1-4 "$1.csv"; } # without the rate
equal() { [ -s "$1.safetensors" ] && [ -s "$2.csv" ] && same "$(sha256sum <"$1.safetensors") $(losses "$1" | sha256sum)" "$(sha256sum <"$2.safetensors") $(losses "$2" | sha256sum)"; }

# ---- one process needs no MPI
alone one
check "one process, in parts" same "$?" 0
cp out one.out
check "no MPI library is loaded" same "$(ldd "$HYLAB" | grep -c 'libmpi')" 0
alone running --train sum=running
check "sums that run differ by rounding alone" python3 - one.csv running.csv <<'PY'
import csv, sys
a, b = ([[float(r[k]) for k in r if "loss" in k or "norm" in k] for r in csv.DictReader(open(f))] for f in sys.argv[1:])
assert len(a) == len(b) == 4 and a[0] != a[1]
assert all(abs(x - y) <= 1e-4 * abs(y) for r, s in zip(a, b) for x, y in zip(r, s)), (a, b)
PY
alone half --train sum=parts --train accumulate=1 --train batch=4
alone whole --train sum=running --train accumulate=1 --train batch=4
check "of one micro-batch they are the same" same "$(losses half | sha256sum)" "$(losses whole | sha256sum)"
bad "more ranks than there are" "was started alone" "$HYLAB" train "$MODEL" --ranks 2
PMI_RANK=0 PMI_SIZE=2 HYLAB_MPI=/none/libmpi.so alone lost
check "without the library that is said" same "$? $(grep -c 'no MPI library to talk through: /none' out)" "2 1"
PMI_RANK=0 PMI_SIZE=2 alone itself --ranks 1
check "and one may train for itself" equal itself one
RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 SLURM_PROCID=1 SLURM_NTASKS=4 alone itself
check "a batch job of Slurm is no group" equal itself one

# ---- what it would take
plan() { "$HYLAB" plan "$ROOT/variants/paper/hymba-1.5b.yaml" --length 2048 --format csv "$@" 2>out | tr -d '\r'; }
value() { awk -F, -v w="$1" '$1 == w {print $2}' plan.csv; }
plan --ranks 8 --device-memory 80G --precision bf16 --flops 200T --bandwidth 25G >plan.csv
check "Hymba-1.5B on 8 GPUs of 80 GB is planned" same "$(head -1 plan.csv)" "what,value,unit,of"
check "its parts make the whole" awk -F, '$3 == "GB" && $1 != "host" && $1 !~ /sent/ { if ($1 == "device") whole = $2; else sum += $2 } END { exit !(whole > 30 && whole < 80 && whole - sum < 1e-9 && sum - whole < 1e-9) }' plan.csv
check "16 bytes a parameter and 2 of bfloat16" awk -v w="$(value weights)" -v m="$(value moments)" -v l="$(value 'weights in bfloat16')" 'BEGIN { n = 1522797824 / 1e9; exit !(w >= 4 * n && w < 4.001 * n && m == 2 * w && l == w / 2) }'
check "7 of 8 shares go out twice" awk -v w="$(value weights)" -v s="$(value 'sent a step')" 'BEGIN { exit !(s > 1.74 * w && s < 1.76 * w) }'
check "the time is of work and messages" awk -v work="$(value 'work a step')" -v sent="$(value 'sent a step')" -v n="$(value 'exchanges a step')" -v t="$(value step)" 'BEGIN { x = work / 200 + n * 20e-6 + sent / 25; exit !(x / t > 1 - 1e-9 && x / t < 1 + 1e-9) }'
n=$(value 'largest batch')
"$HYLAB" plan "$ROOT/variants/paper/hymba-1.5b.yaml" --length 2048 --ranks 8 --device-memory 80G --precision bf16 --batch "${n%.*}" >out 2>&1
check "the largest batch that it names is feasible" grep -q '^feasible: ' out
"$HYLAB" plan "$ROOT/variants/paper/hymba-1.5b.yaml" --length 2048 --ranks 8 --device-memory 16G >out 2>&1
check "where it is not, the reason" grep -q '^not feasible: weights, gradients and moments alone are 24.4 GB of 16.0' out
bad "a size that is none" "--device-memory 80X" "$HYLAB" plan "$MODEL" --device-memory 80X

# parts of a recipe: epochs whose last step is short, evaluations that end the run, bfloat16, dropout
epochs=(--train epochs=2 --train accumulate=4 --train batch=2 --task-set 'train_examples=[7,6]' --train steps=400)
stopped=(--train steps=20 --train eval_every=2 --train stop_accuracy=0.05 --train lr=3e-2 --train schedule=constant --train accumulate=4 --train eval_examples=12)
low=(--precision bf16 --train accumulate=4)
dropped=(--set dropout.attention=0.2 --set dropout.embedding=0.1 --train accumulate=4)
for what in epochs stopped low dropped; do
  declare -n more=$what
  alone "$what" "${more[@]}"
  check "one process: $what" same "$?" 0
done

# so many examples that their evaluation takes some 7 seconds
evaluated=(--train steps=1 --train eval_batch=1 --train eval_examples=0)
from=$(date +%s%N)
alone few "${evaluated[@]}" --task-set test_examples=2000
many=$((2000 * 7000 / (1 + ($(date +%s%N) - from) / 1000000)))

any=0
for kind in ${LAUNCHERS:-openmpi mpich}; do
  MPIRUN=$(command -v mpirun.$kind) || { echo "skip $kind: mpirun.$kind is not here (Debian: openmpi-bin, mpich)"; continue; }
  any=1
  MPIARGS=()
  if [ $kind = openmpi ]; then
    MPIARGS=(--oversubscribe --bind-to none)
    [ "$(id -u)" = 0 ] && MPIARGS+=(--allow-run-as-root)
    # messages between processes of one machine need no network
    MPIARGS+=(--mca btl "self,vader" --mca pml ob1)
  fi
  for n in 1 2 3 4; do
    several "$n" "r$n"
    check "$kind: $n processes end well" same "$?" 0
    check "$kind: $n processes make the same weights, moments and curve" equal "r$n" one
    check "$kind: and print what one prints" same "$(grep -v '^note: . processes\|^checkpoint\|step [0-9]* *loss' out)" "$(grep -v '^checkpoint\|step [0-9]* *loss' one.out)"
  done
  for what in epochs stopped low dropped; do
    declare -n more=$what
    several 3 "r-$what" "${more[@]}"
    check "$kind: three as one: $what" equal "r-$what" "$what"
  done
  if [ -x "${HYLAB_EMU:-}" ]; then # gradients pass through the host
    args gpu --device cuda --train steps=2 && words[0]=$(realpath "$HYLAB_EMU")
    "${words[@]}" >out 2>&1 && mv gpu.safetensors gpu1.safetensors && mv gpu.csv gpu1.csv && launch 2 "${words[@]}" >out 2>&1
    check "$kind: two emulated GPUs as one" equal gpu gpu1
    launch 2 "${words[@]}" --shard-moments >out 2>&1
    check "$kind: with divided moments" equal gpu gpu1
  fi
  several 3 shards --shard-moments
  check "$kind: moments divided among three" equal shards one
  several 2 shards --shard-moments --precision bf16 --train accumulate=4
  check "$kind: and in bfloat16" equal shards low
  several 3 part --shard-moments --train stop_step=2
  several 2 resumed --shard-moments --resume part.safetensors
  check "$kind: divided among two where they were divided among three" same "$(sha256sum <resumed.safetensors)" "$(sha256sum <one.safetensors)"
  # ---- resumed
  several 3 part --train stop_step=2
  check "$kind: three go as far as the second step" same "$?" 0
  alone resumed --resume part.safetensors
  check "$kind: one goes on from there" same "$(sha256sum <resumed.safetensors)" "$(sha256sum <one.safetensors)"
  alone part --train stop_step=3
  several 2 resumed --resume part.safetensors
  check "$kind: two go on where one has stopped" same "$(sha256sum <resumed.safetensors)" "$(sha256sum <one.safetensors)"

  # ---- what is refused
  several 2 no --train sum=running
  check "$kind: sums that run are for one process" same "$? $(grep -c 'set train.sum to parts' out)" "2 1"
  several 2 no --train accumulate=1
  check "$kind: nothing to share" same "$? $(grep -c '2 processes, but a step has 1 micro-batch to share' out)" "2 1"
  several 2 no --ranks 3
  check "$kind: not so many" grep -q 'has started 2 processes' out
  several 2 no --train lr=fast
  check "$kind: an error is told once" same "$(grep -c '^hylab train:' out)" 1
  args no
  cp "$HYLAB" other && echo >>other
  launch 1 "${words[@]}" : -n 1 ./other "${words[@]:1}" >out 2>&1
  check "$kind: another build" same "$? $(grep -c 'hylab train: ranks differ in their build or instruction set: rank 1 has' out)" "2 1"
  launch 2 "${words[@]}" : -n 1 "${words[@]}" --seed 2 >out 2>&1
  check "$kind: another seed" same "$? $(grep -c 'ranks differ in the recipe, the task or its data: rank 2 has seed: 2, rank 0 has seed: 1' out)" "2 1"
  launch 1 "${words[@]}" : -n 1 "${words[@]}" --set d_model=64 >out 2>&1
  check "$kind: another model" same "$? $(grep -c 'ranks differ in the model: rank 1 has' out)" "2 1"
  mkdir -p a b && seq 100 >a/text && { seq 100; echo x; } >b/text # one name, on two machines
  words=("$HYLAB" train "$MODEL" --set vocab=256 "${SIZE[@]:2}" --task text --task-set path=text --task-set train=16 --task-set test=16
    --task-set validation=0.3 "${RECIPE[@]}" --threads 1)
  launch 1 -wdir "$PWD/a" "${words[@]}" : -n 1 -wdir "$PWD/b" "${words[@]}" >out 2>&1
  check "$kind: other data" same "$? $(grep -c 'ranks differ in the recipe, the task or its data: rank 1 has bytes: 294, rank 0 has bytes: 292' out)" "2 1"
  args no --resume one.safetensors && first=("${words[@]}")
  args no --resume part.safetensors
  launch 1 "${first[@]}" : -n 1 "${words[@]}" >out 2>&1
  check "$kind: another checkpoint" same "$? $(grep -c 'ranks differ in the weights they begin with: rank 1 has step 3, rank 0 has step 4' out)" "2 1"

  # ---- faults
  several 3 nan --train lr=1e12 --train clip=0 --train schedule=constant --train warmup=0
  check "$kind: one that diverges is named, once" same "$? $(grep -cE '^hylab train: step [0-9]+: loss.*first not finite: .*\(rank [0-2]\)' out)" "1 1"
  long=(--train steps=100000 --train checkpoint_every=5 --train schedule=constant --patience 3)
  begin() { # file: three ranks in the background; the second one's pid in $victim
    rm -f "$1.safetensors"
    args "$1" "${long[@]}"
    launch 3 "${words[@]}" >out 2>&1 &
    mpi=$!
    for _ in $(seq 200); do [ -f "$1.safetensors" ] && break; sleep 0.05; done
    victim=""
    for p in $(pgrep -f -- "--out $PWD/$1.safetensors"); do
      tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -qE '^(OMPI_COMM_WORLD_RANK|PMI_RANK)=1$' && victim=$p
    done
    [ -n "$victim" ]
  }
  left() { pgrep -f -- "--out $PWD/$1.safetensors" | wc -l; }
  whole() { "$HYLAB" eval "$1.safetensors" "${TASK[@]}" >eval.out 2>&1; }
  for signal in KILL STOP; do
    begin dies || no "$kind: a rank to send $signal to" "none found"
    from=$(date +%s)
    kill -$signal "$victim"
    wait "$mpi"
    rc=$?
    took=$(($(date +%s) - from))
    check "$kind: rank 1 gets $signal: all end, with an error" same "$([ $rc != 0 ] && echo error) $(left dies)" "error 0"
    check "$kind: within the time that was given" test "$took" -le 40
    if [ $signal = STOP ]; then check "$kind: one message names it" same "$(grep -c '^hylab: rank 1 of 3: no answer for 3 seconds' out)" 1
    else check "$kind: the launcher tells it" grep -qE 'process rank 1 .*signal 9|BAD TERMINATION' out; fi
    check "$kind: the newest checkpoint is whole" whole dies
  done
  several 3 slow --patience 1 "${evaluated[@]}" --task-set test_examples="$many"
  check "$kind: an evaluation may take longer than patience" same "$?" 0
  begin stops || no "$kind: a rank to ask" "none found"
  kill -USR1 "$victim" # one of them
  wait "$mpi"
  check "$kind: a signal to one stops all after a step, with a checkpoint" same "$(grep -c 'hylab train: .*interrupted after step' out) $(left stops)" "1 0"
  step=$(grep -oE 'interrupted after step [0-9]+' out | grep -oE '[0-9]+$')
  alone check --train steps=100000 --train schedule=constant --train stop_step="${step:-1}"
  check "$kind: of the weights of that step" same "$(tensors stops)" "$(tensors check)"
done
[ $any = 1 ] || echo "skip several processes: there is no mpirun (apt-get install openmpi-bin)"
exit $failed
