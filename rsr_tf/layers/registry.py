"""The stock layers that have a noisy counterpart, and helpers to inspect and clone functional models."""

import keras

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


def clone_layer(layer, /, **changes):
    """Create a layer of the same class and config, with new weights.

    Args:
        layer: a Keras layer.
        **changes: entries of its config to replace.

    Returns:
        A new layer, not built.
    """
    config = {**layer.get_config(), **changes}
    if isinstance(layer, keras.layers.Lambda):  # safe mode is for files from others; this lambda is already in memory
        return type(layer).from_config(config, safe_mode=False)
    return type(layer).from_config(config)


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
