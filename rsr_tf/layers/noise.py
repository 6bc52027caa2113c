"""Weight noise (Eq. 4) and pruning mask (Eq. 7, 8) as pure functions.

    W~ = mask * (W + alpha * eta),    eta ~ N(0, var(W))

The state, that is `alpha`, `mask` and the source of random numbers, is held by `rsr_tf.layers.noisy_layer.WeightNoise`.
"""

import numpy as np
import tensorflow as tf

from rsr_tf.choices import NOISE_KINDS

KINDS = NOISE_KINDS
"""Granularity of `alpha`: per filter (as in the paper), per layer, per weight (PNI, He et al. 2019), or no noise."""


def alpha_shape(kernel_shape, kind, filter_axes=(-1,)):
    """Return the shape of `alpha` for a kernel.

    Args:
        kernel_shape: tuple of integers, for example `(kh, kw, in, out)` or `(in, out)`.
        kind: string, one of `KINDS`.
        filter_axes: tuple of negative integers: the axes that index the filters. Defaults to `(-1,)`. It is `(-2,)`
            for a transposed kernel `(kh, kw, out, in)`, and `(-2, -1)` for a depthwise one `(kh, kw, in, multiplier)`.

    Returns:
        A tuple that broadcasts against `kernel_shape`, or `None` for `"none"`.

    Raises:
        ValueError: if `kind` is unknown.

    Example:
        >>> rsr_tf.noise.alpha_shape((3, 3, 8, 16), "channel")
        (16,)
    """
    check_kind(kind)
    axes = range(min(filter_axes), 0)
    return {
        "channel": tuple(kernel_shape[axis] if axis in filter_axes else 1 for axis in axes),
        "layer": (),
        "element": tuple(kernel_shape),
        "none": None,
    }[kind]


def check_kind(kind, *, name="noise"):
    """Raise `ValueError` unless `kind` is one of `KINDS`; `name` is the argument's name in the message."""
    if kind not in KINDS:
        raise ValueError(f"`{name}` must be one of {KINDS}. Received: {name}={kind!r}")


def noise_std(kernel, alpha):
    """Compute the standard deviation of `alpha * eta` in Eq. 4, with the sign of `alpha`.

    The variance is that of the whole current kernel; no gradient flows through it.

    Args:
        kernel: float tensor of any shape.
        alpha: trainable noise scale that broadcasts against `kernel`. In the paper its shape is `(filters,)`.

    Returns:
        A tensor of the shape of `alpha`.

    Example:
        >>> rsr_tf.noise.noise_std(tf.constant([[1.0, 3.0]]), tf.constant([0.25, 0.5])).numpy()
        array([0.25, 0.5 ], dtype=float32)
    """
    return alpha * tf.stop_gradient(tf.math.reduce_std(kernel))


def kernel_std(kernel):
    """Return the standard deviation of a kernel, `sqrt(var(W))` in Eq. 4, computed with NumPy.

    For code that changes kernels outside of a graph; the layers compute the same number in TensorFlow.

    Args:
        kernel: float variable, tensor or array of any shape.

    Returns:
        A NumPy scalar of the kernel's dtype.
    """
    return np.std(kernel)


def noisy_kernel(kernel, std, mask, standard_normal):
    """Apply noise (Eq. 4) and mask (Eq. 7, 8) to a kernel.

    Args:
        kernel: float tensor `(..., filters)`.
        std: result of `noise_std`.
        mask: boolean tensor of the kernel's shape; `False` marks a pruned weight.
        standard_normal: tensor of the kernel's shape, drawn from N(0, 1).

    Returns:
        A tensor of the kernel's shape: exactly zero, with no gradient, where `mask` is `False`.
    """
    return masked_kernel(kernel + std * standard_normal, mask)


def masked_kernel(kernel, mask):
    """Set the pruned weights of a kernel to exactly zero (Eq. 7, 8)."""
    return tf.where(mask, kernel, tf.zeros((), kernel.dtype))


def unseeded_normal(shape):
    """Draw standard normal numbers that are different in every process, for exported networks.

    With both seeds zero, the operation seeds itself from the operating system, regardless of any global seed at the
    time of export. `tf.random.normal` would store that seed in the graph.

    Args:
        shape: tuple of static dimensions.

    Returns:
        A float32 tensor of that shape.
    """
    return tf.raw_ops.RandomStandardNormal(shape=list(shape), dtype=tf.float32, seed=0, seed2=0)
