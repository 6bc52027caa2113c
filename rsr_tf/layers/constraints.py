"""Parseval retraction as a kernel constraint."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("rsr_tf")
class Parseval(keras.constraints.Constraint):
    """Parseval retraction of a kernel, applied after each update (Cisse et al. 2017).

        W <- (1 + step) W - step W W^T W

    where W is the kernel reshaped to `(fan_in, filters)`. Every singular value s moves to (1 + step) s - step s^3,
    whose stable fixed point is 1, so that the largest one, the sensitivity of the layer for patches, is held near 1.
    For a start below `sqrt(1 + 2 / step)` it stays bounded. PixelDP (Lecuyer et al. 2019) uses it for the layers before
    its noise. Masks of this package compose with it: pruned weights are zero after the retraction as well.

    Args:
        step: positive number below 1. Defaults to 3e-4.
        loops: positive integer, number of retractions after each update. Defaults to 1.

    Raises:
        ValueError: if `step` is not in (0, 1) or `loops` is not a positive integer.

    Example:
        >>> layer = rsr_tf.NoisyConv2D(16, 3, kernel_constraint=rsr_tf.layers.Parseval(loops=10))
        >>> kernel = tf.constant([[2.0, 0.0], [0.0, 1.0]])
        >>> rsr_tf.layers.Parseval(step=0.25)(kernel).numpy()  # 1.25 * 2 - 0.25 * 8
        array([[0.5, 0. ],
               [0. , 1. ]], dtype=float32)
    """

    def __init__(self, step=3e-4, loops=1):
        if not 0 < step < 1:
            raise ValueError(f"`step` must be in (0, 1). Received: step={step}")
        if not (isinstance(loops, int) and loops >= 1):
            raise ValueError(f"`loops` must be an integer of at least 1. Received: loops={loops}")
        self.step = float(step)
        self.loops = loops

    def __call__(self, kernel):
        kernel = tf.convert_to_tensor(kernel)
        matrix = tf.reshape(kernel, (-1, kernel.shape[-1]))
        for _ in range(self.loops):
            matrix = (1 + self.step) * matrix - self.step * _gram_product(matrix)
        return tf.reshape(matrix, kernel.shape)

    def get_config(self):
        return {"step": self.step, "loops": self.loops}


def _gram_product(matrix):
    """Return W W^T W through the smaller of the two Gram matrices."""
    rows, columns = matrix.shape
    if rows < columns:
        return tf.matmul(tf.matmul(matrix, matrix, transpose_b=True), matrix)
    return tf.matmul(matrix, tf.matmul(matrix, matrix, transpose_a=True))
