"""The lasso over whole filters, as a kernel regularizer."""

import math

import keras


@keras.saving.register_keras_serializable("rsr_tf")
class GroupLasso(keras.regularizers.Regularizer):
    """Group lasso over the filters of a kernel (Yuan and Lin 2006; on networks, Wen et al. 2016).

        group * sum over filters f of sqrt(p) * ||w_f||_2  +  l1 * sum |w|

    where p is the number of weights of a filter. The lasso of Eq. 6 makes single weights small; this one makes whole
    filters small, which `rsr_tf.prune_filters` can then remove. Both together are the sparse group lasso (Simon et al.
    2013). The gradient of a filter that is all zero is taken as zero.

    Args:
        group: lambda of the lasso over filters, at least 0. Defaults to 1e-4.
        l1: lambda of the lasso over single weights (Eq. 6), at least 0. Defaults to 0.
        axis: axis of the kernel that counts its filters: -1, the default, or -2 for transposed convolutions.

    Raises:
        ValueError: for a negative `group` or `l1`, or another `axis`.

    Example:
        >>> keras.layers.Dense(10, kernel_regularizer=GroupLasso(1e-3))
        >>> rsr_tf.NoisyConv2D(16, 3, kernel_regularizer=GroupLasso(1e-3, l1=5e-5))
    """

    def __init__(self, group=1e-4, *, l1=0.0, axis=-1):
        for name, value in (("group", group), ("l1", l1)):
            if not value >= 0:
                raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
        if axis not in (-1, -2):
            raise ValueError(f"`axis` must be -1 or -2. Received: axis={axis}")
        self.group = float(group)
        self.l1 = float(l1)
        self.axis = axis

    def __call__(self, kernel):
        penalty = self.group * _group_norm(kernel, self.axis)
        return penalty + self.l1 * keras.ops.sum(keras.ops.abs(kernel)) if self.l1 else penalty

    def get_config(self):
        return {"group": self.group, "l1": self.l1, "axis": self.axis}


def _group_norm(kernel, axis):
    """Sum of `sqrt(p) * ||w_f||_2` over the filters, which `axis` counts."""
    others = [other for other in range(len(kernel.shape)) if other != axis % len(kernel.shape)]
    squares = keras.ops.sum(keras.ops.square(kernel), axis=others)
    # the root has no gradient at zero: there it is taken of one, and left out
    positive = squares > 0
    norms = keras.ops.where(positive, keras.ops.sqrt(keras.ops.where(positive, squares, 1.0)), 0.0)
    return math.sqrt(math.prod(kernel.shape[other] for other in others)) * keras.ops.sum(norms)
