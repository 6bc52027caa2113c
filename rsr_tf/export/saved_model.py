"""A trained network as a SavedModel that serves with and without noise, and says which is which."""

import hashlib
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.layers import noisy_layers
from rsr_tf.layers.conversion import strip, with_fresh_noise

METADATA = "rsr_tf.json"

NOISE_POLICY = (
    "serving_default draws new weight noise at every call and is seeded anew by the operating system in every process: "
    "neither the noise of training nor that of an earlier start can be replayed. serve_deterministic has no noise."
)


def export_saved_model(model, path, *, metadata=None):
    """Write a SavedModel that serves with and without noise, and `rsr_tf.json` beside it with the noise policy.

    `serving_default` (attribute `serve`) is the noisy network, `serve_deterministic` the stripped one. Both take
    float32 `(n, h, w, c)` in [0,1], for any n, and return logits. `tf.saved_model.load` needs no part of this package.
    What the two have in common, and that is all but noise scales and masks, lies in it once.
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
    module = _served(with_fresh_noise(model), strip(model))
    try:
        signatures = {name: getattr(module, name) for name in ("serve", "serve_deterministic")}
        tf.saved_model.save(module, str(path), signatures={**signatures, "serving_default": module.serve})
        policy = NOISE_POLICY if is_noisy else "This network was trained without noise; both signatures are the same."
        entries = {"noisy": is_noisy, "noise_policy": policy, "pixels": [0.0, 1.0], **(metadata or {})}
        (path / METADATA).write_text(json.dumps(entries, indent=2) + "\n")
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def read_metadata(path):
    """The entries of `rsr_tf.json` in a SavedModel folder.

    Args:
        path: the folder.

    Returns:
        A dict; an empty one for a folder without such a file.

    Raises:
        ValueError: for a file that cannot be read.
    """
    file = Path(path) / METADATA
    if not file.exists():
        return {}
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"cannot read {file}: {error}") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{file} must hold a JSON object. Received: {type(entries).__name__}")
    return entries


def _served(noisy, stripped):
    """Two networks as the endpoints of one module, which holds once what both have in common."""
    by_content = {_content(variable): variable for variable in noisy.variables}
    trainable, others = (
        [by_content.get(_content(variable), variable) for variable in variables]
        for variables in (stripped.trainable_variables, stripped.non_trainable_variables)
    )
    signature = [tf.TensorSpec((None, *noisy.input_shape[1:]), tf.float32, name="pixels")]

    @tf.function(input_signature=signature)
    def serve(pixels):
        return noisy(pixels, training=False)

    @tf.function(input_signature=signature)
    def serve_deterministic(pixels):
        values = ([variable.value for variable in variables] for variables in (trainable, others))
        return stripped.stateless_call(*values, pixels, training=False)[0]

    module = tf.Module()
    module.kept = list({id(variable): variable.value for variable in (*noisy.variables, *trainable, *others)}.values())
    module.serve, module.serve_deterministic = serve, serve_deterministic
    return module


def _content(variable):
    """What makes two variables of a network that learns no more the same: shape and values; -0.0 is 0.0."""
    array = keras.ops.convert_to_numpy(variable)
    return array.shape, array.dtype, hashlib.sha256(array + np.zeros((), array.dtype)).digest()
