#!/usr/bin/env bash
# `hylab submit --go` on a real Slurm that this script starts (tests/slurm/cluster.sh): an array of four of which one task is requeued in the
# middle, one hits its time limit and one is cancelled; submitted again, the merge has what a plain `hylab run` makes.
# It takes some two minutes, mostly waiting for a time limit. REQUIRE_SLURM=1: without Slurm it fails.
set -u
cd "$(dirname "$0")/../.." || exit 1
SOURCE=$PWD/tests/data/runner-tiny.yaml VARIANTS=$PWD/variants
. tests/cli/runner_helpers.sh
. tests/slurm/cluster.sh
trap 'cluster_stop; rm -rf "$dir"' EXIT
HYLAB=$(realpath "$HYLAB")
unset HYLAB_DB
if why=$(cluster_missing); then
  [ "${REQUIRE_SLURM:-}" = 1 ] && no "Slurm is there" "$why" && exit 1
  echo "skip slurm: $why"
  exit 0
fi
for name in $(env | sed -n 's/^\(S\(LURM\|BATCH\|ALLOC\)_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
# what a folder may be called: the log is there, too
mkdir "$dir/slurm" "$dir/100 %a it's" && cd "$dir/100 %a it's" || exit 1
sed "s|../../variants|$VARIANTS|" "$SOURCE" >tiny.yaml
EXP=tiny.yaml
if ! cluster_start "$dir/slurm" 2; then
  for f in "$dir"/slurm/*.log "$dir"/slurm/*.out; do echo "    $f"; tail -n 5 "$f" | sed 's/^/    /'; done
  no "a Slurm of one node starts" "its logs are above"
  exit 1
fi

LONG=(--set train.steps=${STEPS:-8000} --set train.checkpoint_every=100)
state() { scontrol -o show job "$1" 2>/dev/null | sed -n '1s/.*JobState=\([A-Z]*\).*/\1/p'; }
is() { [ "$(state "$1")" = "$2" ]; }
idle() { [ -z "$(squeue -h -o %i)" ]; }
working() { grep -qs '^p' "runs/shards/tiny.$1-of-4.db.work/"*.log; } # task: it has logged steps
saved() { ls "runs/shards/tiny.$1-of-4.db.work" 2>/dev/null | grep -q 'safetensors$'; } # a checkpoint
told() { # process: TERM waits for it
  local pending
  pending=$(awk '/^ShdPnd/ {print $2}' "/proc/$1/status") && [ $((0x${pending:-0} >> 14 & 1)) = 1 ]
}
task_pid() { # of the process that is task K
  local p
  for p in /proc/[0-9]*; do
    [ "$(readlink "$p/cwd")" = "$PWD" ] && tr '\0' ' ' <"$p/cmdline" | grep -q -- "--shard $1/4 \$" && echo "${p#/proc/}"
  done 2>/dev/null
}
need() { # name, command: without it there is no use in going on
  local before=$failed
  failed=0
  check "$@"
  [ $failed = 0 ] && failed=$before && return
  squeue -r
  tail -n 20 runs/shards/*.log
  exit 1
}
submit() { "$HYLAB" submit "$EXP" --tasks 4 --cpus 1 --time 00:05:00 "${LONG[@]}" --go "$@" >"$dir/out" 2>&1; }
status() { "$HYLAB" status "$EXP" "${LONG[@]}" --format csv 2>>"$dir/out" | tr -d '\r' | grep "^$1" | cut -d, -f2-6; }

submit
need "sbatch takes an array and a merge" same "$? $(grep -c '^Submitted job array [0-9]*$' "$dir/out") $(grep -c '^Submitted batch job' "$dir/out")" "0 1 1"
A=$(sed -n 's/^Submitted job array //p' "$dir/out") M=$(sed -n 's/^Submitted batch job //p' "$dir/out")

need "a task begins" cluster_wait 100 saved 2
child=$(child_of "$(task_pid 2)")
kill -STOP "$child" # it cannot end before its time does, nor heed what comes ahead of it
scontrol update JobId="${A}_2" TimeLimit=1
{ cluster_wait 200 told "$child" && touch "$dir/told"; } &
need "another one too" cluster_wait 60 working 1
scontrol requeue "${A}_1"
need "a task that is requeued leaves its place" cluster_wait 30 is "${A}_1" PENDING
check "with a checkpoint" same "$(sql runs/shards/tiny.1-of-4.db "SELECT status, steps > 0 FROM model")" "interrupted,1"
need "the next one begins" cluster_wait 60 working 3
check "status sees who is at work" same "$(status runs/shards/tiny.3)" "1,0,1,0,0"
scancel "${A}_3"
need "a task is cancelled" cluster_wait 30 is "${A}_3" CANCELLED
check "the merge waits" is "$M" PENDING
run whole.db "${LONG[@]}"
check "the requeued one goes on by itself, and ends" cluster_wait 200 is "${A}_1" COMPLETED
check "it went on from its checkpoint, in the same log" same "$(grep -c 'interrupted after' runs/shards/tiny.1-of-4.log) $(grep -c 'goes on from step [1-9]' runs/shards/tiny.1-of-4.log)" "1 1"
check "the one that nobody disturbed ends" cluster_wait 200 is "${A}_4" COMPLETED
need "the time limit ends the one that did not heed it" cluster_wait 150 is "${A}_2" TIMEOUT
check "which it had been told ahead of time" test -f "$dir/told"
check "its checkpoint stays" saved 2
check "then all is merged, whatever became of the tasks" cluster_wait 60 is "$M" COMPLETED
check "what was done is there" same "$(sql runs/hylab.db "SELECT count(*), sum(status = 'done') FROM model")" "2,2"
check "and status says what is left" same "$(status all)" "4,2,0,0,2"

mkdir "$dir/disk"
TMPDIR=$dir/disk submit --copy-back
check "it is submitted again, to be worked on elsewhere and copied back" same "$?" 0
M=$(sed -n 's/^Submitted batch job //p' "$dir/out")
check "and merged again" cluster_wait 300 is "$M" COMPLETED
check "nothing is left, nobody waits" same "$(status all) $(idle && echo idle)" "4,4,0,0,0 idle"
check "what was cut off went on" same "$(sql runs/hylab.db "SELECT resumes FROM model ORDER BY resumes")" "0
1
1
1"
check "the tasks worked in TMPDIR, where nothing is left" same "$(cat runs/shards/tiny.[1-4]-of-4.log | grep -c "^working on $dir/disk/") $(ls "$dir/disk")" "4 "
check "it is what one run makes, to the bit" same "$(facts runs/hylab.db | cmp - <(facts whole.db) 2>&1)" ""
check "each once" once runs/hylab.db 4
[ $failed = 0 ] || tail -n 20 runs/shards/*.log
pids=("${cluster_pids[@]}")
cluster_stop
check "Slurm's processes are gone" same "$(for p in "${pids[@]}"; do kill -0 "$p" 2>/dev/null && echo "$p"; done)" ""
exit $failed
