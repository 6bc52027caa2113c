#!/usr/bin/env bash
# Write everything that job.py needs into a folder: scripts/accelerator/prepare.sh DATA_DIRECTORY FOLDER
# It has to fit into what can be carried, so the images are there once, and large weights are left out where only the
# time of a step is asked for.
set -euo pipefail
data=$(realpath "$1") && folder=$2
lower() { python "$(dirname "$0")/lower.py" paper/resnet20_rsr "$@" --set data.directory="$data"; }
train() { lower "$folder/train_$1" --parts program --steps-per-call 0 --set training.precision=mixed_bfloat16 "${@:2}"; }
lower "$folder" --parts data
train 1_rsr
train 2_pgd --set model.noise=none --set model.lasso=0
train 3_cni --set model.lasso=0
train 4_lasso --set model.noise=none
for precision in float32 bfloat16; do
    for batch in 128 512; do
        for network in resnet20 resnet18; do
            lower "$folder/${network}_${precision}_$batch" --parts program --timing --steps-per-call "$((batch == 128 ? 25 : 31))" \
                --set model.name="$network" --set training.batch_size="$batch" \
                --set training.precision="${precision/bfloat16/mixed_bfloat16}"
        done
    done
done
