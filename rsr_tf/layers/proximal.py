"""The proximal step of the lasso, which makes exact zeros where its gradient only makes small weights."""

import tensorflow as tf


def soft_threshold(kernel, threshold):
    """The proximal operator of `threshold * sum |W|` (Parikh & Boyd 2014, Section 6.5.2).

        sign(w) * max(|w| - threshold, 0)

    Args:
        kernel: float tensor of any shape.
        threshold: number of at least 0, or a tensor that broadcasts against the kernel.

    Returns:
        A tensor of the kernel's shape: every weight moved towards zero by `threshold`, and no further than zero.

    Example:
        >>> soft_threshold(tf.constant([0.5, -0.5, 0.1]), 0.2).numpy()
        array([ 0.3, -0.3,  0. ], dtype=float32)
    """
    return tf.sign(kernel) * tf.nn.relu(tf.abs(kernel) - threshold)
