"""Group lasso and orthogonality as kernel regularizers, and the proximal step of the lasso."""

import math

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("rsr_tf")
class GroupLasso(keras.regularizers.Regularizer):
    """Group lasso over the filters of a kernel (Yuan and Lin 2006; for networks, Wen et al. 2016).

        group * sum over filters f of sqrt(p) * ||w_f||_2  +  l1 * sum |w|

    where p is the number of weights of a filter. The lasso of Eq. 6 shrinks single weights; the group lasso shrinks
    whole filters, which `rsr_tf.prune_filters` can then remove. Both together are the sparse group lasso (Simon et al.
    2013). The gradient of a filter that is all zero is defined as zero.

    Args:
        group: non-negative number, lambda of the lasso over filters. Defaults to 1e-4.
        l1: non-negative number, lambda of the lasso over single weights (Eq. 6). Defaults to 0.
        axis: axis of the kernel that indexes its filters: -1 or, for transposed convolutions, -2. Defaults to -1.

    Raises:
        ValueError: if `group` or `l1` is negative, or `axis` is neither -1 nor -2.

    Example:
        >>> layer = rsr_tf.NoisyConv2D(16, 3, kernel_regularizer=rsr_tf.GroupLasso(1e-3, l1=5e-5))
        >>> penalty = rsr_tf.GroupLasso(0.1)(tf.constant([[3.0, 0.0], [4.0, 0.0]]))
        >>> round(float(penalty), 4)  # 0.1 * sqrt(2) * 5
        0.7071
    """

    def __init__(self, group=1e-4, *, l1=0.0, axis=-1):
        _check(group=group, l1=l1, axis=axis)
        self.group = float(group)
        self.l1 = float(l1)
        self.axis = axis

    def __call__(self, kernel):
        return _with_l1(self.group * _group_norm(kernel, self.axis), self.l1, kernel)

    def get_config(self):
        return {"group": self.group, "l1": self.l1, "axis": self.axis}


def _group_norm(kernel, axis):
    """Compute the sum of `sqrt(p) * ||w_f||_2` over the filters that `axis` indexes."""
    others = [other for other in range(len(kernel.shape)) if other != axis % len(kernel.shape)]
    squares = keras.ops.sum(keras.ops.square(kernel), axis=others)
    # the square root has no gradient at zero: use the root of one there, and discard it
    positive = squares > 0
    norms = keras.ops.where(positive, keras.ops.sqrt(keras.ops.where(positive, squares, 1.0)), 0.0)
    return math.sqrt(math.prod(kernel.shape[other] for other in others)) * keras.ops.sum(norms)


def sparsity_penalty(lasso, group_lasso, filter_axes):
    """Return the regularizer of a kernel: lasso, and group lasso if one axis indexes its filters; `None` for neither.

    Args:
        lasso, group_lasso: non-negative numbers, the two lambdas.
        filter_axes: tuple of negative integers, the axes of the kernel that index filters.
    """
    if group_lasso and len(filter_axes) == 1:
        return GroupLasso(group_lasso, l1=lasso, axis=filter_axes[0])
    return keras.regularizers.L1(lasso) if lasso else None


@keras.saving.register_keras_serializable("rsr_tf")
class Orthogonality(keras.regularizers.Regularizer):
    """Penalty that keeps a layer from expanding distances: Defensive Quantization (Lin, Gan and Han, ICLR 2019, Eq. 8).

        beta * ||M^T M - I||_F^2 - beta * max(0, filters - rows)  +  l1 * sum |w|

    where M is the kernel as a matrix of shape `(rows, filters)`; for a convolution, rows = kh * kw * channels. The
    constant is what no matrix with fewer rows than filters can avoid. Without it, the penalty is zero if and only if
    the columns or the rows of M are orthonormal, and it is the same for the two products M^T M and M M^T, of which the
    smaller is computed. The gradient, 4 * beta * M (M^T M - I), is that of the paper's formula.

    The penalty is about the kernel alone. Batch normalization scales every filter again, so the layer that it belongs
    to may still expand distances; see `rsr_tf.layers.spectral_norms`. It wants no singular value to be zero, so it
    works against a lasso and pruning.

    Args:
        beta: non-negative number; choose it by validation, for example from 1e-5 to 1e-3.
        l1: non-negative number, lambda of the lasso over single weights (Eq. 6). Defaults to 0.
        axis: axis of the kernel that indexes its filters: -1 or, for transposed convolutions, -2. Defaults to -1.

    Raises:
        ValueError: if `beta` or `l1` is negative, or `axis` is neither -1 nor -2.

    Example:
        >>> layer = rsr_tf.NoisyConv2D(16, 3, kernel_regularizer=rsr_tf.layers.Orthogonality(1e-4, l1=5e-5))
        >>> float(rsr_tf.layers.Orthogonality(1.0)(tf.constant([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])))
        9.0
    """

    def __init__(self, beta, *, l1=0.0, axis=-1):
        _check(beta=beta, l1=l1, axis=axis)
        self.beta = float(beta)
        self.l1 = float(l1)
        self.axis = axis

    def __call__(self, kernel):
        matrix = _as_matrix(kernel, self.axis)
        rows, filters = matrix.shape
        gram = tf.matmul(matrix, matrix, transpose_a=rows >= filters, transpose_b=rows < filters)
        deviation = gram - tf.eye(min(rows, filters), dtype=gram.dtype)
        return _with_l1(self.beta * tf.reduce_sum(tf.square(deviation)), self.l1, kernel)

    def get_config(self):
        return {"beta": self.beta, "l1": self.l1, "axis": self.axis}


def _as_matrix(kernel, axis):
    """Return a kernel as a matrix `(rows, filters)`, with a column for each filter that `axis` indexes."""
    kernel = tf.convert_to_tensor(kernel)
    kernel = tf.linalg.matrix_transpose(kernel) if axis == -2 else kernel
    return tf.reshape(kernel, (-1, kernel.shape[-1]))


def _with_l1(penalty, l1, kernel):
    return penalty + l1 * keras.ops.sum(keras.ops.abs(kernel)) if l1 else penalty


def _check(*, axis, **factors):
    for name, value in factors.items():
        if not value >= 0:
            raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
    if axis not in (-1, -2):
        raise ValueError(f"`axis` must be -1 or -2. Received: axis={axis}")


def soft_threshold(kernel, threshold):
    """Apply the proximal operator of `threshold * sum |W|` (Parikh and Boyd 2014, Section 6.5.2).

        sign(w) * max(|w| - threshold, 0)

    The proximal step of the lasso makes weights exactly zero, whereas its gradient only makes them small.

    Args:
        kernel: float tensor of any shape.
        threshold: non-negative number, or a tensor that broadcasts against the kernel.

    Returns:
        A tensor of the kernel's shape: every weight moved towards zero by `threshold`, but not past zero.

    Example:
        >>> from rsr_tf.layers.regularizers import soft_threshold
        >>> soft_threshold(tf.constant([1.0, -1.0, 0.25]), 0.5).numpy()
        array([ 0.5, -0.5,  0. ], dtype=float32)
    """
    return tf.sign(kernel) * tf.nn.relu(tf.abs(kernel) - threshold)
