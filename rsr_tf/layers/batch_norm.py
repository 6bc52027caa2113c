"""Batch normalization as pure functions: fused where it trains, folded into the kernel where it does not.

Both compute what `keras.layers.BatchNormalization` computes, over the last axis, in fewer passes over memory.
"""

import tensorflow as tf


def normalize_batch(inputs, gamma, beta, epsilon):
    """Normalize a batch by its own statistics.

    Args:
        inputs: tensor `(n, h, w, channels)` of any float type.
        gamma: scale, float32 `(channels,)`.
        beta: offset, float32 `(channels,)`.
        epsilon: number added to the variance.

    Returns:
        `(outputs, mean, variance)`: outputs in the type of `inputs`; float32 statistics `(channels,)`, the variance
        without Bessel's correction, as Keras keeps it.
    """
    unused = tf.zeros((0,), tf.float32)
    fused = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=unused, variance=unused, epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], tf.float32)
    return fused.y, fused.batch_mean, fused.batch_variance * (count - 1) / count


def fold(kernel, gamma, beta, mean, variance, epsilon):
    """Move a normalization by fixed statistics into the kernel before it.

    `normalize(conv(x, kernel))` is the same function as `conv(x, folded_kernel) + bias`.

    Args:
        kernel: float32 `(..., channels)`.
        gamma, beta, mean, variance: float32 `(channels,)`.
        epsilon: number added to the variance.

    Returns:
        `(folded_kernel, bias)` of shapes `(..., channels)` and `(channels,)`.
    """
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    return kernel * scale, beta - mean * scale
