"""How much faster and smaller is a network without half of its filters?

    python scripts/structured_latency.py [--network resnet20] [--share 0.5] [--batch 128] [--rounds 30] [--json FILE]

Takes a network of this package with its first weights, which decide neither speed nor size, removes the share of its
filters and rebuilds it. Both networks, with noise and stripped of it, then run on one batch in turn; reported are the
median and the spread of the seconds, and of the ratio within a round, so that a machine whose speed drifts does not
matter. Then the bytes of files: `.keras` as trained, with the memory of the optimizer, with noise, and stripped of it;
the compact archive and TFLite, stripped.
"""

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import rsr_tf
from benchmark import machine


def inference(network, batch):
    """A function without arguments that runs the network once on the same batch, and waits for the result."""
    run = tf.function(lambda pixels: network(pixels, training=False), jit_compile=False)
    run(batch)
    return lambda: run(batch).numpy()


def seconds_of(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def interleaved(before, after, rounds):
    """Seconds of two functions, called in turn."""
    for run in (before, after):
        run()
    return [(seconds_of(before), seconds_of(after)) for _ in range(rounds)]


def file_size(write, ending):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"network.{ending}"
        write(file)
        return file.stat().st_size


def as_trained(network):
    """What a run saves: the model that trains, compiled, with the momentum of its optimizer."""
    model = rsr_tf.RSRModel(network.inputs, network.outputs, attack=rsr_tf.attacks.PGD(), name=network.name)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True), loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


def spread(values):
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def latency(before, after, options):
    """Seconds of a batch, and how many times faster the second network is."""
    pixels = np.random.default_rng(0).uniform(size=(options.batch, *before.input_shape[1:])).astype("float32")
    rounds = interleaved(inference(before, pixels), inference(after, pixels), options.rounds)
    return {
        "seconds_before": spread([one for one, _ in rounds]),
        "seconds_after": spread([other for _, other in rounds]),
        "times_faster": spread([one / other for one, other in rounds]),
    }


def sizes(before, after, save=lambda network, path: network.save(path), ending="keras"):
    """Bytes of the files of two networks, and what share of the first the second is."""
    one, other = (file_size(functools.partial(save, network), ending) for network in (before, after))
    return {"before": one, "after": other, "share": other / one}


def weights(network):
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet20", choices=["resnet20", "resnet18", "vgg16", "small_cnn"])
    parser.add_argument("--share", type=float, default=0.5, help="share of the filters to remove; 0.5 by default")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    network = getattr(rsr_tf.models, options.network)()
    whole = rsr_tf.strip(network, fold=True)  # before its filters are zeros, which an archive would not store
    rsr_tf.prune_filters(network, share=options.share)
    small = rsr_tf.rebuild(network)
    stripped = [rsr_tf.strip(each, fold=True) for each in (network, small)]
    results = {
        "trainable_weights": [weights(network), weights(small)],
        "latency": {
            "with noise": latency(network, small, options),
            "stripped": latency(*stripped, options),
        },
        "file_bytes": {
            ".keras as trained": sizes(as_trained(network), as_trained(small)),
            ".keras with noise": sizes(network, small),
            ".keras stripped": sizes(whole, stripped[1]),
            "compact archive": sizes(whole, stripped[1], rsr_tf.save_compact, "rsrz"),
            "TFLite float32": sizes(whole, stripped[1], rsr_tf.export_tflite, "tflite"),
        },
    }
    print(f"{options.network}, share {options.share:g}, batch {options.batch}, {options.rounds} rounds")
    for name, row in results["latency"].items():
        one, other, faster = (row[key] for key in ("seconds_before", "seconds_after", "times_faster"))
        print(
            f"{name:<11} {1e3 * one['median']:7.1f} ms -> {1e3 * other['median']:6.1f} ms: "
            f"{faster['median']:.2f} times faster ({faster['lowest']:.2f} to {faster['highest']:.2f})"
        )
    for name, row in results["file_bytes"].items():
        print(f"{name:<17} {row['before']:>9,} -> {row['after']:>9,} bytes: {row['share']:.1%}")
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key != "json"}
        options.json.write_text(json.dumps({"machine": machine(), **settings, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
