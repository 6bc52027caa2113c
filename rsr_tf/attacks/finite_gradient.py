"""Gradients without NaN and infinity, which attacks can step along."""

import tensorflow as tf

from rsr_tf.attacks.selection import select

LARGEST_GRADIENT = 1e30
"""Infinite entries of a gradient become this number, so that their sign still counts and sums of them are finite."""


@tf.custom_gradient
def with_finite_gradient(x):
    """Return images as they are, with a gradient that is finite: 0 for NaN, and a large number for infinity.

    A step along NaN would make the pixel NaN, and with it the network's answer to the image, for the rest of an attack.

    Args:
        x: float32 `(n, ...)`.

    Returns:
        float32 of the same shape.

    Example:
        >>> x = tf.zeros((1, 2))
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = tf.sqrt(tf.nn.relu(rsr_tf.attacks.finite_gradient.with_finite_gradient(x)))
        >>> tape.gradient(y, x).numpy()  # of the infinite slope of the root and the zero of the ReLU
        array([[0., 0.]], dtype=float32)
    """

    def backwards(upstream):
        bounded = tf.clip_by_value(upstream, -LARGEST_GRADIENT, LARGEST_GRADIENT)
        return select(tf.math.is_nan(upstream), tf.zeros_like(upstream), bounded)

    return tf.identity(x), backwards
