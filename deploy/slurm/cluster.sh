#!/bin/bash
# One `kedro run` on several nodes, which form a Ray cluster as long as the job lasts.
# In the project's folder:
#
#   sbatch --nodes=4 --gpus-per-node=4 deploy/slurm/cluster.sh \
#       data=/shared/data,execution.devices=16,execution.worker_gpus=1 --env voc
#
#SBATCH --job-name=affinitynet
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
export PATH="$PWD/.venv/bin:$PATH"

# Who reaches Ray's ports runs code: let in only who has this job's token.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

params=$1,execution.engine=ray,execution.address=auto
shift
if ((${SLURM_RESTART_COUNT:-0} > 0)); then
    params+=,resume=true
fi

# Ray starts on every node, the command on the first one; when it ends, so does Ray.
head=$(hostname --ip-address | cut -d' ' -f1)
srun ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_ON_NODE" -- kedro run "$@" --params "$params"
