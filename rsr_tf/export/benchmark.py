"""What a network weighs and costs as a file: the files that can be made of it, their bytes, latency and accuracy.

Everything is measured on the artefact itself: it is written, read again, and asked.
"""

import gzip
import io
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.attacks.losses import is_correct
from rsr_tf.evaluation import Score, as_model_fn, build_attacks
from rsr_tf.evaluation.model_fn import in_batches
from rsr_tf.export.compact import load_compact, save_compact
from rsr_tf.export.saved_model import export_saved_model
from rsr_tf.export.tflite import TFLiteNetwork, export_tflite
from rsr_tf.layers import noisy_layers
from rsr_tf.layers.conversion import in_float32, strip

WARM_UP = 3
"""Calls before the clock starts: a graph is traced, buffers are laid out."""


@dataclass(frozen=True)
class Artefact:
    """A kind of file that a network can be shipped as.

    Args:
        title: what it is called in a table.
        file: its name.
        runtime: `"TensorFlow"` or `"TFLite"`.
        write: `(model, path)`, for the network as trained.
        load: from the path to a function from images to logits.
        noisy: whether what is loaded draws noise.
    """

    title: str
    file: str
    runtime: str
    write: Callable
    load: Callable
    noisy: bool = False


def artefacts_of(model, *, calibration):
    """The kinds of file that a network can be shipped as; those with noise only if it has some.

    Args:
        model: a functional or Sequential Keras model with one input and one output.
        calibration: training images for int8; see `rsr_tf.tflite.export_tflite`.

    Returns:
        A list of `Artefact` with different titles.
    """
    stripped = [
        _keras("Keras file", "stripped.keras", lambda model, path: strip(model).save(path)),
        _saved_model("SavedModel", "serve_deterministic"),
        _compact("compact archive", "stripped.rsrz", lambda model, path: save_compact(strip(model), path)),
        _tflite("TFLite float32", "float32.tflite"),
        _tflite("TFLite float32, sparse", "float32_sparse.tflite", sparse=True),
        _tflite("TFLite int8", "int8.tflite", calibration=calibration),
    ]
    noisy = [
        _keras("Keras file as trained", "noisy.keras", lambda model, path: model.save(path), noisy=True),
        _saved_model("SavedModel, noisy", "serve", noisy=True),
        _compact("compact archive, noisy", "noisy.rsrz", save_compact, noisy=True),
        _tflite("TFLite float32, noisy", "noisy.tflite", noise=True),
    ]
    return stripped + (noisy if any(layer.alpha is not None for layer in noisy_layers(model)) else [])


def _keras(title, file, write, **options):
    def load(path):
        return as_model_fn(keras.models.load_model(path, compile=False))

    return Artefact(title, file, "TensorFlow", write, load, **options)


def _saved_model(title, endpoint, **options):
    def load(path):
        loaded = tf.saved_model.load(path)
        return lambda images: getattr(loaded, endpoint)(images)  # holds `loaded`, and with it the variables

    return Artefact(title, "saved_model", "TensorFlow", export_saved_model, load, **options)


def _compact(title, file, write, **options):
    def load(path):
        return as_model_fn(load_compact(path))

    return Artefact(title, file, "TensorFlow", write, load, **options)


def _tflite(title, file, **options):
    def write(model, path):
        export_tflite(model, path, **options)

    return Artefact(title, file, "TFLite", write, TFLiteNetwork, noisy=options.get("noise", False))


def dense_bytes(model):
    """What the weights of a network take in float32, one after the other: kernels, biases, normalization; no noise."""
    return 4 * sum(int(np.prod(variable.shape)) for variable in strip(model).weights)


def file_sizes(path):
    """Bytes of a file, or of all files of a folder, as they are and gzipped (a folder as one tar file).

    Returns:
        A dict with `"bytes"` and `"gzip_bytes"`.
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
    """How long one call of each of several functions takes, side by side.

    The functions are called in turn, round after round, so that a machine whose speed drifts is slow for all of them,
    and the ratio of two of them within a round can be trusted further than that of their medians. Before each call
    that is timed comes one that is not, as the function before has left its own data in the caches.

    Args:
        functions: dict from name to a function from images to logits.
        images: float32 `(n, h, w, c)`; n is the batch size.
        seconds: for how long to time each function, on average over all. Defaults to 1.
        least: number of rounds at least. Defaults to 10.

    Returns:
        A dict from name to float `(rounds,)`, seconds; the same index is the same round.
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
    np.asarray(function(images))
    started = time.perf_counter()
    np.asarray(function(images))
    return time.perf_counter() - started


def spread(values):
    """Median and quartiles of some numbers, as plain values."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return {"median": median, "quartiles": [low, high]}


def transferred_images(model, images, labels, *, epsilon, step_size, steps, draws, batch_size):
    """PGD images for artefacts that have no gradients: crafted on the stripped network in float32.

    Args:
        model: the Keras model that the artefacts were made of.
        images, labels, epsilon, step_size, steps, draws, batch_size: as for `rsr_tf.evaluation.evaluate_whitebox`.

    Returns:
        A list of `draws` float32 arrays of the shape of `images`, each from another random start.
    """
    network = as_model_fn(in_float32(strip(model)))
    attack = tf.function(build_attacks(network, epsilon=epsilon, step_size=step_size, steps=steps)["pgd"])
    craft = in_batches(attack, batch_size=min(batch_size, len(images)))
    return [craft(images, labels) for _ in range(draws)]


def accuracy(function, sets, labels, *, batch_size):
    """Accuracy of an artefact on several sets of images with the same labels.

    Args:
        function: from images to logits.
        sets: list of float32 arrays `(n, h, w, c)`.
        labels: integers `(n,)`.
        batch_size: images asked at once.

    Returns:
        A `rsr_tf.evaluation.Score` with the accuracy on each set.
    """
    right = in_batches(lambda x, y: is_correct(function(x), y), batch_size=min(batch_size, len(labels)))
    return Score(tuple(float(np.mean(right(images, labels))) for images in sets), len(labels))


def format_table(content):
    """The content of `artefacts.json` as a table of text; `faster`: than before pruning, at batch 128."""
    heads = {"bytes": 12, "of dense": 9, "gzipped": 12, "ms, 1": 9, "ms, 128": 9, "faster": 8, "clean": 8, "PGD": 8}
    lines = [" " * 26 + "".join(head.rjust(width) for head, width in heads.items())]
    first = next(iter(content["networks"]))
    for name, network in content["networks"].items():
        lines.append(f"{name}, {network['sparsity']:.1%} zeros, dense float32 weights {network['dense_bytes']:,} bytes")
        for title, entry in network["artefacts"].items():
            one, many = (1000 * entry["latency"][batch]["median"] for batch in ("1", "128"))
            faster = "" if name == first else f"{content['speedup'][title]['128']['median']:.2f}"
            clean, attacked = (entry["scores"][attack]["mean"] for attack in ("clean", "pgd"))
            lines.append(
                f"  {title:<24}{entry['bytes']:>12,}{entry['bytes'] / network['dense_bytes']:>9.1%}"
                f"{entry['gzip_bytes']:>12,}{one:>9.2f}{many:>9.1f}{faster:>8}{clean:>8.1%}{attacked:>8.1%}"
            )
    return "\n".join(lines)
