"""Seconds and memory of pruning VGG-16 with its 138 million parameters by one global threshold.

    python scripts/prune_large.py [--stock] [--sparsity 0.8] [--json docs/results/prune_large.json]

Measures how long `rsr_tf.prune` takes, and the resident memory of the process before it and at its peak (Linux).
`--stock` takes the network of keras.applications, which gets its masks meanwhile, in place of this package's.
"""

import argparse
import ctypes
import json
import time
from pathlib import Path

import keras

import rsr_tf


def memory(name):
    """`VmRSS`, the resident memory of this process now, or `VmHWM`, its peak; in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stock", action="store_true", help="the network of keras.applications")
    parser.add_argument("--sparsity", type=float, default=0.8, help="share of weights to prune; 0.8 by default")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    model = keras.applications.VGG16(weights=None) if options.stock else rsr_tf.models.vgg16(head="imagenet")
    weights = 4 * rsr_tf.sparsity_table(model).weights
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what building the network left over is not to be used again
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    started = time.monotonic()
    rsr_tf.prune(model, sparsity=options.sparsity)
    seconds, peak = time.monotonic() - started, memory("VmHWM")
    results = {"network": model.name, "stock": options.stock, "weight_bytes": weights, "seconds": seconds}
    results |= {"memory_before": before, "memory_peak": peak, "sparsity": rsr_tf.sparsity(model)}
    print(f"{model.name}: {weights / 4e6:.1f} M weights, {weights / 2**20:.0f} MiB, pruned in {seconds:.1f} s")
    print(f"resident memory {before / 2**20:.0f} MiB before, at most {peak / 2**20:.0f} MiB meanwhile")
    print(f"in addition {(peak - before) / weights:.2f} times the weights; sparsity {results['sparsity']:.4f}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
