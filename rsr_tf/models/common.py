"""Parts that all networks share: normalization of the pixels, noisy layers with their penalties, scaled widths."""

import functools

import keras

from rsr_tf.layers import GroupLasso, NoisyConvBlock, NoisyDense

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
"""Mean and standard deviation of the pixels of CIFAR-10's training images, per channel."""


def block_and_dense(noise, noise_scale, lasso, group_lasso):
    """Return the two layer constructors of a network, with noise and penalties already set.

    Args:
        noise, noise_scale: as in `rsr_tf.layers.NoisyConv2D`.
        lasso: non-negative number, lambda of Eq. 6 for every kernel.
        group_lasso: non-negative number, lambda of the lasso over the filters of the convolutions.

    Returns:
        A tuple of a partial `NoisyConvBlock` and a partial `NoisyDense` with float32 outputs.

    Raises:
        ValueError: if `lasso` or `group_lasso` is negative.
    """
    for name, value in (("lasso", lasso), ("group_lasso", group_lasso)):
        if not value >= 0:
            raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
    l1 = keras.regularizers.L1(lasso) if lasso else None
    penalty = GroupLasso(group_lasso, l1=lasso) if group_lasso else l1
    settings = {"noise": noise, "noise_scale": noise_scale}
    block = functools.partial(NoisyConvBlock, kernel_regularizer=penalty, **settings)
    dense = functools.partial(NoisyDense, dtype="float32", kernel_regularizer=l1, **settings)
    return block, dense


def normalized_input(input_shape, mean, std):
    """Create the input of a network and its normalization.

    Normalization is a layer without weights inside the network, so that attacks act on pixels in [0,1] (Section 4.1).

    Args:
        input_shape: `(h, w, channels)`.
        mean, std: mean and standard deviation of the pixels, a number or one per channel.

    Returns:
        A tuple `(inputs, normalized)` of symbolic tensors.
    """
    inputs = keras.Input(tuple(input_shape), name="pixels")
    variance = [deviation**2 for deviation in _per_channel(std, input_shape[-1])]
    normalize = keras.layers.Normalization(
        mean=_per_channel(mean, input_shape[-1]), variance=variance, dtype="float32", name="normalize"
    )
    return inputs, normalize(inputs)


def _per_channel(value, channels):
    return [float(value)] * channels if isinstance(value, int | float) else [float(entry) for entry in value]


def scaled(filters, width):
    """Return a number of filters times `width`, rounded, at least 1; raise `ValueError` for a `width` of 0 or less."""
    if not width > 0:
        raise ValueError(f"`width` must be positive. Received: width={width}")
    return max(1, round(filters * width))
