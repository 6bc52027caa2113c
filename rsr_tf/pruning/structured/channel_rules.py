"""What each kind of layer does with its channels: which come out, and which axes of its weights they lie along.

A rule is a function `(channels, node, inputs)`: a `ChannelMap`, one call of a layer, and the labels of the channels of
each tensor that it takes. It returns the labels of what comes out, or `None` where it does not know. Channels are on
the last axis throughout.
"""

import keras
import numpy as np

from rsr_tf.layers import NoisyConvBlock
from rsr_tf.layers.noisy_layer import WeightNoise
from rsr_tf.layers.registry import stock_class

MIXING_ACTIVATIONS = ("softmax", "log_softmax", "sparsemax", "glu")
"""The activations of Keras in which a channel depends on others."""

ELEMENTWISE_LAYERS = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)
SPATIAL_LAYERS = tuple(
    getattr(keras.layers, f"{name}{rank}D")
    for rank in (1, 2, 3)
    for name in (
        *("MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling"),
        *("ZeroPadding", "Cropping", "UpSampling", "SpatialDropout"),
    )
)
MERGING_LAYERS = (
    keras.layers.Add,
    keras.layers.Subtract,
    keras.layers.Multiply,
    keras.layers.Average,
    keras.layers.Maximum,
    keras.layers.Minimum,
)
CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    keras.layers.Dense,
)
ELEMENTWISE_OPERATIONS = (
    *(
        "Relu",
        "Relu6",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Celu",
        "Gelu",
        "Silu",
        "Mish",
        "Sigmoid",
        "HardSigmoid",
        "HardSilu",
    ),
    *("LogSigmoid", "Softplus", "Softsign", "Tanh", "Absolute", "Abs", "Square", "Sqrt", "Exp", "Negative", "Clip"),
)
MERGING_OPERATIONS = ("Add", "Subtract", "Multiply", "Maximum", "Minimum")
"""Operations of `keras.ops` in a functional graph, such as `a + b`, by the names of their classes."""


def rule_for(operation):
    """The rule of a layer or operation.

    Returns:
        `(rule, cuts)`: the function, or `None` for what is not known here; and whether it cuts weights or a setting of
        the operation, so that all its calls must agree on the channels.
    """
    if getattr(operation, "data_format", None) == "channels_first":
        return None, False
    cls = stock_class(operation) if isinstance(operation, WeightNoise) else type(operation)
    if not isinstance(operation, keras.layers.Layer):
        cls = cls.__name__ if cls.__module__.startswith("keras.") else None
    if cls in CUTTING_RULES:
        return CUTTING_RULES[cls], True
    return PASSING_RULES.get(cls), False


def is_elementwise(activation):
    """Whether an activation is known to treat each channel by itself."""
    if isinstance(activation, keras.layers.Activation):
        return is_elementwise(activation.activation)
    if isinstance(activation, keras.layers.Layer):
        return type(activation) in ELEMENTWISE_LAYERS
    name = getattr(activation, "__name__", None)
    return name not in MIXING_ACTIVATIONS and getattr(keras.activations, str(name), None) is activation


def _pass(channels, node, inputs):
    return inputs[0] if len(inputs) == 1 else None


def _activation(channels, node, inputs):
    return _pass(channels, node, inputs) if is_elementwise(node.operation.activation) else None


def _dropout(channels, node, inputs):
    """One whose `noise_shape` counts the channels would not fit fewer."""
    counted = (getattr(node.operation, "noise_shape", None) or (None,))[-1]
    return _pass(channels, node, inputs) if counted in (None, 1) else None


def _merge(channels, node, inputs):
    """Channels that meet, as in a residual addition, are one from here on; a single channel for all stays as it is."""
    constants = [
        value for value in keras.tree.flatten((node.arguments.args, node.arguments.kwargs)) if _is_array(value)
    ]
    ranks = {len(tensor.shape) for tensor in node.input_tensors}
    count = node.outputs[0].shape[-1] if ranks != {0} else None
    if len(ranks) > 1 or count is None or any(np.size(value) != 1 for value in constants):
        return None
    whole = [labels for labels in inputs if len(labels) == count]
    for labels in inputs:
        if len(labels) == count:
            channels.tie(whole[0], labels)
        else:
            channels.hold(node.operation, labels)
    return whole[0]


def _divide(channels, node, inputs):
    """A channel may be divided by a number; one that divides would be zero once it is removed."""
    return _merge(channels, node, inputs) if _is_array(node.arguments.args[1]) else None


def _is_array(value):
    return value is not None and not isinstance(value, keras.KerasTensor)


def _concatenate(channels, node, inputs):
    rank = len(node.outputs[0].shape)
    if node.operation.axis % rank == rank - 1:
        return np.concatenate(inputs)
    for labels in inputs[1:]:
        channels.tie(inputs[0], labels)
    return inputs[0]


def _index(channels, node, inputs):
    """`x[:, ::2, ::2]`: channels are left alone by slices of the other axes."""
    tensor, key = node.arguments.args
    key = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, slice) for part in key):
        return None
    untouched = len(key) < len(tensor.shape) or key[-1] == slice(None)
    return inputs[0] if untouched else None


def _reshape(channels, node, inputs):
    """Also `Flatten`: a channel is then in several places, or in one as before."""
    (tensor,), (output,) = node.input_tensors, node.outputs
    if None in (*tensor.shape[1:], *output.shape[1:]) or min(len(tensor.shape), len(output.shape)) < 2:
        return None
    every = np.broadcast_to(inputs[0], tensor.shape[1:]).reshape(-1, output.shape[-1])
    labels = every[0]
    if (every != labels).any():
        return None
    target = getattr(node.operation, "target_shape", None)
    if target is not None and target[-1] != -1:
        channels.change(node.operation, lambda count: {"target_shape": (*target[:-1], count(labels))})
    return labels


def _pad(channels, node, inputs):
    """Channels of zeros put before and after, as in the shortcut of ResNet-20, have labels of their own."""
    operation, rank = node.operation, len(node.outputs[0].shape)
    if len(inputs) != 1 or len(operation.pad_width) != rank:
        return None
    *others, (before, after) = operation.pad_width
    if before == after == 0:
        return inputs[0]
    if operation.mode != "constant":
        return None
    front, back = channels.new(before), channels.new(after)
    channels.change(operation, lambda count: {"pad_width": [*others, (count(front), count(back))]})
    return np.concatenate([front, inputs[0], back])


def _convolution(channels, node, inputs):
    layer = node.operation
    if getattr(layer, "groups", 1) != 1:
        return None
    labels = _filters(channels, layer, inputs)
    if labels is not None:
        key = "units" if isinstance(layer, keras.layers.Dense) else "filters"
        channels.change(layer, lambda count: {key: count(labels)})
        _hold_if_mixed(channels, layer, labels)
    return labels


def _block(channels, node, inputs):
    layer = node.operation
    labels = _filters(channels, layer.convolution, inputs)
    if labels is not None:
        _cut_vectors(channels, layer.normalization, labels)
        channels.change(layer, lambda count: {"filters": count(labels)})
        _hold_if_mixed(channels, layer, labels)
    return labels


def _filters(channels, layer, inputs):
    """Cut the kernels of a layer that makes new channels; the labels of these."""
    kernels = channels.kernels_of(layer)
    if not kernels or len(inputs) != 1:
        return None
    (labels,) = inputs
    *depthwise, kernel = kernels
    for first in depthwise:  # of a separable convolution
        channels.cut_kernel(first, {-2: labels})
        labels = np.repeat(labels, first.kernel.shape[-1])
    (filter_axis,) = kernel.filter_axes
    filters = channels.new(kernel.kernel.shape[filter_axis])
    channels.cut_kernel(kernel, {-3 - filter_axis: labels, filter_axis: filters})
    channels.add_reader(kernel, -3 - filter_axis, labels)
    channels.add_filters(kernel, filter_axis, filters)
    channels.cut(layer.bias, -1, filters)
    return filters


def _hold_if_mixed(channels, layer, labels):
    if not is_elementwise(layer.activation):
        channels.hold(layer, labels)


def _depthwise(channels, node, inputs):
    layer = node.operation
    kernels = channels.kernels_of(layer)
    if not kernels or len(inputs) != 1:
        return None
    labels = np.repeat(inputs[0], layer.depth_multiplier)
    channels.cut_kernel(kernels[0], {-2: inputs[0]})
    channels.cut(layer.bias, -1, labels)
    _hold_if_mixed(channels, layer, labels)
    return labels


def _vectors(channels, node, inputs):
    """Batch normalization and the like: weights with one number for each channel."""
    layer, (tensor, *others) = node.operation, node.input_tensors
    axis = getattr(layer, "axis", -1)
    if others or axis % len(tensor.shape) != len(tensor.shape) - 1:
        return None
    _cut_vectors(channels, layer, inputs[0])
    return inputs[0]


def _cut_vectors(channels, layer, labels):
    for variable in layer.weights:
        if variable.shape[-1] == len(labels):
            channels.cut(variable, -1, labels)


CUTTING_RULES = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys((keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D), _depthwise),
    **dict.fromkeys((keras.layers.BatchNormalization, keras.layers.PReLU), _vectors),
    NoisyConvBlock: _block,
    keras.layers.Reshape: _reshape,
    "Pad": _pad,
}
PASSING_RULES = {
    **dict.fromkeys((keras.layers.Dropout, keras.layers.AlphaDropout), _dropout),
    **dict.fromkeys((*ELEMENTWISE_LAYERS, *SPATIAL_LAYERS, *ELEMENTWISE_OPERATIONS), _pass),
    **dict.fromkeys((*MERGING_LAYERS, *MERGING_OPERATIONS), _merge),
    **dict.fromkeys(("Divide", "TrueDivide"), _divide),
    **dict.fromkeys((keras.layers.Concatenate, "Concatenate"), _concatenate),
    keras.layers.Activation: _activation,
    keras.layers.Flatten: _reshape,
    "GetItem": _index,
}
