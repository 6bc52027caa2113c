"""Export a network as a SavedModel with a noisy and a deterministic signature."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.export.signatures import arranged, in_single_precision, input_specs, output_names
from rsr_tf.files import read_json, replacing
from rsr_tf.keras_internals import nested_layers
from rsr_tf.layers import draws_noise, feature_noises
from rsr_tf.layers.conversion import strip, with_fresh_noise
from rsr_tf.layers.registry import check_functional, tf_variables

METADATA = "rsr_tf.json"
"""Name of the file in the SavedModel folder with the noise policy and other metadata."""

NOISE_POLICY = (
    "serving_default draws new weight noise at every call, seeded anew each time with 191 bits from the operating "
    "system (/dev/urandom): noise that was seen, in training or in earlier calls, tells nothing about that of later "
    "calls. The images of one call share one draw. serve_deterministic has no noise."
)
FEATURE_NOISE_POLICY = (
    "Noise on pixels or features (rsr_tf>FeatureNoise) comes from the same source; every image of a call has its own."
)


def export_saved_model(model, path, *, metadata=None, overwrite=False):
    """Write a SavedModel that serves with and without noise, and a file `rsr_tf.json` in it with the noise policy.

    The signature `serving_default` (attribute `serve`) is the noisy network, `serve_deterministic` the stripped one
    (`rsr_tf.strip`). Both take float32 pixels `(n, h, w, c)` in [0,1], for any n, and return float32 logits; if the
    model has inputs of another type, such as uint8, they take this type. The signatures have the model's names of
    inputs and outputs, or `pixels` and `output_0` for those that it leaves to Keras. With several inputs, the
    attributes take a dict by these names. `tf.saved_model.load` does not need this package. Variables that both
    networks share, that is all but noise scales and masks, are stored once.

    `serve` reads the seed of its noise from `/dev/urandom` at every call, also with TensorFlow's op determinism. It
    does not run on systems without that file, such as Windows, nor compiled by XLA; `serve_deterministic` does.

    Args:
        model: a functional or Sequential model, noisy or stock, or an `RSRModel`.
        path: string or path of the folder to write.
        metadata: dict of further JSON-serializable entries for `rsr_tf.json`. Defaults to `None`.
        overwrite: bool, whether to replace an existing SavedModel, once the new one is complete. Defaults to `False`,
            which refuses an existing `path`.

    Raises:
        ValueError: if `path` exists and is not to be overwritten, or is no SavedModel; or for a subclassed model.

    Example:
        >>> inputs = keras.Input((4, 4, 1))
        >>> model = keras.Model(inputs, rsr_tf.NoisyDense(3)(keras.layers.Flatten()(inputs)))
        >>> rsr_tf.export_saved_model(model, "saved_model")
        >>> loaded = tf.saved_model.load("saved_model")  # TensorFlow deletes its variables with it
        >>> loaded.serve_deterministic(np.ones((2, 4, 4, 1), "float32")).shape
        TensorShape([2, 3])
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ValueError(f"`path` must not exist yet, or pass `overwrite=True`. Received: path={str(path)!r}")
    if path.exists() and not (path / "saved_model.pb").exists():
        raise ValueError(f"`path` must be a SavedModel to be overwritten. Received: path={str(path)!r}")
    check_functional(model)
    module, signatures = _module(model)
    entries = {"noisy": draws_noise(model), "noise_policy": _policy(model), **_pixels(model), **(metadata or {})}
    with replacing(path) as temporary:
        tf.saved_model.save(module, str(temporary), signatures=signatures)
        (temporary / METADATA).write_text(json.dumps(entries, indent=2) + "\n")


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
    return read_json(file)


def _policy(model):
    if not draws_noise(model):
        return "This network was trained without noise; both signatures are the same."
    return f"{NOISE_POLICY} {FEATURE_NOISE_POLICY}" if feature_noises(model) else NOISE_POLICY


def _pixels(model):
    """Return the range of the pixels as an entry of the metadata; none for inputs that are no pixels."""
    (dtype, *others) = [spec.dtype for spec in input_specs(model).values()]
    highest = 1.0 if dtype.is_floating else {tf.uint8: 255}.get(dtype)
    return {} if others or highest is None else {"pixels": [type(highest)(0), highest]}


def _module(model):
    """Return a `tf.Module` with both networks, which holds variables that are equal once, and its signatures."""
    noisy, stripped = with_fresh_noise(model), strip(model)
    by_content = {_content(variable): variable for variable in noisy.variables}
    trainable, others = (
        [by_content.get(_content(variable), variable) for variable in variables]
        for variables in (stripped.trainable_variables, stripped.non_trainable_variables)
    )

    def call_stripped(inputs):
        values = ([variable.value for variable in variables] for variables in (trainable, others))
        return stripped.stateless_call(*values, inputs, training=False)[0]

    module = tf.Module()
    module.kept = list({id(variable): variable.value for variable in (*noisy.variables, *trainable, *others)}.values())
    module.resources = [resource for network in (noisy, stripped) for resource in _resources(network)]
    module.serve, noisy_signature = _served(model, lambda inputs: noisy(inputs, training=False))
    module.serve_deterministic, signature = _served(model, call_stripped)
    default = {"serve": noisy_signature, "serving_default": noisy_signature}
    return module, {**default, "serve_deterministic": signature}


def _served(model, call):
    """Return a network as a function of its inputs, and as a signature, which names inputs and outputs.

    Args:
        model: the Keras model that is exported.
        call: function from inputs, in the structure that the model takes, to what it returns.
    """
    specs, names = input_specs(model), output_names(model)
    (first, *more) = specs

    @tf.function(input_signature=[specs if more else specs[first]])
    def serve(pixels):
        return in_single_precision(call(arranged(model, [pixels[name] for name in specs] if more else [pixels])))

    def signature(**inputs):
        return dict(zip(names, keras.tree.flatten(serve(inputs if more else inputs[first])), strict=True))

    return serve, tf.function(signature).get_concrete_function(**specs)


def _resources(network):
    """Return the tables and TensorFlow variables that layers hold beside their weights, such as a vocabulary."""
    table, layers = tf.saved_model.experimental.TrackableResource, nested_layers(network)
    tables = [value for layer in layers for value in vars(layer).values() if isinstance(value, table)]
    return tables + [variable for layer in layers for variable in tf_variables(layer)]


def _content(variable):
    """Return a key that is equal for variables of equal shape, dtype and values; -0.0 equals 0.0."""
    array = keras.ops.convert_to_numpy(variable)
    return array.shape, array.dtype, hashlib.sha256(array + np.zeros((), array.dtype)).digest()
