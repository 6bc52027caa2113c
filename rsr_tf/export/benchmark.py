"""Measure exported networks: file size, latency and accuracy of each export format.

All measurements use the exported file itself, reloaded.
"""

import gzip
import io
import tarfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from rsr_tf.attacks.losses import is_correct
from rsr_tf.evaluation import Score, as_model_fn, build_attacks
from rsr_tf.evaluation.model_fn import in_batches
from rsr_tf.layers.conversion import in_float32, strip

WARM_UP = 3
"""Calls before the measurement, in which graphs are traced and buffers are allocated."""


def dense_bytes(model):
    """Return the bytes of a network's weights as dense float32 arrays: kernels, biases and normalization, no noise.

    Args:
        model: a functional or Sequential Keras model.

    Returns:
        An integer.
    """
    return 4 * sum(int(np.prod(variable.shape)) for variable in strip(model).weights)


def file_sizes(path):
    """Return the size of a file or of all files of a folder, plain and gzipped (a folder as one tar file).

    Args:
        path: string or path of the file or folder.

    Returns:
        A dict with `"bytes"` and `"gzip_bytes"`, integers.
    """
    path = Path(path)
    if path.is_file():
        content = path.read_bytes()
        return {"bytes": len(content), "gzip_bytes": len(gzip.compress(content))}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(path, arcname=path.name)
    return {
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "gzip_bytes": len(buffer.getvalue()),
    }


def latencies(functions, images, *, seconds=1.0, least=10):
    """Measure the latency of one call of each of several functions, in alternation.

    The functions are called in turn, in rounds. A machine whose speed drifts then slows all of them alike, so the ratio
    of two latencies of the same round is more reliable than that of the medians. Each timed call follows an untimed
    call of the same function, as the previous function has left its data in the caches.

    Args:
        functions: dict from name to a function from images to logits.
        images: float32 `(n, h, w, c)`; n is the batch size.
        seconds: float, total time of the timed calls of a function, averaged over the functions. Defaults to 1.
        least: integer, minimum number of rounds. Defaults to 10.

    Returns:
        A dict from name to a float array `(rounds,)` in seconds; entries of equal index are from the same round.
    """
    images = tf.constant(images)
    for _ in range(WARM_UP):
        for function in functions.values():
            np.asarray(function(images))
    rounds, total = [], 0.0
    while len(rounds) < least or total < seconds * len(functions):
        rounds.append([_seconds(function, images) for function in functions.values()])
        total += sum(rounds[-1])
    return dict(zip(functions, np.transpose(rounds), strict=True))


def _seconds(function, images):
    """Return the time of the second of two calls, in seconds."""
    np.asarray(function(images))
    started = time.perf_counter()
    np.asarray(function(images))
    return time.perf_counter() - started


def spread(values):
    """Return median and quartiles of an array as a dict with `"median"` and `"quartiles"`, JSON-serializable."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return {"median": median, "quartiles": [low, high]}


def transferred_images(model, images, labels, *, epsilon, step_size, steps, repeats, batch_size):
    """Compute PGD images on the stripped network in float32, for exported networks that have no gradients.

    Args:
        model: the Keras model that was exported.
        images, labels, epsilon, step_size, steps, repeats, batch_size: as for `rsr_tf.evaluation.evaluate_whitebox`.

    Returns:
        A list of `repeats` float32 arrays of the shape of `images`, each from a different random start.
    """
    network = as_model_fn(in_float32(strip(model)))
    attack = tf.function(build_attacks(network, epsilon=epsilon, step_size=step_size, steps=steps)["pgd"])
    craft = in_batches(attack, batch_size=min(batch_size, len(images)))
    return [craft(images, labels) for _ in range(repeats)]


def accuracy(function, sets, labels, *, batch_size):
    """Return the accuracy of an exported network on several sets of images with the same labels.

    Args:
        function: function from images to logits.
        sets: list of float32 arrays `(n, h, w, c)`.
        labels: integers `(n,)`.
        batch_size: integer, number of images of one call.

    Returns:
        A `rsr_tf.evaluation.Score` with the accuracy on each set.
    """
    correct = in_batches(lambda x, y: is_correct(function(x), y), batch_size=min(batch_size, len(labels)))
    return Score(tuple(float(np.mean(correct(images, labels))) for images in sets), len(labels))


def format_table(content):
    """Return the content of `artefacts.json` as a text table.

    The column `faster` is the speedup over the network before pruning, at batch size 128; with `?` if its quartiles
    are so far apart that the machine was busy.

    Args:
        content: dict, as `rsr artefacts` writes it.

    Returns:
        A string.
    """
    heads = {"bytes": 12, "of dense": 9, "gzipped": 12, "ms, 1": 9, "ms, 128": 9, "faster": 8, "clean": 8, "PGD": 8}
    lines = [" " * 24 + "".join(head.rjust(width) for head, width in heads.items())]
    first = next(iter(content["networks"]))
    for name, network in content["networks"].items():
        lines.append(f"{name}, {network['sparsity']:.1%} zeros, dense float32 weights {network['dense_bytes']:,} bytes")
        for title, entry in network["artefacts"].items():
            one, many = (1000 * entry["latency"][batch]["median"] for batch in ("1", "128"))
            speedup = {} if name == first else content["speedup"].get(title, {})  # of a file that both networks have
            faster = _shown_speedup(speedup["128"]) if speedup else ""
            clean, attacked = (entry["scores"][attack]["mean"] for attack in ("clean", "pgd"))
            lines.append(
                f"  {title:<22}{entry['bytes']:>12,}{entry['bytes'] / network['dense_bytes']:>9.1%}"
                f"{entry['gzip_bytes']:>12,}{one:>9.2f}{many:>9.1f}{faster:>8}{clean:>8.1%}{attacked:>8.1%}"
            )
    return "\n".join(lines)


def _shown_speedup(spread):
    return f"{spread['median']:.2f}" + ("?" if spread.get("unstable") else "")
