#!/usr/bin/env bash
# Databases on network file systems: a rollback journal and one writer at a time, which others are told of; --copy-back, with which a
# shard is worked on elsewhere and loses nothing when it is stopped, killed or robbed of its place. tests/shim/netfs.c makes a folder look
# like a network file system; where bindfs can be mounted the same is tried on a real one (FUSE), and reading on a read-only one.
set -u
cd "$(dirname "$0")/../.." || exit 1
SHIM=$PWD/tests/shim/netfs.c EXP_LATER=$PWD/tests/data/runner-tiny.yaml
. tests/cli/runner_helpers.sh
EXP=$EXP_LATER
HYLAB=$(realpath "$HYLAB")
unset HYLAB_DB
dir=$(realpath "$dir")
fuse=
trap '[ -n "$fuse" ] && fusermount3 -u -z "$fuse" 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
mkdir net disk
export NETFS=$dir/net TMPDIR=$dir/disk
if grep -q __asan_init "$HYLAB" || ! ${CC:-gcc} -shared -fPIC -o netfs.so "$SHIM" -ldl 2>/dev/null; then
  echo "skip netfs: sanitizers want to be loaded first, or there is no compiler"
  exit 0
fi
LONG=(--set train.steps=20000 --set train.checkpoint_every=100 --set seeds=[1])
journal() { od -An -tu1 -j18 -N1 "$1" | tr -d ' '; } # 1: rollback journal, 2: write-ahead log
others() { ls "$1" | grep -vE '\.db$|^models$|\.db\.work$' | tr '\n' ' '; } # what is left beside databases, weights and checkpoints
run whole.db
facts whole.db >whole.facts
check "at home a database has a log" same "$? $(journal whole.db)" "0 2"

# ---- one writer at a time: in folder $1, with $pre before the command
one_writer() {
  local at=$1 name=$2
  env $pre "$HYLAB" run "$EXP" --threads 1 --db "$at/r.db" >out 2>&1
  check "$name: a rollback journal is used, and said" same "$? $(grep -c "on a network file system, $name" out) $(journal "$at/r.db")" "0 1 1"
  check "$name: the results are the same" same "$(facts "$at/r.db" | cmp - whole.facts 2>&1)" ""
  env $pre "$HYLAB" run "$EXP" --threads 1 --db "$at/long.db" "${LONG[@]}" >out.1 2>&1 &
  pid=$!
  wait_for "$at/long.db"
  timeout 60 env $pre "$HYLAB" run "$EXP" --threads 1 --db "$at/long.db" "${LONG[@]}" >out 2>&1
  check "$name: a second one is refused, with a reason" same "$? $(grep -c "long.db: another hylab writes to it ($(hostname), process $pid)" out)" "1 1"
  env $pre "$HYLAB" status "$EXP" --db "$at/long.db" "${LONG[@]}" --format csv >out 2>&1
  check "$name: others may read" same "$? $(grep -c '^[^,]*long.db,2,0,[12],0,[01],' out)" "0 1"
  kill -TERM $pid
  wait $pid
  check "$name: it ends as ever" same "$? $(others "$at")" "130 "
}
pre="LD_PRELOAD=$dir/netfs.so"
one_writer net NFS
pre="LD_PRELOAD=$dir/netfs.so NETFS_TYPE=0x0BD00BD0"
env $pre "$HYLAB" run "$EXP" --threads 1 --db net/lustre.db --only Llama --set seeds=[1] >out 2>&1
check "Lustre is another" same "$? $(grep -c "network file system, Lustre" out)" "0 1"
pre="LD_PRELOAD=$dir/netfs.so"

elsewhere="11111111-1111-1111-1111-111111111111:pid:[4026531836]/77/99 farnode"
again() { env $pre "$HYLAB" run "$EXP" --threads 1 --db net/r.db >out 2>&1; }
echo "$elsewhere" >net/r.db-writer
again
check "another machine's is waited for by hand" same "$? $(grep -c 'another hylab writes to it (farnode, process 77)' out)" "1 1"
touch -d '1 hour ago' net/r.db-writer
again
check "unless it is long gone" same "$? $(others net)" "0 "
echo "${elsewhere/11111111-1111-1111-1111-111111111111/$(cat /proc/sys/kernel/random/boot_id)}" | sed "s|pid:\[[0-9]*\]|$(readlink /proc/self/ns/pid)|" >net/r.db-writer
again
check "or was a process of this machine that is gone" same "$? $(others net)" "0 "

echo "$elsewhere" >net/r.db-writer
{ sleep 0.5; rm net/r.db-writer; } &
again
check "what stores for a moment only is waited for" same "$? $(others net)" "0 "
wait

# ---- worked on elsewhere
back() { env $pre "$HYLAB" run "$EXP" --threads 1 --copy-back --db "$@" >out 2>&1; }
for k in 1 2; do back net/part.$k.db --shard $k/2 --copy-every 1; done
check "--copy-back: a shard comes home" same "$? $(others net) $(ls disk)" "0  "
check "as a file without a log" same "$(journal net/part.1.db)" 1
check "and nobody speaks of a network's locks" same "$(grep -c 'network file system' out)" 0
mkdir got && "$HYLAB" merge got/all.db net/part.?.db >out 2>&1
check "merged they are what one run makes" same "$(facts got/all.db | cmp - whole.facts 2>&1)" ""
check "with all weights" same "$(ls got/models | wc -l) $("$HYLAB" models --db got/all.db --format csv 2>&1 | grep -c missing)" "4 0"
back net/part.1.db --shard 1/2
check "again it has nothing to do" same "$? $(grep -c '2 runs are stored already' out)" "0 1"

begin() { # database, options: pid, once its checkpoint is there and a copy that says so
  env $pre "$HYLAB" run "$EXP" --threads 1 --copy-back --copy-every 1 --db "$@" "${LONG[@]}" >out 2>&1 &
  pid=$!
  for _ in $(seq 1000); do
    [ -f "$1" ] && ls "$1.work" 2>/dev/null | grep -q 'safetensors$' && [ "$(sql "$1" "SELECT status FROM model")" = running ] && return 0
    sleep 0.05
  done
  return 1
}
check "copies come while it works" begin net/cut.db
check "whoever reads it there sees who works" same "$("$HYLAB" status "$EXP" --db net/cut.db "${LONG[@]}" --format csv 2>&1 | tail -1 | cut -d, -f2-6)" "2,0,1,0,1"
timeout 60 "$HYLAB" run "$EXP" --threads 1 --db net/cut.db "${LONG[@]}" >out.2 2>&1
check "who would write there is refused, also where locks are good" same "$? $(grep -c 'another hylab writes to it' out.2)" "1 1"
kill -TERM $pid
wait $pid
check "TERM: the checkpoint and the database are at home" same "$? $(sql net/cut.db "SELECT status, steps > 0 FROM model") $(others net) $(ls disk)" "130 interrupted,1  "
check "it goes on there" begin net/cut.db
check "from its checkpoint" same "$(grep -c 'goes on from step [1-9]' out)" 1
{ kill -KILL $pid; wait $pid; } 2>/dev/null
check "KILL: the last copy is whole" same "$("$HYLAB" doctor --db net/cut.db >out.2 2>&1; echo $?) $(sql net/cut.db "SELECT status FROM model")" "0 running"
back net/cut.db --set train.steps=20000 --set train.checkpoint_every=100 --set seeds=[1] --time-left 3
check "and gone on from by the next one" same "$? $(grep -c 'goes on from step [1-9]' out) $(others net)" "130 1 "
rm -rf disk/*

begin net/robbed.db
echo "$elsewhere" >net/robbed.db-writer
wait $pid
check "robbed of its place it stops, and says where its work is" same "$? $(grep -c "no longer this process's: farnode" out) $(sql disk/hylab-*/robbed.db "SELECT status FROM model")" "1 1 interrupted"
check "what the other one has stays" same "$(cat net/robbed.db-writer)" "$elsewhere"
rm -rf disk/* net/robbed*
bad "a TMPDIR that is not there" "cannot be made" sh -c "TMPDIR=$dir/none $HYLAB run $EXP --copy-back --db net/none.db; [ \$? = 1 ] && exit 2"
cp whole.db logged.db && sqlite3 logged.db "PRAGMA journal_mode = WAL; CREATE TABLE mine(x)" >/dev/null
back logged.db
check "what is at home already is fetched, of whatever kind" same "$? $(grep -c '4 runs are stored already' out) $(sql logged.db "SELECT count(*) FROM mine") $(journal logged.db)" "0 1 0 1"

sqlite3 logged.db "PRAGMA journal_mode = WAL" >out
{ echo "BEGIN; SELECT count(*) FROM mine;"; sleep 30; } | sqlite3 logged.db >reads &
reader=$!
for _ in $(seq 100); do [ -s reads ] && break; sleep 0.1; done
back logged.db
check "but not from under a program that reads its log" same "$? $(grep -c 'another process has it open' out) $(others . | grep -c writer)" "1 1 0"
kill $reader

# ---- submit
env $pre "$HYLAB" submit "$EXP" --tasks 2 --db net/new/r.db >out 2>&1
check "submit proposes it for a network file system" same "$? $(grep -c 'network file system, NFS: .*--copy-back' out)" "0 1"
env $pre "$HYLAB" submit "$EXP" --tasks 2 --db net/new/r.db --copy-back >out 2>&1
check "and hands it on" same "$? $(grep -c 'network' out) $(grep -c -- '--copy-back.* --shard' out)" "0 0 1"

# ---- a real one
mkdir fuse real ro
if ! command -v bindfs >/dev/null || ! bindfs real fuse 2>/dev/null; then
  echo "skip a real network file system: bindfs (Debian: bindfs fuse3) is not there, or may not mount"
  exit $failed
fi
fuse=$dir/fuse pre="FUSE=1"
one_writer fuse FUSE
fusermount3 -u fuse
fuse=
cp whole.db real/logged.db
if bindfs -r real ro; then
  fuse=$dir/ro
  check "an archive that cannot be written to is read" same "$(facts ro/r.db | cmp - whole.facts 2>&1) $(facts ro/logged.db | cmp - whole.facts 2>&1)" " "
  "$HYLAB" merge merged.db ro/r.db >out 2>&1
  check "and merged" same "$? $(facts merged.db | cmp - whole.facts 2>&1)" "0 "
  fusermount3 -u ro
  fuse=
fi
exit $failed
