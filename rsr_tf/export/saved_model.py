"""Export a network as a SavedModel with a noisy and a deterministic signature."""

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
"""Name of the file in the SavedModel folder with the noise policy and other metadata."""

NOISE_POLICY = (
    "serving_default draws new weight noise at every call, seeded anew each time with 191 bits from the operating "
    "system (/dev/urandom): noise that was seen, in training or in earlier calls, tells nothing about that of later "
    "calls. The images of one call share one draw. serve_deterministic has no noise."
)


def export_saved_model(model, path, *, metadata=None):
    """Write a SavedModel that serves with and without noise, and a file `rsr_tf.json` in it with the noise policy.

    The signature `serving_default` (attribute `serve`) is the noisy network, `serve_deterministic` the stripped one
    (`rsr_tf.strip`). Both take float32 pixels `(n, h, w, c)` in [0,1], for any n, and return logits.
    `tf.saved_model.load` does not need this package. Variables that both networks share, that is all but noise scales
    and masks, are stored once.

    `serve` reads the seed of its noise from `/dev/urandom` at every call, also with TensorFlow's op determinism. It
    does not run on systems without that file, such as Windows, nor compiled by XLA; `serve_deterministic` does.

    Args:
        model: a functional or Sequential model, noisy or stock, or an `RSRModel`.
        path: string or path of the folder to write, which must not exist.
        metadata: dict of further JSON-serializable entries for `rsr_tf.json`. Defaults to `None`.

    Raises:
        ValueError: if `path` exists, or for a subclassed model.

    Example:
        >>> inputs = keras.Input((4, 4, 1))
        >>> model = keras.Model(inputs, rsr_tf.NoisyDense(3)(keras.layers.Flatten()(inputs)))
        >>> rsr_tf.export_saved_model(model, "saved_model")
        >>> loaded = tf.saved_model.load("saved_model")
        >>> loaded.serve_deterministic(np.ones((2, 4, 4, 1), "float32")).shape
        TensorShape([2, 3])
    """
    path = Path(path)
    if path.exists():
        raise ValueError(f"`path` must not exist yet. Received: path={str(path)!r}")
    is_noisy = any(layer.noise != "none" for layer in noisy_layers(model))
    module = _module(with_fresh_noise(model), strip(model))
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
    """Read the metadata of a SavedModel folder from its `rsr_tf.json`.

    Args:
        path: string or path of the folder.

    Returns:
        A dict; empty if the folder has no such file.

    Raises:
        ValueError: if the file is not a JSON object.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> rsr_tf.export_saved_model(model, "stock_model", metadata={"classes": ["cat", "dog"]})
        >>> rsr_tf.export.read_metadata("stock_model")["classes"]
        ['cat', 'dog']
    """
    file = Path(path) / METADATA
    if not file.exists():
        return {}
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # invalid JSON or UTF-8
        raise ValueError(f"cannot read {file}: {error}") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{file} must hold a JSON object. Received: {type(entries).__name__}")
    return entries


def _module(noisy, stripped):
    """Return a `tf.Module` with both networks as signatures, which holds variables that are equal once."""
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
    """Return a key that is equal for variables of equal shape, dtype and values; -0.0 equals 0.0."""
    array = keras.ops.convert_to_numpy(variable)
    return array.shape, array.dtype, hashlib.sha256(array + np.zeros((), array.dtype)).digest()
