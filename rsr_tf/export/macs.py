"""What one image costs a network: the multiplications of its convolutions and matrix products."""

import math

import tensorflow as tf

from rsr_tf.export.signatures import arranged, input_specs

CALLS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf", "Einsum")
"""Operations that hide how much they multiply."""


def count_macs(model):
    """Count the multiply-accumulate operations of one image.

    Those of convolutions and of products of matrices count, as is usual; sums, activations and normalizations do not.
    Zeros count as any other weight, because the runtimes compute with them.

    Args:
        model: a functional or Sequential Keras model without noise, see `rsr_tf.strip`.

    Returns:
        An integer; `None` for a network whose graph has loops, branches, compiled parts or unknown shapes.

    Example:
        >>> from rsr_tf.export.macs import count_macs
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(10)]
        >>> count_macs(keras.Sequential([keras.Input((8, 8, 1)), *layers]))  # 6 * 6 * 4 * 9 + 144 * 10
        2736
    """
    specs = [tf.TensorSpec((1, *spec.shape[1:]), spec.dtype) for spec in input_specs(model).values()]
    function = tf.function(lambda *tensors: model(arranged(model, tensors), training=False))
    counts = [_macs(operation) for operation in function.get_concrete_function(*specs).graph.get_operations()]
    return None if None in counts else sum(counts)


def _macs(operation):
    """Return the multiplications of an operation of a graph, or `None` if they cannot be told."""
    kind, inputs = operation.type, [tensor.shape for tensor in operation.inputs]
    if kind in CALLS:
        return None
    if kind in ("Conv2D", "Conv3D"):  # the kernel is (..., inputs of a group, outputs)
        return _product(operation.outputs[0].shape, inputs[1][:-1])
    if kind == "DepthwiseConv2dNative":
        return _product(operation.outputs[0].shape, inputs[1][:2])
    if kind in (
        "Conv2DBackpropInput",
        "Conv3DBackpropInputV2",
    ):  # the transposed one; its kernel (..., outputs, inputs)
        return _product(inputs[2], inputs[1][:-1])
    if "MatMul" in kind:
        turned = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        return _product(operation.outputs[0].shape, inputs[0][-2 if turned else -1 :][:1])
    return 0


def _product(*shapes):
    sizes = [size for shape in shapes for size in (shape.as_list() if shape.rank is not None else [None])]
    return None if None in sizes else math.prod(sizes)
