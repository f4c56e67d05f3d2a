# shellcheck shell=bash
# cluster.sh - a Slurm cluster of one node on this machine: munged, slurmctld and slurmd as processes of whoever sources this, with keys,
# sockets, ports, state and logs of their own in one folder. They listen on 127.0.0.1 only and end with the script that started them.
#   cluster_missing              prints which programs are missing; status 1: none is
#   cluster_start FOLDER CPUS    SLURM_CONF is then set for sbatch, squeue, scontrol, scancel; status 1 (and logs in FOLDER): it did not start
#   cluster_stop                 call it in a trap on EXIT
cluster_pids=()

cluster_missing() {
  local p missing=
  for p in munged mungekey slurmctld slurmd sbatch scontrol squeue scancel; do
    PATH=$PATH:/usr/sbin command -v $p >/dev/null || missing="$missing $p"
  done
  [ -n "$missing" ] && echo "no$missing (Debian: munge slurmctld slurmd slurm-client; make test-slurm installs them)"
}

cluster_ports() { # two that nobody listens on
  local p n=0 hex
  for ((p = 20000 + $$ % 10000; n < 2; p++)); do
    printf -v hex ':%04X' "$p"
    awk '$4 == "0A" {print $2}' /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "$hex\$" && continue
    printf '%d ' "$p"
    n=$((n + 1))
  done
  echo
}

cluster_conf() { # folder, cpus, ports of slurmctld and slurmd
  local host
  host=$(hostname -s)
  cat <<END
ClusterName=hylab-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$3
SlurmdPort=$4
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
# cred_expire is also how long a requeued job waits
AuthInfo=socket=$1/munge/socket,cred_expire=5
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
StateSaveLocation=$1/state
SlurmdSpoolDir=$1/spool
SlurmctldPidFile=$1/slurmctld.pid
SlurmdPidFile=$1/slurmd.pid
SlurmctldLogFile=$1/slurmctld.log
SlurmdLogFile=$1/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/builtin
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MinJobAge=600
KillWait=10
MaxArraySize=1001
NodeName=$host NodeAddr=127.0.0.1 CPUs=$2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
END
}

cluster_wait() { # seconds, command: until it succeeds
  local i tries=$(($1 * 10))
  shift
  for ((i = 0; i < tries; i++)); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  return 1
}

cluster_start() {
  local at=$1 ctld d
  PATH=$PATH:/usr/sbin
  mkdir -p "$at/munge" "$at/state" "$at/spool" && chmod 755 "$at" "$at/munge" || return 1
  read -r ctld d < <(cluster_ports)
  cluster_conf "$at" "$2" "$ctld" "$d" >"$at/slurm.conf"
  mungekey -c -k "$at/munge/key" || return 1
  setpriv --pdeathsig TERM munged -F --force -S "$at/munge/socket" --key-file="$at/munge/key" --pid-file="$at/munge/pid" --seed-file="$at/munge/seed" \
    --num-threads=2 >"$at/munged.log" 2>&1 &
  cluster_pids+=($!)
  export SLURM_CONF=$at/slurm.conf
  cluster_wait 20 munge -n -S "$at/munge/socket" || return 1
  setpriv --pdeathsig TERM slurmctld -D -f "$SLURM_CONF" >"$at/slurmctld.out" 2>&1 &
  cluster_pids+=($!)
  cluster_wait 30 scontrol ping || return 1
  setpriv --pdeathsig TERM slurmd -D -f "$SLURM_CONF" >"$at/slurmd.out" 2>&1 &
  cluster_pids+=($!)
  cluster_wait 30 sh -c "sinfo -h -o %t | grep -qx idle"
}

# Jobs first: their processes are children of slurmstepd, which outlives slurmd.
cluster_stop() {
  local pid i
  [ ${#cluster_pids[@]} = 0 ] && return
  scancel --partition=main 2>/dev/null
  cluster_wait 20 sh -c '[ -z "$(squeue -h -o %i)" ]'
  for ((i = ${#cluster_pids[@]} - 1; i >= 0; i--)); do kill "${cluster_pids[i]}" 2>/dev/null; done
  for pid in "${cluster_pids[@]}"; do
    cluster_wait 10 sh -c "! kill -0 $pid" || kill -9 "$pid"
    wait "$pid" 2>/dev/null
  done
  cluster_pids=()
}
