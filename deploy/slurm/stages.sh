#!/bin/bash
# The stages as a chain of jobs, each with the resources that it needs. In the project's folder:
#
#   deploy/slurm/stages.sh <params> [options of kedro run]
#   deploy/slurm/stages.sh voc_root=/data/VOC2012 --env voc
#
# A stage reads the newest complete versions of its inputs: one chain at a time in a data folder.
set -euo pipefail
GPU=${GPU---gpus=1 --cpus-per-task=8 --mem=32G --time=12:00:00}
CPU=${CPU---cpus-per-task=16 --mem=32G --time=4:00:00}

params=$1
shift
after=()
while read -r stage resources; do
    # shellcheck disable=SC2086  # several options
    job=$(sbatch --parsable --job-name="$stage" ${!resources} "${after[@]}" \
        deploy/slurm/run.sh "$params" --pipeline "$stage" "$@")
    echo "$job $stage"
    after=(--dependency="afterok:${job%%;*}" --kill-on-invalid-dep=yes)
done <<STAGES
ingestion CPU
cam GPU
affinity_labels CPU
affinity_training GPU
revision GPU
segmentation GPU
export CPU
reporting CPU
STAGES
