#!/usr/bin/env bash
# train, eval, generate and bench as a user types them: a model is trained, resumed, evaluated and continued; a released
# checkpoint folder serves as a model; what cannot work is refused with status 2 and says why.
set -u
cd "$(dirname "$0")/../.." || exit 1
HYLAB=${HYLAB:-$PWD/build/release/hylab}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
check() { # name, wanted status, wanted text in the output, command...
  local name=$1 want=$2 text=$3
  shift 3
  "$@" >"$dir/out" 2>&1
  local rc=$?
  if [ "$rc" = "$want" ] && grep -qF -- "$text" "$dir/out"; then echo "ok $name"; else
    echo "not ok $name: status $rc, wanted $want and \"$text\""; tail -n 5 "$dir/out" | sed 's/^/    /'; failed=1
  fi
}
T="--task mqar --task-set vocab=40 --task-set train=[[16,2]] --task-set test=[[16,2]] --task-set test_examples=20"
M="variants/hymba.yaml --set vocab=40 --set d_model=32 --set layers=3 --set kv_share=none --threads 1"
# the first training of README.md and all that it does with the checkpoint, as they stand there, in two steps
on=$(sed -n 's/^ *\(on=(.*)\)$/\1/p' README.md)
while IFS= read -r c; do
  more=; case $c in *" train "*) more="--train steps=2" ;; esac
  says="hymba-small on mqar"; case $c in *" --save "*) says="16 values of 12 positions" ;; esac
  check "as in README.md: ${c#*/hylab }" 0 "$says" bash -c "$on; $c $more --threads 1"
done < <(sed -e ':a' -e '/\\$/N; s/\\\n *//; ta' README.md | grep -E "^ +\./hylab .*runs/hymba.safetensors" | sed "s|^ *\./hylab|$HYLAB|; s|runs/|$dir/|g; s|  *#.*||")
check "README.md has that many" 0 "11" grep -cE "^ +\./hylab (train|eval|probe) .*runs/hymba" README.md
check "train writes a checkpoint" 0 "T16.K2" $HYLAB train $M $T --train steps=6 --train batch=4 --out "$dir/a.safetensors" --curve "$dir/a.csv"
check "the curve has a line a step" 0 "7" wc -l "$dir/a.csv"
check "another run's checkpoint is refused" 2 "resumed run must be the same run" $HYLAB train $M $T --train steps=7 --train batch=4 --resume "$dir/a.safetensors"
check "divergence names step and tensor" 1 "first not finite" $HYLAB train $M $T --train steps=9 --train batch=4 --train lr=1e12 --train clip=0 --train warmup=0
check "eval reads it" 0 "accuracy" $HYLAB eval "$dir/a.safetensors" $T --threads 1
check "a task of more tokens than the model has" 2 "vocabulary" $HYLAB eval "$dir/a.safetensors" --task mqar
check "generate token ids" 0 "--- prompt 2, sample 1" $HYLAB generate "$dir/a.safetensors" --ids "1 2 3" "4" --max-new 3 --threads 1
check "bytes need a byte vocabulary" 2 "--ids" $HYLAB generate "$dir/a.safetensors" "text"
check "a token that is not there" 2 "outside the vocabulary" $HYLAB generate "$dir/a.safetensors" --ids "99"
check "bench: three rates" 0 "decode" $HYLAB bench "$dir/a.safetensors" --context 8 --tokens 2 --repetitions 5 --threads 1
check "bench: op by op" 0 "attention" $HYLAB bench "$dir/a.safetensors" --context 8 --ops --threads 1
for op in ssd gated_norm scale; do check "bench: every op, $op" 0 "$op " $HYLAB bench tests/golden/falcon-h1-tiny --context 8 --ops --repetitions 1 --threads 1; done
check "a released checkpoint is a model" 0 "accuracy" $HYLAB eval tests/golden/hymba-tiny $T --threads 1
check "and generates" 0 " " $HYLAB generate tests/golden/hymba-tiny-groups --ids "5 6 7" --max-new 4 --threads 1
check "an empty folder is not a model" 2 "config.json" $HYLAB eval "$dir" $T
head -c 2000 "$dir/a.safetensors" >"$dir/cut.safetensors"
check "a truncated checkpoint" 2 "cut.safetensors" $HYLAB eval "$dir/cut.safetensors" $T
check "no such command" 2 "no command" $HYLAB trian
# where the weights go is tried before they are trained
check "train makes the folder of --out" 0 "checkpoint:" "$HYLAB" train $M $T --train steps=1 --train batch=2 --out "$dir/new/folder/x.safetensors"
mkdir "$dir/new/x"
check "train --out of a folder is refused" 2 "is a folder" "$HYLAB" train $M $T --train steps=1 --out "$dir/new/x"
check "train --out below a file is refused" 2 "cannot create" "$HYLAB" train $M $T --train steps=100000 --out "$dir/new/folder/x.safetensors/y"
exit $failed
