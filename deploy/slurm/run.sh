#!/bin/bash
# One `kedro run` as a job. Preempted or out of time, it is queued again and goes on where it was.
# In the project's folder:
#
#   sbatch [options of sbatch] deploy/slurm/run.sh <params> [options of kedro run]
#   sbatch --gpus=1 --cpus-per-task=8 deploy/slurm/run.sh voc_root=/data/VOC2012 --env voc
#
#SBATCH --job-name=affinitynet
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
set -euo pipefail
export PATH="$PWD/.venv/bin:$PATH"

params=$1
shift
if ((${SLURM_RESTART_COUNT:-0} > 0)); then
    params+=,resume=true
fi
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1 # two minutes before the time limit

kedro run "$@" --params "$params" &
wait $!
