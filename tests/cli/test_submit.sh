#!/usr/bin/env bash
# `hylab submit`: what a batch system is given, checked by stand-ins that keep it and by running it: the parts merged are what one run
# makes.
set -u
cd "$(dirname "$0")/../.." || exit 1
EXP_LATER=$PWD/tests/data/runner-tiny.yaml
. tests/cli/runner_helpers.sh
EXP=$EXP_LATER
ROOT=$PWD
HYLAB=$(realpath "$HYLAB")
unset HYLAB_DB SLURM_ARRAY_TASK_ID
mkdir "$dir/it's a %j folder" "$dir/bin" "$dir/got"
cd "$dir/it's a %j folder" || exit 1
cat >"$dir/bin/sbatch" <<END
#!/bin/sh
n=\$((\$(ls "$dir/got" | wc -l) / 2 + 1))
cat >"$dir/got/\$n.script"
echo "\$*" >"$dir/got/\$n.args"
[ \$# = 0 ] || case "\$*" in *--parsable*) echo "\$((100 + n));cluster" ;; *) echo "Submitted batch job \$n" ;; esac
END
printf '#!/bin/sh\ncat >"%s/pbs.$$"\necho "7[].server"\n' "$dir" >"$dir/bin/qsub"
chmod +x "$dir/bin/sbatch" "$dir/bin/qsub"
submit() { PATH=$dir/bin:$PATH "$HYLAB" submit "$EXP" "$@" >"$dir/out" 2>"$dir/err"; }
has() { grep -qF -- "$1" "$2" || { echo "    no \"$1\" in:"; sed 's/^/    /' "$2"; return 1; }; }
G=$dir/got

submit --tasks 2 --set "question='what''s it?'" --cpus 1 --time 00:10:00 --mem 2G --partition short --after 17
check "printing starts nothing" same "$? $(ls "$G" | wc -l)" "0 0"
cp "$dir/out" "$dir/printed.sh"
submit --tasks 2 --set "question='what''s it?'" --cpus 1 --time 00:10:00 --mem 2G --partition short --after 17 --go
check "--go gives an array and a merge to sbatch" same "$? $(ls "$G" | tr '\n' ' ')" "0 1.args 1.script 2.args 2.script "
for line in '#SBATCH --array=1-2' '#SBATCH --time=00:10:00' '#SBATCH --cpus-per-task=1' '#SBATCH --mem=2G' '#SBATCH --partition=short' \
  '#SBATCH --dependency=afterany:17' '#SBATCH --signal=B:TERM@60' '#SBATCH --requeue' '#SBATCH --open-mode=append'; do
  check "the array has $line" has "$line" "$G/1.script"
done
check "the merge waits for all tasks, however they end" same "$(cat "$G/2.args")" "--dependency=afterany:101 --output=$dir/it's a %%j folder/runs/shards/tiny.merge.log"
check "logs lie beside the shards, whatever the folder is called" same "$(cat "$G/1.args")" "--parsable --output=$dir/it's a %%j folder/runs/shards/tiny.%a-of-2.log"
check "the numbers of the array are told, and of the merge" same "$(cat "$dir/out")" "Submitted job array 101
Submitted batch job 2"
(cd / && SLURM_ARRAY_TASK_ID=2 sh "$G/1.script" && SLURM_ARRAY_TASK_ID=1 sh "$G/1.script" && sh "$G/2.script") >"$dir/out" 2>&1
check "its tasks run in any order, then the merge" same "$? $(ls runs/shards/*.db | tr '\n' ' ')" "0 runs/shards/tiny.1-of-2.db runs/shards/tiny.2-of-2.db "
"$HYLAB" run "$EXP" --threads 1 --db whole.db >"$dir/out" 2>&1
check "which makes what one run makes" same "$(facts runs/hylab.db | cmp - <(facts whole.db) 2>&1)" ""
check "with its options, whatever they hold" same "$(sql runs/hylab.db "SELECT question FROM experiment")" "what's it?"
rm -f "$G"/*
PATH=$dir/bin:$PATH sh "$dir/printed.sh" >"$dir/out" 2>&1
check "what was printed does the same" same "$? $(ls "$G" | wc -l) $(cat "$G/2.args")" "0 4 --dependency=afterany:101 --output=$dir/it's a %%j folder/runs/shards/tiny.merge.log"
rm -f "$G"/*
submit --tasks 2500 --go
check "more tasks than an array may have are several" same "$? $(grep -h -- --array "$G"/*.script | tr '\n' ' ')" "0 #SBATCH --array=1-1000 #SBATCH --array=1-1000 #SBATCH --array=1-500 "
check "with their own parts" same "$(grep -ho 'TASK_ID + [0-9]*))/2500' "$G"/*.script | tr '\n' ' ')" "TASK_ID + 0))/2500 TASK_ID + 1000))/2500 TASK_ID + 2000))/2500 "
check "the merge waits for all of them" same "$(cut -d' ' -f1 "$G/4.args")" "--dependency=afterany:101:102:103"
check "and logs" same "$(grep -ho 'tiny\.[^/]*log' "$G"/*.args | tr '\n' ' ')" "tiny.%a-of-2500.log tiny.1000+%a-of-2500.log tiny.2000+%a-of-2500.log tiny.merge.log "
rm -f "$G"/*
lead() { submit --tasks 1 "$@"; sed -n 's/^#SBATCH --signal=B:TERM@//p' "$dir/out"; }
check "a task hears of its end two minutes before, of a short one a tenth" same "$(lead) $(lead --time 1) $(lead --time 3:20) $(lead --time 2-0) $(lead --time 0-0:10) $(lead --time 00:10:30) $(lead --time infinite)" \
  "120 6 20 120 60 63 120"
submit --tasks 1
check "without --cpus it has as many threads as Slurm gives it" same "$(grep -c -- "--threads \"\${SLURM_CPUS_ON_NODE:-1}\" --shard" "$dir/out")" 1
mkdir 'back\slash'
bad "a folder that Slurm cannot write a log to" "with a backslash" "$HYLAB" submit "$EXP" --tasks 2 --db 'back\slash/r.db'
check "and the others can" "$HYLAB" submit "$EXP" --tasks 2 --db 'back\slash/r.db' --for parallel
submit --tasks 3 --for parallel
check "lines for GNU parallel" same "$? $(grep -c -- "--shard [123]/3$" "$dir/out")" "0 3"
check "each of which runs" sh -c "$(sed -n 3p "$dir/out") >'$dir/err' 2>&1"
submit --tasks 3 --for ssh --hosts one,two
check "lines for ssh" same "$? $(grep -c "^ssh 'one' .*shard 1/3.*shard 3/3" "$dir/out") $(grep -c "^ssh 'two' .*shard 2/3" "$dir/out")" "0 1 1"
submit --tasks 3 --for pbs --db "else where/r.db"
cp "$dir/out" "$dir/pbs.sh"
PATH=$dir/bin:$PATH sh "$dir/pbs.sh" >"$dir/out" 2>&1
check "an array for PBS" same "$? $(cat "$dir"/pbs.[0-9]* | grep -c '^#PBS -J 1-3')" "0 1"
bad "no number of tasks" "into how many parts" "$HYLAB" submit "$EXP"
bad "a word that is none" "one word for the batch system" "$HYLAB" submit "$EXP" --tasks 2 --time '1; rm x'
bad "an unknown system" "there are slurm, pbs, parallel, ssh" "$HYLAB" submit "$EXP" --tasks 2 --for lsf
# ---- the two commands of the README
rm -f "$G"/*
readme() { sed -n '/^## Beyond one machine/,/^## How/p' "$ROOT/README.md" | grep "^    ./hylab $1"; }
beyond() { (cd "$ROOT" && PATH=$dir/bin:$PATH HYLAB_DB=$dir/beyond/r.db sh -c "hylab() { '$HYLAB' \"\$@\"; }; $(readme "$1" | sed 's|./hylab|hylab|')" >"$dir/out" 2>"$dir/err"); }
beyond submit
check "the README's submit gives eight tasks and a merge" same "$? $(cat "$G"/*.script | grep -c -- '--array=1-8\|/8"$') $(ls "$G" | wc -l)" "0 2 4"
beyond status
check "its status knows where they will be" same "$? $(grep -c "$dir/beyond/shards: no databases roadmap.K-of-N.db" "$dir/err")" "2 1"

printf '#!/bin/sh\necho no such partition >&2\nexit 1\n' >"$dir/bin/sbatch"
submit --tasks 2 --go
check "what sbatch refuses is an error" same "$? $(grep -c 'sbatch did not take it' "$dir/err")" "1 1"
exit $failed
