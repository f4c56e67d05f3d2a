#!/usr/bin/env bash
# What commands say and how they end: a resume names what differs, closed pipes are silent and full devices are not, the first signal
# counts in every command, the second leaves nobody behind, paths count from where they are written, of two answers none wins in
# silence, and a plan says what it estimates.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
H=$(realpath "${HYLAB:-build/release/hylab}")
. tests/check.sh
tiny=$PWD/tests/tiny.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
# shellcheck source=tests/tiny.sh
. "$tiny"
cat >e.yaml <<'END'
name: e
variants: [{name: A, file: m.yaml}, {name: B, file: m.yaml, set: {d_model: 16}}]
tasks: [{name: t, kind: mqar, options: {vocab: 40, train: [[16, 2]], test: [[16, 2]], test_examples: 8}}]
train: {steps: 4, batch: 2}
seeds: [1, 2]
END

# ---- a resume names the fields that differ, with both values
R="--train steps=20 --train checkpoint_every=10"
"$H" train m.yaml $B $R --out k.safetensors --curve k.csv >out 2>&1
differs() { # text, options
  local text=$1
  shift
  check "a resume with $* says: $text" 2 "k\.safetensors: .*$text" "$H" train m.yaml $B $R --resume k.safetensors --out x.safetensors "$@"
}
resumes() { check "a resume with $* goes on" 0 "accuracy" "$H" train m.yaml $B $R --resume k.safetensors --out x.safetensors "$@"; }
differs "train\.lr 0\.003 in the checkpoint, 0\.0001 here" --train lr=1e-4
differs "train\.steps 20 in the checkpoint, 40 here.*--from" --train steps=40
differs "train\.batch 2 in the checkpoint, 4 here" --train batch=4
differs "seed 1 in the checkpoint, 2 here" --seed 2
differs "train\.beta2 0\.95 in the checkpoint, 0\.9 here" --train beta2=0.9
differs "train\.stop_accuracy 0 in the checkpoint, 0\.9 here" --train stop_accuracy=0.9
B0=$B
B=${B/train=\[\[16,2/train=[[18,2} differs "task\.train \[\[16, 2\]\] in the checkpoint, \[\[18, 2\]\] here"
B="--task induction --task-set vocab=40 --task-set train=16 --task-set test=16 --threads 1" differs "task mqar in the checkpoint, induction here"
B=$B0
differs "seed .*; train\.batch .*; train\.lr" --train lr=1e-4 --train batch=4 --seed 2
resumes --train log_every=7
resumes --train checkpoint_every=5
resumes --train eval_every=5
resumes --train eval_batch=3
resumes --train save_seconds=1
B=${B/examples=8/examples=4}
resumes
B=$B0
"$H" train m.yaml $B $R --train stop_accuracy=0.99 --train eval_every=5 --out s.safetensors >out 2>&1
check "evaluations count where they can end a run" 2 "train\.eval_every 5 in the checkpoint, 10 here" \
  "$H" train m.yaml $B $R --train stop_accuracy=0.99 --train eval_every=10 --resume s.safetensors --out x.safetensors
check "so do their examples" 2 "task\.test_examples \[8\] in the checkpoint, \[4\] here" \
  "$H" train m.yaml ${B/examples=8/examples=4} $R --train stop_accuracy=0.99 --train eval_every=5 --resume s.safetensors --out x.safetensors

# ---- training on for more steps, where no step that is done would have been another
C="--train schedule=constant --train warmup=0"
"$H" train m.yaml $B $C --train steps=20 --out c20.safetensors >out 2>&1
"$H" train m.yaml $B $C --train steps=35 --out c35.safetensors >out 2>&1
check "a run of a constant rate is trained on" 0 accuracy "$H" train m.yaml $B $C --train steps=35 --resume c20.safetensors --out on.safetensors
cmp -s on.safetensors c35.safetensors; say $? "and ends as the long run does"
cp c20.safetensors keep.safetensors
check "what it began with is not overwritten unasked" 2 "say with --out" "$H" train m.yaml $B $C --train steps=35 --resume c20.safetensors
cmp -s keep.safetensors c20.safetensors; say $? "and is whole"
W="--train schedule=wsd --train warmup=0 --train decay=0.5"
(ulimit -t 60; "$H" train m.yaml $B $W --train steps=40 --train checkpoint_every=10 --out w.safetensors >out 2>&1)
"$H" train m.yaml $B $W --train decay=0.1 --train steps=20 --out w20.safetensors >out 2>&1
check "one that has begun to decay is not" 2 "train\.steps 20 in the checkpoint, 40 here" \
  "$H" train m.yaml $B $W --train decay=0.1 --train steps=40 --resume w20.safetensors --out x.safetensors
check "fewer steps than are done" 2 "at step 20 already, train.steps is 10|train\.steps 20" "$H" train m.yaml $B $C --train steps=10 --resume c20.safetensors --out x.safetensors
E="$C --train eval_every=10 --train stop_accuracy=0.01" # reached at any evaluation of an untrained model by chance or not: the same for both
"$H" train m.yaml $B $E --train steps=10 --out e10.safetensors >out 2>&1
"$H" train m.yaml $B $E --train steps=40 --out e40.safetensors >o1 2>&1
"$H" train m.yaml $B $E --train steps=40 --resume e10.safetensors --out eon.safetensors >o2 2>&1
same "$(grep -o 'after [0-9]* steps' o2)" "$(grep -o 'after [0-9]* steps' o1)" "the last evaluation of a short run is one on the way of the long one"

# ---- closed pipes are silent; what cannot be written is an error of every command
closed() { # name, command: its standard output is a pipe that nobody reads
  local name=$1 rc
  shift
  { sleep 0.2; "$@" 2>err; echo $? >rc; } | true
  for _ in $(seq 100); do [ -s rc ] && break; sleep 0.1; done
  rc=$(cat rc); rm -f rc
  [ "$rc" = 141 ] && ! grep -qi "cannot\|pipe\|nobody" err; say $? "silent into a closed pipe: $name" "status $rc: $(head -1 err)"
}
full() { # name, command
  local name=$1 rc
  shift
  "$@" >/dev/full 2>err; rc=$?
  [ $rc = 1 ] && grep -q "cannot write" err; say $? "a full device is told: $name" "status $rc: $(head -1 err)"
}
"$H" run e.yaml --db p.db --threads 1 >out 2>&1
n=0
each() { # how
  $1 --help "$H" --help
  $1 --version "$H" --version
  $1 "run --help" "$H" run --help
  $1 "show fields" "$H" show fields
  $1 "show spec" "$H" show spec m.yaml
  $1 "show spec --yaml" "$H" show spec m.yaml --yaml
  $1 "show variants" "$H" show variants "$root/variants"
  $1 "show runs" "$H" show runs --db p.db
  $1 "show sql" "$H" show sql "SELECT * FROM v_run" --db p.db --format json
  $1 "show metrics" "$H" show metrics --db p.db --format csv
  $1 "task" "$H" task mqar
  $1 "cache" "$H" cache m.yaml
  $1 "models" "$H" models --db p.db
  $1 "run --dry-run" "$H" run e.yaml --db p.db --dry-run
  $1 "run" "$H" run e.yaml --db p.db
  $1 "eval" "$H" eval k.safetensors $T
  $1 "generate" "$H" generate k.safetensors --ids "1 2" --max-new 3
  $1 "probe" "$H" probe k.safetensors $T
  $1 "bench" "$H" bench k.safetensors --context 8 --tokens 2 --repetitions 1 --threads 1
  $1 "tokenize" "$H" tokenize bytes "a text"
  $1 "doctor" "$H" doctor --db p.db
  $1 "verify" "$H" verify "$root/tests/golden/llama3-tiny"
}
each closed
each full

# ---- names that are not there are told with those that are; a filter that lets nothing pass is no mistake
check "show runs of no experiment" 2 'no experiment "nope".*: there is e$' "$H" show runs --db p.db --experiment nope
check "show runs of no variant" 2 'no variant "nope".*: there are A, B$' "$H" show runs --db p.db --variant nope
check "show sql of no view" 2 'no view or table "v_nope".*: there are .*v_run, .*model' "$H" show sql v_nope --db p.db
check "show sql from no table" 2 'no such table: nope; there are .*v_run, .*model' "$H" show sql "SELECT * FROM nope" --db p.db
same "$("$H" show runs --db p.db --experiment e --variant A --format csv | wc -l)" 3 "what is there is shown"
check "nothing failed" 0 "^run " "$H" show runs --db p.db --status failed

# ---- the first signal counts
ends() { # name, signal, command: it is ended by one signal at once
  local name=$1 sig=$2 rc i
  shift 2
  "$@" >out 2>err &
  local p=$!
  sleep 0.7
  kill -0 $p 2>/dev/null || { echo "not ok $name: it has not waited for a signal: $(head -1 err)"; bad=1; return; }
  kill -$sig $p
  for i in $(seq 200); do kill -0 $p 2>/dev/null || break; sleep 0.1; done
  if kill -0 $p 2>/dev/null; then kill -9 $p; fi
  wait $p; rc=$?
  [ $rc != 137 ] && [ $rc != 0 ]; say $? "one $sig ends $name" "status $rc"
}
Q="WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
mkfifo never; exec 7<>never
listening() { exec "$H" tokenize bytes <&7; } # to somebody who says nothing
for sig in INT TERM; do
  ends "show sql" $sig "$H" show sql "$Q" --db p.db
  ends "train" $sig "$H" train m.yaml $B --train steps=100000000 --out t.safetensors
  ends "bench" $sig "$H" bench m.yaml --context 2000 --repetitions 1000 --threads 1
  ends "generate" $sig "$H" generate m.yaml --ids 1 --max-new 5000000 --threads 1
  ends "tokenize" $sig listening
done
if command -v gnuplot >/dev/null; then # a command that never looks at signals, here waiting for a slow gnuplot
  mkdir bin
  { echo '#!/bin/sh'; echo "echo \$\$ >>$dir/gnuplots; exec sleep 60"; } >bin/gnuplot
  chmod +x bin/gnuplot
  drawing() { PATH=$dir/bin:$PATH exec "$H" plot e.yaml --db p.db --out drawn; }
  for sig in INT TERM; do ends "plot" $sig drawing; done
  while read -r p; do kill "$p" 2>/dev/null; done <gnuplots
else echo "skip signals to plot: no gnuplot"; fi
"$H" train m.yaml $B --train steps=100000000 --out t.safetensors >out 2>err &
p=$!; sleep 0.7; kill -INT $p; wait $p
same "$? $(grep -c "progress is kept in t.safetensors" err)" "130 1" "a training keeps its progress and says where"
# timeout tells the process and then its group, which is one signal from a person's point of view
timeout -s INT 2 "$H" train m.yaml $B --train steps=100000000 --out once.safetensors >out 2>err; rc=$?
same "$rc $(grep -c "progress is kept in once.safetensors" err)" "124 1" "timeout -s INT is one signal, not two"
"$H" train m.yaml $B --train steps=100000000 --out both.safetensors >out 2>err &
p=$!; sleep 0.7; kill -STOP $p; kill -INT $p; kill -TERM $p; kill -CONT $p; wait $p # the same, whichever comes first
same "$? $(grep -c "progress is kept in both.safetensors" err)" "130 1" "two signals at one moment are one"
"$H" train m.yaml $B --train steps=1 --out one.safetensors >out 2>&1
same "$(grep -c 'after 1 step$' out)" 1 "one step is no steps"
sed 's/steps: 4,/steps: 100000000,/' e.yaml >long.yaml
"$H" run long.yaml --db s.db --threads 2 --jobs 2 >out 2>&1 &
p=$!
for _ in $(seq 200); do [ "$(pgrep -P $p | wc -l)" = 2 ] && ls s.db.work/*.log >/dev/null 2>&1 && break; sleep 0.05; done
workers=$(pgrep -P $p | tr '\n' ' ')
kill -STOP $workers # they cannot end by themselves
kill -INT $p; sleep 0.5; kill -0 $p; say $? "a run waits for its workers after the first signal"
kill -INT $p; wait $p; rc=$?
sleep 0.2
left=0; for w in $workers; do [ -e /proc/$w ] && ! grep -q '^State:.*[ZX]' /proc/$w/status 2>/dev/null && left=$((left + 1)); done
same "$rc $(wc -w <<<"$workers") $left" "130 2 0" "the second one ends it and both of them"
for w in $workers; do kill -9 $w 2>/dev/null; done
# ---- nor does it leave behind workers that hear nothing (stuck in a library) and what those have started
cat >deaf.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
static int deaf;
__attribute__((constructor)) static void begin(int argc, char **argv) {
    if (argc < 3 || strcmp(argv[2], "--child")) return;
    signal(SIGTERM, SIG_IGN), signal(SIGINT, SIG_IGN), signal(SIGHUP, SIG_IGN);
    if (fork() == 0) for (;;) pause();
    deaf = 1;
}
int sigaction(int sig, const struct sigaction *a, struct sigaction *old) {
    static int (*next)(int, const struct sigaction *, struct sigaction *);
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "sigaction");
    return deaf ? 0 : next(sig, a, old);
}
sighandler_t signal(int sig, sighandler_t f) {
    struct sigaction a = {.sa_handler = f};
    return sigaction(sig, &a, NULL) ? SIG_ERR : SIG_DFL;
}
END
if ! grep -q __asan_init "$H" && gcc -shared -fPIC -o deaf.so deaf.c -ldl 2>/dev/null; then
  LD_PRELOAD=$dir/deaf.so "$H" run long.yaml --db d.db --threads 2 --jobs 2 >out 2>&1 &
  p=$!
  for _ in $(seq 200); do [ "$(pgrep -P $p | wc -l)" = 2 ] && ls d.db.work/*.log >/dev/null 2>&1 && break; sleep 0.05; done
  workers=$(pgrep -P $p | tr '\n' ' ')
  deaf=$(for w in $workers; do pgrep -g $w; done | tr '\n' ' ')
  kill -INT $p; sleep 0.5
  kill -0 $p && kill -INT $p; wait $p; rc=$?
  sleep 0.2
  left() { local n=0 w; for w in "$@"; do [ -e /proc/$w ] && ! grep -q '^State:.*[ZX]' /proc/$w/status 2>/dev/null && n=$((n + 1)); done; echo $n; }
  # shellcheck disable=SC2086
  same "$rc $(wc -w <<<"$deaf") $(left $deaf)" "130 4 0" "the second signal ends what hears none, and its children"
  for w in $deaf; do kill -9 $w 2>/dev/null; done
else echo "skip workers that hear nothing: no compiler, or sanitizers"; fi
"$H" run long.yaml --db s.db --threads 1 --set train.steps=5 >out 2>&1; say $? "and the database is fine"

# ---- paths
mkdir -p sub home
printf 'a text of some length, for a language model of bytes. %.0s' $(seq 40) >sub/t.txt
cp m.yaml sub
cat >sub/e.yaml <<'END'
name: p
variants: [{name: A, file: m.yaml, set: {vocab: 256}}]
tasks: [{kind: text, options: {path: t.txt, train: 16, test: 16}}]
train: {steps: 1, batch: 1}
scales:
  small: null
  other: {tasks: [{kind: text, options: {path: t.txt, train: 8, test: 8}}]}
END
check "a path in an experiment counts from its file" 0 "to do" "$H" run sub/e.yaml --db n.db --dry-run
check "in a scale too" 0 "to do" "$H" run sub/e.yaml --db n.db --dry-run --scale other
(cd sub && "$H" run e.yaml --db n.db --dry-run >../out 2>&1); say $? "and so from its own folder"
sed 's/t\.txt/none.txt/' sub/e.yaml >sub/none.yaml
check "a path that is nowhere is told with its folder" 2 "sub/none.txt" "$H" run sub/none.yaml --db n.db --dry-run
check "what is typed counts from the current folder" 0 "to do" "$H" run sub/e.yaml --db n.db --dry-run --set task.path=sub/t.txt
X="--task text --task-set train=16 --task-set test=16 --set vocab=256 --train steps=1 --train batch=1 --threads 1"
check "also for one training" 0 "accuracy" "$H" train m.yaml $X --task-set path=sub/t.txt
cp sub/t.txt sub/m.yaml home
export HOME=$dir/home
check "~ is the home folder in --task-set" 0 "accuracy" "$H" train m.yaml $X --task-set path=~/t.txt
check "... as typed without a shell" 0 "accuracy" "$H" train m.yaml $X --task-set 'path=~/t.txt'
check "... in --set of an experiment" 0 "to do" "$H" run sub/e.yaml --db n.db --dry-run --set 'task.path=~/t.txt'
sed 's|path: t.txt|path: ~/t.txt|; s|file: m.yaml|file: ~/m.yaml|' sub/e.yaml >sub/home.yaml
check "... in the file" 0 "to do" "$H" run sub/home.yaml --db n.db --dry-run
echo 'base: ~/m.yaml' >sub/based.yaml
check "... in the base of a variant" 0 "layers" "$H" show spec sub/based.yaml
"$H" train m.yaml $X --task-set path=sub/t.txt --out='~/o.safetensors' --curve='~/o.csv' --db='~/o.db' >out 2>&1
same "$(ls home | tr '\n' ' ')" "m.yaml models o.csv o.db o.safetensors t.txt " "... and in options"

# ---- of two answers none wins in silence
check "bench --batch and --option batch" 2 "--batch says that already" "$H" bench m.yaml --option 'batch=[2]' --batch 3
check "bench --context and --option contexts" 2 "--context says that already" "$H" bench m.yaml --option 'contexts=[8]' --context 3
check "bench --decode and --option train" 2 "--decode says that already" "$H" bench m.yaml --decode --option train=true
check "bench --ops and --decode" 2 "--ops" "$H" bench m.yaml --ops --decode
check "one of them is no conflict" 0 "prefill" "$H" bench m.yaml --option 'batch=[1]' --context 8 --prefill --repetitions 1 --threads 1
check "eval --examples and --option examples" 2 "--examples says that already" "$H" eval k.safetensors $T --examples 3 --option examples=4
check "probe --erf-set without --erf" 2 "--erf-set" "$H" probe k.safetensors $T --measure erf --erf-set meta=renormalised
check "probe --prompts and --option examples" 2 "--prompts says that already" "$H" probe k.safetensors $T --measure erf --prompts 2 --option examples=3
check "probe --maps without a figure" 2 "--out" "$H" probe k.safetensors $T --maps ssm
check "an option that a measure lacks" 2 "has no option" "$H" probe k.safetensors $T --measure size --prompts 2
check "train --precision twice" 2 "--precision says that already" "$H" train m.yaml $B --precision f32 --train precision=f32

# ---- numbers that are too large
I=2147483647
check "generate --max-new" 2 "at most" "$H" generate k.safetensors --ids 1 --max-new $I
check "generate --samples and --max-new" 2 "at most" timeout 30 "$H" generate k.safetensors --ids 1 --max-new 131072 --samples 32768 # 2^32
check "generate --samples" 2 "at most" "$H" generate k.safetensors --ids 1 --samples $I
check "eval --batch" 2 "smaller batch" "$H" eval k.safetensors $T --batch $I
check "bench --batch" 2 "at most|1 to" "$H" bench m.yaml --batch $I
check "bench --context" 2 "1 to" "$H" bench m.yaml --context $I
check "bench --tokens" 2 "1 to" "$H" bench m.yaml --tokens $I
check "bench --repetitions" 2 "1 to" "$H" bench m.yaml --repetitions $I
check "a timing that can never fit" 2 "needs at least .* GB, this machine has" "$H" bench m.yaml --context 9000000 --batch 200
check "... is refused before anything is trained" 2 "needs at least .* GB, this machine has" "$H" run e.yaml --db big.db --set 'measures.throughput.contexts=[9000000]' --set 'measures.throughput.batch=[200]'
check "a number that is none" 2 "--threads 9999999999: .*2147483647" "$H" eval k.safetensors $T --threads 9999999999
same "$("$H" cache m.yaml --tokens $I --format csv | tail -1 | tr ',\r' '\n\n' | grep -c '^-[0-9]')" 0 "cache --tokens is no negative number"

# ---- a plan
"$H" run e.yaml --db d.db --dry-run >out
same "$(grep -c '^to train: 4 models, 0.000512 million tokens; no stored model tells how long that takes$' out)" 1 "a plan without a database"
grep -q "its\? time\|the time that takes is not estimated" out; say $? "says that measuring is not estimated"
"$H" run e.yaml --db d.db --threads 1 --only A >out 2>&1
"$H" run e.yaml --db d.db --dry-run >out
same "$(grep -c '^to train: 2 models, 0.000256 million tokens; one after the other about .* by the speed of stored models$' out)" 1 "a plan by the speed of what is stored"
"$H" run long.yaml --db i.db --threads 1 --set train.steps=100000 --set train.checkpoint_every=100 --only A --set 'seeds=[1]' >out 2>&1 &
p=$!
for _ in $(seq 400); do ls i.db.work/*.safetensors >/dev/null 2>&1 && break; sleep 0.05; done
kill -INT $p; wait $p
"$H" run long.yaml --db i.db --set train.steps=100000 --set train.checkpoint_every=100 --only A --set 'seeds=[1]' --dry-run --format csv >out
same "$(awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) c[$i] = i} NR == 2 {print $c["state"], ($c["train_tokens"] < 3200000 && $c["train_tokens"] > 0)}' out)" \
  "to resume 1" "an interrupted run has what is left of it"
exit $bad
