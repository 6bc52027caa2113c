#!/usr/bin/env bash
# Write everything that job.py needs into a folder: scripts/accelerator/prepare.sh DATA_DIRECTORY FOLDER [NETWORK ...]
# It has to fit into what can be carried, so the images are there once, and large weights are left out where only the
# time of a step is asked for.
set -euo pipefail
data=$(realpath "$1") && folder=$2 && shift 2
lower() { python "$(dirname "$0")/lower.py" paper/resnet20_rsr "$@" --set data.directory="$data"; }
lower "$folder" --parts data
for precision in float32 bfloat16; do
    policy=${precision/bfloat16/mixed_bfloat16}
    for batch in 128 512; do
        for network in "${@:-resnet20}"; do
            timing=--timing
            if [ "$network $batch" = "resnet20 128" ]; then timing=; fi
            lower "$folder/${network}_${precision}_$batch" --parts program $timing --set model.name="$network" \
                --set training.batch_size="$batch" --set training.precision="$policy"
        done
    done
done
lower "$folder/train_pgd" --parts program --set model.noise=none --set model.lasso=0 \
    --set training.precision=mixed_bfloat16
