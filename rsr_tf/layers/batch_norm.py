"""Batch normalization as pure functions: a fused operation for training, and folding into the kernel for inference.

Both are equivalent to `keras.layers.BatchNormalization` over the last axis, with fewer passes over memory.
"""

import tensorflow as tf


def normalize_batch(inputs, gamma, beta, epsilon):
    """Normalize a batch by its statistics.

    Args:
        inputs: float tensor `(n, h, w, channels)` of any precision.
        gamma: float32 tensor `(channels,)`, the scale.
        beta: float32 tensor `(channels,)`, the offset.
        epsilon: positive number added to the variance.

    Returns:
        A tuple `(outputs, mean, variance)`: outputs in the dtype of `inputs`, and float32 statistics `(channels,)`.
        The variance is without Bessel's correction, as in Keras.
    """
    unused = tf.zeros((0,), tf.float32)
    fused = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=unused, variance=unused, epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], tf.float32)
    return fused.y, fused.batch_mean, fused.batch_variance * (count - 1) / count


def fold(kernel, gamma, beta, mean, variance, epsilon):
    """Fold a normalization by fixed statistics into the kernel of the convolution before it.

    `normalize(conv(x, kernel))` is equal to `conv(x, folded_kernel) + bias`.

    Args:
        kernel: float32 tensor `(..., channels)`.
        gamma, beta, mean, variance: float32 tensors `(channels,)`.
        epsilon: positive number added to the variance.

    Returns:
        A tuple `(folded_kernel, bias)` of shapes `(..., channels)` and `(channels,)`.
    """
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    return kernel * scale, beta - mean * scale
