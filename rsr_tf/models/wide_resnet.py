"""Wide residual networks for CIFAR."""

import functools

import keras

from rsr_tf.layers import NoisyConv2D
from rsr_tf.models.common import CIFAR10_MEAN, CIFAR10_STD, Parts, scaled


def wide_resnet(
    input_shape=(32, 32, 3),
    classes=10,
    *,
    depth=28,
    noise="channel",
    noise_scale=0.25,
    lasso=0.0,
    group_lasso=0.0,
    width=10.0,
    scheme=None,
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
):
    """Build a wide residual network for CIFAR: WRN-28-10 (Zagoruyko and Komodakis 2016) unless told otherwise.

    Normalization and activation stand before each convolution, as in He et al. 2016b. WRN-28-10 has 36,479,194
    trainable parameters without noise. Where a convolution is followed by a normalization, both are one
    `NoisyConvBlock`. There is no dropout, as in the networks of the paper without it.

    Args:
        input_shape: `(h, w, channels)`. Defaults to that of CIFAR-10.
        classes: integer, number of logits. Defaults to 10.
        depth: integer, number of layers with weights, 6n + 4 with n at least 1, such as 16, 28 or 34: n units in each
            of three stages. Defaults to 28.
        noise: granularity of the weight noise: `"channel"` (as in the paper), `"layer"` (PNI), `"element"`, or
            `"none"`. Defaults to `"channel"`.
        noise_scale: non-negative number, initial value of `alpha` in Eq. 4. Defaults to 0.25.
        lasso: non-negative number, lambda of Eq. 6 for every kernel. Defaults to 0.
        group_lasso: non-negative number, lambda of the lasso over whole filters of the convolutions, see
            `rsr_tf.GroupLasso`. Defaults to 0.
        width: positive number, the widening factor k: the stages have 16 k, 32 k and 64 k filters; the first
            convolution always has 16. Defaults to 10.
        scheme: a `rsr_tf.models.Scheme`, what another method changes in the layers. Defaults to `None`.
        mean, std: mean and standard deviation of the pixels, a number or one per channel. Default to those of CIFAR-10.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: if `depth` is not 6n + 4, `noise` is unknown, `noise_scale`, `lasso` or `group_lasso` is negative,
            or `width` is not positive.

    Example:
        >>> network = rsr_tf.models.wide_resnet(depth=10, width=1)
        >>> network.name, network.output_shape
        ('wide_resnet_10_1', (None, 10))
    """
    if depth < 10 or depth % 6 != 4:
        raise ValueError(f"`depth` must be 6n + 4, such as 16, 28 or 34. Received: depth={depth}")
    parts = Parts(noise, noise_scale, lasso, group_lasso, scheme)
    inputs, x = parts.input(input_shape, mean, std)
    x = _convolution(parts, x, 16, 3, name="stem")
    for stage, filters in enumerate((16, 32, 64), 1):
        for unit in range(1, (depth - 4) // 6 + 1):
            strides = 2 if stage > 1 and unit == 1 else 1
            x = _unit(parts, x, scaled(filters, width), strides, f"stage{stage}_unit{unit}")
    x = _normalized(parts, x, "final")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, parts.dense(x, classes, name="logits"), name=f"wide_resnet_{depth}_{width:g}")


def _unit(parts, x, filters, strides, name):
    """Apply a residual unit; a shortcut that changes the shape is a convolution of the normalized input."""
    normalized = _normalized(parts, x, name)
    changes_shape = strides > 1 or x.shape[-1] != filters
    shortcut = x
    if changes_shape:
        shortcut = _convolution(parts, normalized, filters, 1, strides=strides, name=f"{name}_shortcut")
    x = parts.block(normalized, filters, 3, strides=strides, name=f"{name}_conv1")
    x = _convolution(parts, x, filters, 3, name=f"{name}_conv2")
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _normalized(parts, x, name):
    """Apply normalization and activation as layers of their own, with the momentum and epsilon of a block."""
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1.001e-5, name=f"{name}_normalization")(x)
    return parts.activation(x, f"{name}_relu")


def _convolution(parts, x, *args, **kwargs):
    """Apply a convolution without normalization, bias and activation."""
    layer = functools.partial(NoisyConv2D, padding="same", use_bias=False, kernel_initializer="he_normal")
    return parts.block(x, *args, layer=layer, activation=False, **kwargs)
