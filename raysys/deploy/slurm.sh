#!/bin/bash
# sbatch slurm.sh RUN --space NAME ...: explores on several nodes, and goes on after preemption and time limits.
# RUN is a path that all nodes share, or an s3:// URI; what follows it is for the run's first start.
# See docs/slurm.md. Yours to fill in: nodes, CPUs, time, and the environment with raysys.
#SBATCH --job-name=raysys
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --open-mode=append
#SBATCH --output=raysys-%j.log
## For GPUs: #SBATCH --gpus-per-node=1, and --gpus-per-trial 0.25 behind RUN: four trials on each

# source /shared/raysys/bin/activate

run=${1:?say which run: sbatch slurm.sh RUN --space NAME ...}
shift
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | sha256sum | cut -c -64) # other users cannot join this job
ip=$(getent ahostsv4 "$SLURMD_NODENAME" | head -n 1 | cut -d ' ' -f 1)
address=$ip:$((20000 + SLURM_JOB_ID % 10000))
temp=$(mktemp -d) # jobs on one node keep out of each other's way: own folder, own port
node=(--num-cpus="$SLURM_CPUS_PER_TASK" --temp-dir="$temp" --block)

# This script runs on the first node: head, driver, teacher and ledger are here, and trials as well.
ray start --head --node-ip-address="$ip" --port="${address#*:}" --include-dashboard=false "${node[@]}" &
head=$!
until ray health-check --address "$address" 2> /dev/null; do
  kill -0 "$head" || exit 6
  sleep 1
done
others=$((SLURM_JOB_NUM_NODES - 1))
if ((others)); then
  srun --nodes="$others" --ntasks="$others" --cpus-per-task="$SLURM_CPUS_PER_TASK" --exclude="$SLURMD_NODENAME" \
    --no-kill --kill-on-bad-exit=0 ray start --address="$address" "${node[@]}" &
  workers=$!
fi

if raysys show "$run" > /dev/null 2>&1; then
  raysys tune --resume "$run" --address "$address" --progress plain &
else
  raysys tune --storage "$(dirname "$run")" --name "$(basename "$run")" "$@" \
    --address "$address" --progress plain &
fi
driver=$!
trap 'taken=yes; kill -TERM "$driver"' TERM # Slurm takes the nodes away: end softly
wait "$driver"
code=$?
if [ "${taken:-}" ]; then # that was the end of the wait, not of the driver
  wait "$driver"
  code=$?
fi
trap '' TERM # from here on there is nothing to save
for part in ${workers:-} "$head"; do # nodes tell the head that they go
  kill "$part"
  wait "$part"
done
rm -rf "$temp"

# A job that was cancelled or preempted is no longer running: there Slurm itself says what comes next.
if [ "${taken:-}" ] && ((code == 143)) && [ "$(squeue --noheader --job "$SLURM_JOB_ID" --format %T)" = RUNNING ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
