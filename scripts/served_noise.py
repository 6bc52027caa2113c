"""What does it cost that the noise of a SavedModel comes from the operating system at every call?

    python scripts/served_noise.py [--seconds 5] [--json FILE]

Exports two networks with their first weights twice: as the package does, and with the operation that seeds itself,
which can be foretold. The signatures `serve` of both are called in alternation; reported are the median and the
quartiles of the latency, of the ratio within a round, and of the milliseconds that are added.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import rsr_tf
from benchmark import machine
from rsr_tf.export.benchmark import latencies, spread
from rsr_tf.layers.noise import tflite_normal
from rsr_tf.layers.noisy_layer import FRESH, UNSEEDED


def served(network, path):
    rsr_tf.export_saved_model(network, path)
    return tf.saved_model.load(str(path))


def measure(network, batch, seconds):
    """Latencies of a network with either noise, in milliseconds."""
    pixels = np.random.default_rng(0).uniform(size=(batch, *network.input_shape[1:])).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        after = served(network, Path(folder) / "after")
        secure, UNSEEDED[FRESH] = UNSEEDED[FRESH], tflite_normal
        before = served(network, Path(folder) / "before")
        UNSEEDED[FRESH] = secure
        times = latencies({"before": before.serve, "after": after.serve}, pixels, seconds=seconds)
    return {
        **{f"milliseconds_{name}": spread(1000 * values) for name, values in times.items()},
        "ratio": spread(times["after"] / times["before"]),
        "milliseconds_added": spread(1000 * (times["after"] - times["before"])),
        "rounds": len(times["after"]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5, help="time of the timed calls of one signature")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    networks = {"small_cnn": rsr_tf.models.small_cnn(), "resnet20": rsr_tf.models.resnet20()}
    results = {
        f"{name}, batch {batch}": measure(network, batch, options.seconds)
        for name, network in networks.items()
        for batch in (1, 128)
    }
    text = json.dumps({"machine": machine(), "seed": 0, "latency": results}, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
