#!/bin/bash
# Train by N processes on this host, such as one for each CPU socket; start them again if one of them dies.
#
#     scripts/launchers/one_host.sh N rsr run CONFIG --set 'training.devices="all"'
#
# For the GPUs of one host a single process is enough and simpler. The logs of worker I are in worker-I.log.
set -u
count=$1
shift
port=${RSR_PORT:-2222}
tries=${RSR_TRIES:-10}

workers=$(for ((i = 0; i < count; i++)); do printf '%s"localhost:%d"' "${comma:-}" $((port + i)); comma=,; done)
for ((try = 1; try <= tries; try++)); do
    pids=()
    for ((i = 0; i < count; i++)); do
        TF_CONFIG="{\"cluster\": {\"worker\": [$workers]}, \"task\": {\"type\": \"worker\", \"index\": $i}}" \
            "$@" >>"worker-$i.log" 2>&1 &
        pids+=($!)
    done
    worst=0 lost=0
    for pid in "${pids[@]}"; do
        wait "$pid"
        code=$?
        ((code == 75 || code > 128)) && lost=1
        ((code > worst)) && worst=$code
    done
    ((worst == 0)) && exit 0
    # 75: another process was lost; above 128: this one was killed. Any other code is a mistake that would come again
    ((lost)) || exit "$worst"
    echo "a process was lost (try $try of $tries): starting all again" >&2
done
exit "$worst"
