"""A trained network as a SavedModel that serves with and without noise, and says which is which."""

import json
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from rsr_tf.convert import strip, with_fresh_noise
from rsr_tf.layers import noisy_layers

METADATA = "rsr_tf.json"

NOISE_POLICY = (
    "serving_default draws new weight noise at every call and is seeded anew by the operating system in every process: "
    "neither the noise of training nor that of an earlier start can be replayed. serve_deterministic has no noise."
)


def export_saved_model(model, path, *, metadata=None):
    """Write a SavedModel with two signatures, and `rsr_tf.json` beside it with the noise policy.

    `serving_default` (attribute `serve`) is the noisy network, `serve_deterministic` the stripped one. Both take
    float32 `(n, h, w, c)` in [0,1], for any n, and return logits. `tf.saved_model.load` needs no part of this package.
    Noise without a seed does not run in a process that has TensorFlow's op determinism on; `serve_deterministic` does.

    Args:
        model: a noisy Keras model, `RSRModel` included.
        path: folder to write; it must not exist yet.
        metadata: dict of further entries for `rsr_tf.json`.

    Raises:
        ValueError: if `path` exists, or for a subclassed model.

    Example:
        >>> export_saved_model(model, "saved_model")
        >>> logits = tf.saved_model.load("saved_model").serve(pixels)
    """
    path = Path(path)
    if path.exists():
        raise ValueError(f"`path` must not exist yet. Received: path={str(path)!r}")
    is_noisy = any(layer.noise != "none" for layer in noisy_layers(model))
    noisy, deterministic = with_fresh_noise(model), strip(model)
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="pixels")]
    archive = keras.export.ExportArchive()
    for name, network in (("serve", noisy), ("serve_deterministic", deterministic)):
        archive.track(network)
        archive.add_endpoint(name, _inference(network), signature)
    try:
        archive.write_out(str(path), verbose=False)
        policy = NOISE_POLICY if is_noisy else "This network was trained without noise; both signatures are the same."
        entries = {"noisy": is_noisy, "noise_policy": policy, "pixels": [0.0, 1.0], **(metadata or {})}
        (path / METADATA).write_text(json.dumps(entries, indent=2) + "\n")
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def read_metadata(path):
    """The entries of `rsr_tf.json` in a SavedModel folder; an empty dict for a folder without one."""
    file = Path(path) / METADATA
    return json.loads(file.read_text()) if file.exists() else {}


def _inference(network):
    def serve(pixels):
        return network(pixels, training=False)

    return serve
