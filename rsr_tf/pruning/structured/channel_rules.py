"""Rules for each kind of layer: its output channels, and the axes of its weights that correspond to channels.

A rule is a function `(channels, node, inputs)`. It takes a `ChannelMap`, one call of a layer or operation, and the
labels of the channels of each input tensor. It returns the labels of the output channels, or `None` if it does not
apply to this call. Channels are always on the last axis.
"""

import keras
import numpy as np

from rsr_tf.layers import FeatureNoise, NoisyConvBlock, QuantizedReLU
from rsr_tf.layers.noisy_layer import WeightNoise
from rsr_tf.layers.registry import stock_class

MIXING_ACTIVATIONS = ("softmax", "log_softmax", "sparsemax", "glu")
"""Keras activations in which the output of a channel depends on other channels."""

ELEMENTWISE_LAYERS = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    FeatureNoise,
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
"""Operations of `keras.ops` in a functional graph, such as `a + b`, by class name."""


def rule_for(operation):
    """Return the rule of a layer or operation.

    Args:
        operation: a Keras layer or operation.

    Returns:
        `(rule, cuts)`. `rule` is the function, or `None` for an unknown layer or operation. `cuts` is whether the rule
        shortens weights or changes a setting, so that all calls of the operation must have the same channels.
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
    """Return whether an activation is known to compute each channel from that channel alone."""
    if isinstance(activation, keras.layers.Activation):
        return is_elementwise(activation.activation)
    if isinstance(activation, keras.layers.Layer):
        return type(activation) in ELEMENTWISE_LAYERS
    if isinstance(activation, QuantizedReLU):
        return True
    name = getattr(activation, "__name__", None)
    return name not in MIXING_ACTIVATIONS and getattr(keras.activations, str(name), None) is activation


def _pass(channels, node, inputs):
    """Return the channels unchanged."""
    return inputs[0] if len(inputs) == 1 else None


def _activation(channels, node, inputs):
    """Return the channels unchanged if the activation does not mix them."""
    return _pass(channels, node, inputs) if is_elementwise(node.operation.activation) else None


def _dropout(channels, node, inputs):
    """Return the channels unchanged, unless `noise_shape` contains their number, which would no longer fit."""
    num_channels = (getattr(node.operation, "noise_shape", None) or (None,))[-1]
    return _pass(channels, node, inputs) if num_channels in (None, 1) else None


def _merge(channels, node, inputs):
    """Tie the channels that are merged, as in a residual addition; keep a single channel that is broadcast to all."""
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
    """Return the channels of a division by a constant; a divisor with channels would be zero once one is removed."""
    return _merge(channels, node, inputs) if _is_array(node.arguments.args[1]) else None


def _is_array(value):
    return value is not None and not isinstance(value, keras.KerasTensor)


def _concatenate(channels, node, inputs):
    """Concatenate the channels; along another axis, tie them."""
    rank = len(node.outputs[0].shape)
    if node.operation.axis % rank == rank - 1:
        return np.concatenate(inputs)
    for labels in inputs[1:]:
        channels.tie(inputs[0], labels)
    return inputs[0]


def _index(channels, node, inputs):
    """Return the channels unchanged if only other axes are sliced, as in `x[:, ::2, ::2]`."""
    tensor, key = node.arguments.args
    key = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, slice) for part in key):
        return None
    unchanged = len(key) < len(tensor.shape) or key[-1] == slice(None)
    return inputs[0] if unchanged else None


def _reshape(channels, node, inputs):
    """Return the channels after `Reshape` or `Flatten`; after the latter, a label may occur several times."""
    (tensor,), (output,) = node.input_tensors, node.outputs
    if None in (*tensor.shape[1:], *output.shape[1:]) or min(len(tensor.shape), len(output.shape)) < 2:
        return None
    rows = np.broadcast_to(inputs[0], tensor.shape[1:]).reshape(-1, output.shape[-1])
    labels = rows[0]
    if (rows != labels).any():
        return None
    target = getattr(node.operation, "target_shape", None)
    if target is not None and target[-1] != -1:
        channels.change(node.operation, lambda count: {"target_shape": (*target[:-1], count(labels))})
    return labels


def _pad(channels, node, inputs):
    """Add new labels for channels of zeros before and after, as in the shortcuts of ResNet-20."""
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
    """Return the filters of a convolution or dense layer; grouped convolutions are not covered."""
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
    """Return the filters of a `NoisyConvBlock`."""
    layer = node.operation
    labels = _filters(channels, layer.convolution, inputs)
    if labels is not None:
        _cut_vectors(channels, layer.normalization, labels)
        channels.change(layer, lambda count: {"filters": count(labels)})
        _hold_if_mixed(channels, layer, labels)
    return labels


def _filters(channels, layer, inputs):
    """Record the input channels and filters of a layer; return the labels of the filters, `None` if not applicable."""
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
    """Keep the channels of a layer whose activation mixes them."""
    if not is_elementwise(layer.activation):
        channels.hold(layer, labels)


def _depthwise(channels, node, inputs):
    """Return the channels of a depthwise convolution, each input channel repeated `depth_multiplier` times."""
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
    """Return the channels of a layer with one weight for each channel, such as batch normalization."""
    layer, (tensor, *others) = node.operation, node.input_tensors
    axis = getattr(layer, "axis", -1)
    if others or axis % len(tensor.shape) != len(tensor.shape) - 1:
        return None
    _cut_vectors(channels, layer, inputs[0])
    return inputs[0]


def _cut_vectors(channels, layer, labels):
    """Record the channels along the last axis of all weights that have one entry for each."""
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
