#!/usr/bin/env bash
# What is written, where, and what becomes of it when there is trouble: outputs are tried before the work, links and devices are not
# replaced, a curve after a kill equals that of an uninterrupted run, what a full disk refuses is kept elsewhere, and a checkpoint
# is the model that a database knows.
set -u
cd "$(dirname "$0")/../.." || exit 1
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
variants: [{name: A, file: m.yaml}]
tasks: [{name: t, kind: mqar, options: {vocab: 40, train: [[16, 2]], test: [[16, 2]], test_examples: 8}}]
train: {steps: 3, batch: 2}
END
train() { "$H" train m.yaml $B "$@"; }
columns() { cut -d, -f1-4 "$1"; } # all of a curve but tokens a second, which no two runs share

# ---- a curve: killed and resumed it is the file of a run that was not
train --train steps=4000 --out whole.st --curve whole.csv >out 2>&1
for again in 1 2; do # the second kill hits the resumed run
  before=$(stat -c %Y%i k.st 2>/dev/null)
  on=(); [ ! -f k.st ] || on=(--resume k.st)
  "$H" train m.yaml $B --train steps=4000 --train checkpoint_every=200 --out k.st --curve k.csv "${on[@]}" >out 2>&1 &
  p=$!
  for _ in $(seq 2000); do [ -f k.st ] && [ "$(stat -c %Y%i k.st)" != "$before" ] && break; sleep 0.005; done
  sleep 0.1
  kill -9 $p; wait $p 2>/dev/null
  [ $again = 1 ] && cp k.st half.st && printf '3999,1.5,0.0' >>k.csv # as half a row on a disk
done
printf '4000,9,9,9,9\n17,' >>k.csv # behind the checkpoint: of the killed run
train --train steps=4000 --out k.st --resume k.st --curve k.csv >out 2>&1
cmp -s <(columns k.csv) <(columns whole.csv); say $? "a curve after kills is that of an uninterrupted run" "$(wc -l <k.csv) rows"
cmp -s k.st whole.st; say $? "so is the checkpoint"
train --train steps=4000 --resume half.st --out h.st --curve new.csv >out 2>&1
same "$(head -1 new.csv)" "step,loss_nats,lr,grad_norm,tokens_per_s" "a new curve of a resumed run has its header"
step=$(($(sed -n 2p new.csv | cut -d, -f1) - 1))
[ $step -gt 0 ] && [ $step -lt 4000 ]; say $? "the run was killed on its way" "at step $step"
same "$(tail -n +2 new.csv | cut -d, -f1-4 | cmp - <(columns whole.csv | tail -n +$((step + 2))) && echo same)" same "and the rows from there on"
# a machine that went down may have half a row of a step that the checkpoint has: what follows begins a line of its own
awk -F, -v s=$((step - 5)) 'NR == 1 || $1 <= s' whole.csv >torn.csv
printf '%d,1.5,0.0' $((step - 4)) >>torn.csv
train --train steps=4000 --resume half.st --out h.st --curve torn.csv >out 2>&1
same "$(awk -F, 'NF != 5' torn.csv | wc -l) $(sed -n $((step - 3))p torn.csv | cut -d, -f1)" "0 $((step + 1))" "half a row before the checkpoint is cut"
echo "a,b" >other.csv
check "a file that is no curve is left alone" 2 "is no curve" train --train steps=4000 --resume half.st --out h.st --curve other.csv
same "$(cat other.csv)" "a,b" "and has what it had"
train --train steps=3 --curve c/d/e.csv >out 2>&1
same "$(wc -l <c/d/e.csv 2>/dev/null)" 4 "the folders of a curve are made"

# ---- a curve is no reason to end a training
train --train steps=50 --curve /dev/full --out f.st >out 2>err; rc=$?
[ $rc = 1 ] && [ -f f.st ] && grep -q "accuracy" out; say $? "a curve that cannot be written does not end the training" "exit $rc"
same "$(grep -c "the training goes on" err)" 1 "it is told once"
(ulimit -f 2; train --train steps=60 --curve lim.csv --train log_every=1 >out 2>&1)
same "$(awk -F, 'NF != 5' lim.csv | wc -l) $(tail -c 1 lim.csv | od -An -c | tr -d ' ')" '0 \n' "a curve that is full ends with a whole row"

{ echo before; train --train steps=5 --curve /dev/stdout 2>err; echo after; } >out
same "$(head -1 out) $(grep -cE '^[1-5],' out) $(grep -c accuracy: out) $(tail -1 out)" "before 5 1 after" "a curve and a table share standard output"

# ---- --resume without --out goes on in the same file
cp half.st r.st
check "resuming without --out says where checkpoints go" 0 "no --out: checkpoints go to r.st" train --train steps=4000 --resume r.st
cmp -s r.st whole.st; say $? "and writes there"

"$H" train m.yaml $B --train steps=4000 --resume half.st --out h.st --db half.db >out 2>&1
same "$(grep -c "note: half.db: of the first $step steps it gets no points and no time" out)" 1 "what a resumed run leaves out of a database is said"

# ---- all of an option counts, however long its value is
many() { # the last weight of 32
  "$H" train m.yaml --task mqar --task-set vocab=40 --task-set "train=[$(for _ in $(seq 31); do printf '[16,2],'; done)[16,2]]" \
    --task-set "weights=[$(for _ in $(seq 31); do printf '0.1234567890123456,'; done)$1]" \
    --task-set test=[[16,2]] --task-set test_examples=8 --threads 1 --train batch=2 --train steps=2 "${@:2}"
}
many 0.25 --out many.st >out 2>&1
check "the end of a long option is compared and shown" 2 "task.weights \.\.\..*, 0.25\] in the checkpoint, \.\.\..*, 0.75\] here" many 0.75 --resume many.st
train --train steps=2 --train stop_accuracy=1 --out stop.st >out 2>&1
"$H" train m.yaml $B --train steps=2 --resume stop.st >out 2>&1
same "$(grep -c stopped_by out) $(grep -c "train.stop_accuracy 1 in the checkpoint" out)" "0 1" "a recipe that stops early is told by its field alone"

# ---- links, devices, FIFOs, modes
: >target; ln -s target link; ln -s nowhere/new.st dangling; mkdir nowhere
train --train steps=2 --out plain.safetensors >out 2>&1
train --train steps=2 --out link >out 2>&1
same "$(stat -c %F link) $(cmp target plain.safetensors && echo written)" "symbolic link written" "a link stays and its target is written"
train --train steps=2 --out dangling >out 2>&1
same "$(stat -c %F dangling) $(cmp nowhere/new.st plain.safetensors && echo written)" "symbolic link written" "a link to nothing yet too"
mkdir sub; : >sub/t; ln -s t sub/rel
train --train steps=2 --out sub/rel >out 2>&1
same "$(stat -c %F sub/rel) $(cmp sub/t plain.safetensors && echo written)" "symbolic link written" "a link counts from its own folder"
mkfifo fifo
check "a FIFO is refused before the training" 2 "is a FIFO" timeout 30 "$H" train m.yaml $B --train steps=100000000 --out fifo
same "$(stat -c %F fifo)" fifo "and stays"
device=/dev/null # a device of our own where we could replace that of the machine
[ "$(id -u)" != 0 ] || { mknod null c 1 3 2>/dev/null && device=null; } || device=
if [ -n "$device" ]; then
  train --train steps=2 --out $device >out 2>&1; rc=$?
  same "$rc $(stat -c %F $device)" "0 character special file" "a device is written, not replaced"
else echo "skip a device: root cannot make one here"; fi
ln -s /proc/self/fd/1 stdout # as /dev/stdout
train --train steps=2 --out stdout 2>err | tail -c +9 | head -c 14 >out
same "$(head -c 14 out)" "$(tail -c +9 plain.safetensors | head -c 14)" "what leads to standard output is a pipe into another program"
cp plain.safetensors private; chmod 600 private
train --train steps=2 --out private >out 2>&1
same "$(stat -c %a private)" 600 "a file that is replaced keeps its mode"
same "$(find . -name '*.tmp.*' ! -name 'k.st.*' | wc -l)" 0 "no temporary file is left (but by the kills)"
"$H" run e.yaml --db e.db --threads 1 >out 2>&1
if command -v gnuplot >/dev/null; then
  : >page; ln -s page page.html
  "$H" report e.yaml --db e.db --out page.html >out 2>&1
  same "$(stat -c %F page.html) $(head -c 9 page)" "symbolic link <!DOCTYPE" "report writes behind a link too"
  "$H" report e.yaml --db e.db --out /dev/stdout >stream 2>err
  same "$(head -c 15 stream) $(tail -1 stream) $(ls -d /dev/stdout_files 2>/dev/null)" "<!DOCTYPE html> </main></body></html> " "a page on standard output is that alone"
  ("$H" report e.yaml --db e.db --out /dev/stdout 2>err; echo $? >rc) | head -c 1 >out
  same "$(cat rc) $(cat err)" "141 " "whom nobody reads to the end says nothing"
  check "report over its own page" 0 "page.html" "$H" report e.yaml --db e.db --out page.html
  cp e.yaml mine.yaml
  check "report over its experiment" 2 "is the experiment too" "$H" report mine.yaml --db e.db --out mine.yaml
  check "report over a file of the user" 2 "is no page of hylab" "$H" report e.yaml --db e.db --out mine.yaml
  same "$(cmp e.yaml mine.yaml && echo kept)" kept "which is left as it is"
  check "report into a FIFO" 2 "is a FIFO" timeout 30 "$H" report e.yaml --db e.db --out fifo
  check "report below a file" 2 "there is a file of that name" "$H" report e.yaml --db e.db --out m.yaml/x.html
  check "plot below a file" 2 "there is a file of that name" "$H" plot e.yaml --db e.db --out m.yaml/x
else echo "skip report behind links: no gnuplot"; fi

# ---- tried before the work: one that would take hours is refused at once
long() { timeout 30 "$H" train m.yaml $B --train steps=1000000000 "$@"; }
check "--out below a file" 2 "cannot create folder" long --out m.yaml/x.st
check "--out of an empty name" 2 "name is empty" long --out ""
check "--out of a name that ends in a slash" 2 "name of a folder" long --out a/../x/
check "--out below a file, by way of new folders" 2 "cannot create folder" long --out b/c/../../m.yaml/x.st
mkdir kept; check "--out that is a folder, below new folders" 2 "is a folder" long --out kept/a/b/../../../sub
same "$(ls -d a b x kept/* 2>/dev/null | tr '\n' ' ')" "" "what is refused leaves no folders"
check "--out of a folder" 2 "is a folder" long --out sub
check "--curve below a file" 2 "cannot create folder" long --curve m.yaml/x.csv
check "--curve of a folder" 2 "--curve sub: cannot be written" long --curve sub
check "--db below a file" 2 "cannot create folder" long --db m.yaml/x.db
cp m.yaml mine.yaml
check "--out over a file of the user" 2 "is no checkpoint of hylab" long --out mine.yaml
check "--curve over a file of the user" 2 "is no curve" long --curve mine.yaml
same "$(cmp m.yaml mine.yaml && echo kept)" kept "which are left as they are"
check "--db that is none" 2 "m.yaml" long --db m.yaml
check "a checkpoint that resumes must have a place too" 2 "m.yaml" long --resume m.yaml/r.st
check "eval --db below a file" 2 "cannot create folder" "$H" eval plain.safetensors $T --db m.yaml/x.db
# of these the work would take longer than they are given
cp plain.safetensors no.db
check "bench --db below a file" 2 "cannot create folder" timeout 30 "$H" bench m.yaml --context 4000 --repetitions 1000 --threads 1 --db m.yaml/x.db
check "bench --db that is none" 2 "no.db" timeout 30 "$H" bench m.yaml --context 4000 --repetitions 1000 --threads 1 --db no.db
check "probe --out below a file" 2 "cannot create folder" timeout 30 "$H" probe m.yaml ${T/examples=8/examples=1000000} --prompts 1000000 --out m.yaml/maps
check "run --db of an empty name" 2 "name is empty" "$H" run e.yaml --db ""
"$H" run e.yaml --db :memory: --threads 1 >out 2>&1; rc=$?
same "$rc $(ls ./:memory: 2>/dev/null)" "2 " "a database called :memory: is refused, for SQLite would keep nothing of it"
"$H" run e.yaml --db file:x.db --threads 1 >out 2>&1; rc=$?
same "$rc $(head -c 6 ./file:x.db) $(ls x.db 2>/dev/null)" "0 SQLite " "file:x.db is a file of that name"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null && mkdir ro && chmod 755 "$dir" ro && setpriv --reuid=65534 --clear-groups test -x "$H"; then
  check "a folder that may not be written" 2 "cannot create" timeout 30 setpriv --reuid=65534 --clear-groups "$H" train m.yaml $B --train steps=1000000000 --out ro/x.st
  chmod 444 plain.safetensors
  check "a file that may not be written" 2 "cannot be written" timeout 30 setpriv --reuid=65534 --clear-groups "$H" train m.yaml $B --train steps=1000000000 --out plain.safetensors
  chmod 644 plain.safetensors
elif [ "$(id -u)" != 0 ]; then
  mkdir ro && chmod 555 ro
  check "a folder that may not be written" 2 "cannot create" long --out ro/x.st
else echo "skip a folder that may not be written: root, and nobody else can run here"; fi

# ---- one name for two things: the second would take the place of the first
"$H" train m.yaml $B --train steps=2 --db kept.db >out 2>&1; ln -s kept.db alias.db; cp kept.db kept.copy
check "--out over the database" 2 "is --db too" long --out ./kept.db --db alias.db
check "--curve over the checkpoint, neither there yet" 2 "is --out too" long --out two.st --curve sub/../two.st
check "--curve over what is resumed" 2 "is --resume too" long --resume half.st --out h.st --curve half.st
check "--curve over the database" 2 "is --db too" long --curve kept.db --db kept.db
check "--curve over the model" 2 "is the model too" long --curve m.yaml
check "--out over a variant" 2 "is the model too" long --out m.yaml
check "report over its database" 2 "is the database too" "$H" report e.yaml --db kept.db --out alias.db
check "report over its experiment" 2 "is the experiment too" "$H" report e.yaml --db kept.db --out e.yaml
cmp -s kept.db kept.copy && grep -q "mixer: attention" m.yaml && grep -q "name: e" e.yaml; say $? "nothing of these is written over"
train --train steps=2 --out two.safetensors >out 2>&1
check "weights may replace those that they come from" 0 "checkpoint: two.safetensors" "$H" train --from two.safetensors $B --train steps=2 --out two.safetensors
check "/dev/null may serve twice" 0 "checkpoint: /dev/null" train --train steps=2 --out /dev/null --curve /dev/null

# ---- a disk that is full when the training ends: the weights are somewhere
cat >full.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// Of a file below a folder called "full" no byte can be written.
size_t fwrite(const void *p, size_t size, size_t n, FILE *f) {
    static size_t (*next)(const void *, size_t, size_t, FILE *);
    char link[64], path[4096];
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "fwrite");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fileno(f));
    ssize_t k = readlink(link, path, sizeof path - 1);
    path[k < 0 ? 0 : k] = 0;
    if (strstr(path, "/full/")) { errno = ENOSPC; return 0; }
    return next(p, size, n, f);
}
END
if ! grep -q __asan_init "$H" && gcc -shared -fPIC -o full.so full.c -ldl 2>/dev/null; then
  mkdir full; cp plain.safetensors full/f.st
  train --train steps=30 --train checkpoint_every=10 --out want.st >out 2>&1
  TMPDIR=$dir/sub LD_PRELOAD=$dir/full.so "$H" train m.yaml $B --train steps=30 --train checkpoint_every=10 --out full/f.st >out 2>err; rc=$?
  where=$(sed -n 's/.* is in \(.*\) instead.*/\1/p' err)
  [ $rc = 1 ] && [ -n "$where" ] && cmp -s "$where" want.st; say $? "what does not fit at the end is saved elsewhere, and that is said" "exit $rc, $(tail -1 err)"
  grep -q accuracy out; say $? "its evaluation is printed"
  same "$(grep -c "no checkpoint: .*No space left" err)" 1 "a checkpoint on the way that does not fit is told once"
  cmp -s full/f.st plain.safetensors; say $? "the old file is what it was"
  case $where in "$dir"/*) ;; /tmp/rescued*) rm -f "$where" ;; esac
else echo "skip a full disk at the end: no compiler, or sanitizers"; fi

# ---- what train --out wrote is the model that train --db stored
train --train steps=5 --out db.safetensors --db one.db >out 2>&1
"$H" eval db.safetensors $T --threads 1 --db one.db >out 2>&1
same "$("$H" show sql "SELECT count(*) FROM v_model" --db one.db --format csv | tail -1 | tr -d '\r')" 1 "eval of it measures that model, not another"
train --train steps=5 --seed 2 --out other.safetensors >out 2>&1
"$H" eval other.safetensors $T --threads 1 --db one.db >out 2>&1
same "$("$H" show sql "SELECT count(*) FROM v_model" --db one.db --format csv | tail -1 | tr -d '\r')" 2 "another checkpoint is another model"
train --train steps=5 --seed 3 --db two.db >/dev/full 2>err; rc=$?
same "$rc $("$H" show sql "SELECT count(*) FROM v_model" --db two.db --format csv | tail -1 | tr -d '\r')" "1 1" "what cannot be printed is stored nonetheless"
exit $bad
