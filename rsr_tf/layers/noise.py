"""Weight noise (Eq. 4) and the mask that pruning puts over it (Eq. 7, 8), as pure functions.

    W~ = mask * (W + alpha * eta),    eta ~ N(0, var(W))

Nothing here holds state: a layer owns `alpha`, `mask` and the source of random numbers.
"""

import numpy as np
import tensorflow as tf

KINDS = ("channel", "layer", "element", "none")
"""Granularity of `alpha`: an entry per filter (the paper), per layer or per weight (PNI, He et al. 2019), or none."""


def alpha_shape(kernel_shape, kind, filter_axes=(-1,)):
    """Shape of `alpha` for a kernel.

    Args:
        kernel_shape: tuple, for example `(kh, kw, in, out)` or `(in, out)`.
        kind: one of `KINDS`.
        filter_axes: the axes that count the filters, from the end. Defaults to the last; a transposed kernel
            `(kh, kw, out, in)` has `(-2,)`, a depthwise one `(kh, kw, in, multiplier)` has `(-2, -1)`.

    Returns:
        A tuple that broadcasts against `kernel_shape`, or `None` for `"none"`.

    Raises:
        ValueError: for an unknown `kind`.
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
    """Raise `ValueError` unless `kind` is one of `KINDS`; `name` is that of the argument, for the message."""
    if kind not in KINDS:
        raise ValueError(f"`{name}` must be one of {KINDS}. Received: {name}={kind!r}")


def noise_deviation(kernel, alpha):
    """Standard deviation of `alpha * eta` in Eq. 4, signed as `alpha` is.

    The variance is that of the whole kernel, computed now; no gradient flows through it.

    Args:
        kernel: float tensor of any shape.
        alpha: trainable noise scale that broadcasts against `kernel`; the shape `(filters,)` is the paper's.

    Returns:
        A tensor of the shape of `alpha`.
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


def noisy_kernel(kernel, deviation, mask, standard_normal):
    """Eq. 4 under the mask of Eq. 7 and 8.

    Args:
        kernel: float tensor `(..., filters)`.
        deviation: see `noise_deviation`.
        mask: boolean tensor of the kernel's shape; `False` marks a pruned weight.
        standard_normal: tensor of the kernel's shape, drawn from N(0, 1).

    Returns:
        A tensor of the kernel's shape: exactly zero, with no gradient, where `mask` is `False`.
    """
    return masked_kernel(kernel + deviation * standard_normal, mask)


def masked_kernel(kernel, mask):
    """The kernel with its pruned weights at exactly zero (Eq. 7, 8)."""
    return tf.where(mask, kernel, tf.zeros((), kernel.dtype))


def unseeded_normal(shape):
    """Standard normal numbers that nobody can foresee or replay, for exported networks.

    A zero pair of seeds makes the operation seed itself from the operating system in every process, whatever the
    seed of the program that exported it was; `tf.random.normal` would burn that seed into the graph.

    Args:
        shape: tuple of static dimensions.

    Returns:
        A float32 tensor of that shape.
    """
    return tf.raw_ops.RandomStandardNormal(shape=list(shape), dtype=tf.float32, seed=0, seed2=0)
