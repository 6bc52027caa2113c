"""The stock layers that have a noisy counterpart, and helpers to inspect and clone functional models."""

import numbers
import tempfile
import warnings
from types import FunctionType

import keras
import tensorflow as tf

from rsr_tf.keras_internals import copy_operation, lambda_arguments, nested_layers
from rsr_tf.layers import convolutions
from rsr_tf.layers.dense import NoisyDense

NOISY_COUNTERPARTS = {
    keras.layers.Conv1D: convolutions.NoisyConv1D,
    keras.layers.Conv2D: convolutions.NoisyConv2D,
    keras.layers.Conv3D: convolutions.NoisyConv3D,
    keras.layers.Conv1DTranspose: convolutions.NoisyConv1DTranspose,
    keras.layers.Conv2DTranspose: convolutions.NoisyConv2DTranspose,
    keras.layers.Conv3DTranspose: convolutions.NoisyConv3DTranspose,
    keras.layers.DepthwiseConv1D: convolutions.NoisyDepthwiseConv1D,
    keras.layers.DepthwiseConv2D: convolutions.NoisyDepthwiseConv2D,
    keras.layers.SeparableConv1D: convolutions.NoisySeparableConv1D,
    keras.layers.SeparableConv2D: convolutions.NoisySeparableConv2D,
    keras.layers.Dense: NoisyDense,
}
"""Stock layer class -> noisy layer class. Layers of other classes are neither noisy nor pruned."""


def stock_class(layer):
    """Return the Keras class that a noisy layer extends; for a stock layer, its own class.

    Args:
        layer: a layer of a class in `NOISY_COUNTERPARTS`, or of a noisy counterpart.

    Returns:
        A key of `NOISY_COUNTERPARTS`.
    """
    return next(stock for stock in NOISY_COUNTERPARTS if isinstance(layer, stock))


def kernel_roles(layer):
    """Return the `KernelRole`s of a noisy layer, or those that a stock layer has once it is converted."""
    return NOISY_COUNTERPARTS.get(type(layer), layer).kernel_roles


def is_convertible(layer):
    """Return whether a layer is a built stock layer with a noisy counterpart; quantized and LoRA layers are not."""
    if type(layer) not in NOISY_COUNTERPARTS or not layer.built:
        return False
    kernels = [getattr(layer, role.name) for role in kernel_roles(layer)]
    return all(isinstance(kernel, keras.Variable) and "float" in kernel.dtype for kernel in kernels)


def live_config(layer):
    """Return the config of a layer for a copy in the same process: functions are themselves, not their description.

    Keras describes a function for a file, and a function that is read from a description has lost its globals, or is
    not found at all.

    Args:
        layer: a Keras layer.

    Returns:
        A dict for `from_config`, or for the constructor of a `Lambda`.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The object being serialized includes a `lambda`")  # for no file
        if isinstance(layer, keras.layers.Lambda):
            return {**keras.layers.Layer.get_config(layer), **lambda_arguments(layer)}
        config = layer.get_config()
    values = {key: getattr(layer, key, None) for key in config}
    return {**config, **{key: value for key, value in values.items() if isinstance(value, FunctionType)}}


def without_initial_arrays(config):
    """Return a config in which initializers that hold an array are zeros, for a layer that gets its weights elsewhere.

    Such an array is as large as the weights, and fits one shape only.

    Args:
        config: serialized object of Keras, or a part of one.

    Returns:
        A config of the same structure.

    Example:
        >>> from rsr_tf.layers.registry import without_initial_arrays
        >>> layer = keras.layers.Dense(2, bias_initializer=keras.initializers.Constant(np.ones(2)))
        >>> without_initial_arrays(layer.get_config())["bias_initializer"]["class_name"]
        'Zeros'
    """
    if isinstance(config, list | tuple):
        return type(config)(map(without_initial_arrays, config))
    if not isinstance(config, dict):
        return config
    if (config.get("module"), config.get("class_name")) == ("keras.initializers", "Constant"):
        is_number = isinstance(config["config"]["value"], numbers.Real)
        return config if is_number else keras.initializers.serialize(keras.initializers.Zeros())
    return {key: without_initial_arrays(value) for key, value in config.items()}


def clone_layer(layer, /, **changes):
    """Create a layer of the same class and config, with new weights; functions in it are the same objects.

    Args:
        layer: a Keras layer, or an operation of a functional model.
        **changes: entries of its config to replace.

    Returns:
        A new layer, not built.
    """
    if not (isinstance(layer, keras.layers.Layer) or changes):
        return copy_operation(layer)
    new = _from_config(layer, changes)
    copy_vocabularies(layer, new)  # before the first call: it decides the shape of some outputs
    return new


def _from_config(layer, changes):
    cls = type(layer)
    if isinstance(layer, keras.layers.Lambda):
        return cls(**{**live_config(layer), **changes})
    if cls.from_config.__func__ is keras.layers.Wrapper.from_config.__func__:
        return cls(**{**layer.get_config(), **changes, "layer": clone_layer(layer.layer)})
    try:
        return cls.from_config({**live_config(layer), **changes})
    except (TypeError, ValueError):  # a class of the user that reads functions from their description alone
        return cls.from_config({**layer.get_config(), **changes})


def copy_vocabularies(source, new):
    """Copy what layers keep beside their variables and config, such as the vocabulary that a lookup has seen.

    Args:
        source: a Keras layer.
        new: a layer of the same class and config.
    """
    for old, copy in zip(nested_layers(source), nested_layers(new), strict=False):
        if hasattr(old, "save_assets") and not old.weights:
            store = {}
            old.save_own_variables(store)  # a table of weights by word is no variable of Keras
            copy.load_own_variables(store)
            with tempfile.TemporaryDirectory() as folder:
                old.save_assets(folder)
                copy.load_assets(folder)


def tf_variables(layer):
    """List the TensorFlow variables that a layer has as attributes, which Keras takes for none of its weights.

    Args:
        layer: a Keras layer. Those inside it are not searched.

    Returns:
        A list of `tf.Variable`, also of those in lists and dicts.
    """

    def found(value):
        if isinstance(value, tf.Variable):
            return [value]
        entries = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        return [variable for entry in entries for variable in found(entry)]

    return list({id(variable): variable for variable in found(vars(layer))}.values())


def copy_tf_variables(source, new):
    """Copy the values of `tf_variables` to a layer of the same class, that is built, and to the layers inside it.

    Raises:
        ValueError: if the new layer has other ones.
    """
    for old, copy in zip(nested_layers(source), nested_layers(new), strict=False):
        values, targets = tf_variables(old), tf_variables(copy)
        if [value.shape for value in values] != [target.shape for target in targets]:
            raise ValueError(
                f"Layer `{old.name}` must have the same TensorFlow variables whenever it is built, to be copied. "
                f"Received: {len(values)} variables, and {len(targets)} of the copy, or other shapes"
            )
        for value, target in zip(values, targets, strict=True):
            target.assign(value)


def is_functional(model):
    """Return whether a model is a built functional or Sequential model."""
    return isinstance(model, keras.Model) and bool(getattr(model, "inputs", None) and getattr(model, "outputs", None))


def check_functional(model):
    """Raise `ValueError` unless `model` is a built functional or Sequential model."""
    if not is_functional(model):
        raise ValueError(
            f"`model` must be a built functional or Sequential Keras model. Received: {type(model).__name__} {model}"
        )


def inputs_and_outputs(model):
    """Return the symbolic tensors of a functional or Sequential model.

    Args:
        model: a built functional or Sequential model.

    Returns:
        A tuple `(inputs, outputs)`, each in the structure that the model takes or returns; a list of one tensor is
        replaced by the tensor.
    """
    ends = (model.inputs, model.outputs) if isinstance(model, keras.Sequential) else (model.input, model.output)
    return tuple(end[0] if isinstance(end, list | tuple) and len(end) == 1 else end for end in ends)
