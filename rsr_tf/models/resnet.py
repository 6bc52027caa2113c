"""Residual networks for CIFAR."""

import keras

from rsr_tf.models.common import CIFAR10_MEAN, CIFAR10_STD, Parts, scaled


def resnet20(
    input_shape=(32, 32, 3),
    classes=10,
    *,
    noise="channel",
    noise_scale=0.25,
    lasso=0.0,
    group_lasso=0.0,
    width=1.0,
    scheme=None,
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
):
    """Build ResNet-20 for CIFAR (He et al. 2016, Section 4.2), with parameter-free shortcuts.

    It has 269,722 trainable parameters, and 698 noise scales.

    Args:
        input_shape: `(h, w, channels)`. Defaults to that of CIFAR-10.
        classes: integer, number of logits. Defaults to 10.
        noise: granularity of the weight noise: `"channel"` (as in the paper), `"layer"` (PNI), `"element"`, or
            `"none"`. Defaults to `"channel"`.
        noise_scale: non-negative number, initial value of `alpha` in Eq. 4. Defaults to 0.25.
        lasso: non-negative number, lambda of Eq. 6 for every kernel; 5e-5 in the paper. Defaults to 0.
        group_lasso: non-negative number, lambda of the lasso over whole filters of the convolutions, see
            `rsr_tf.GroupLasso`. Defaults to 0.
        width: positive number, factor on the number of filters. Defaults to 1.
        scheme: a `rsr_tf.models.Scheme`, what another method changes in the layers. Defaults to `None`.
        mean, std: mean and standard deviation of the pixels, a number or one per channel. Default to those of CIFAR-10.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: if `noise` is unknown, `noise_scale`, `lasso` or `group_lasso` is negative, or `width` is not
            positive.

    Example:
        >>> network = rsr_tf.models.resnet20(noise="channel", lasso=5e-5)
        >>> sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
        270420
    """
    parts = Parts(noise, noise_scale, lasso, group_lasso, scheme)
    stages = [scaled(filters, width) for filters in (16, 32, 64)]
    inputs, x = parts.input(input_shape, mean, std)
    x = parts.block(x, stages[0], 3, name="stem")
    for stage, filters in enumerate(stages, 1):
        for unit in range(1, 4):
            strides = 2 if stage > 1 and unit == 1 else 1
            shortcut = subsample(x, filters, strides)
            x = _residual_unit(parts, x, shortcut, filters, strides, f"stage{stage}_unit{unit}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, parts.dense(x, classes, name="logits"), name="resnet20")


def resnet18(
    input_shape=(32, 32, 3),
    classes=10,
    *,
    noise="channel",
    noise_scale=0.25,
    lasso=0.0,
    group_lasso=0.0,
    width=1.0,
    scheme=None,
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
):
    """Build ResNet-18 with a 3x3 stem for CIFAR and 1x1 convolutions as shortcuts: 11,173,962 trainable parameters.

    Args:
        input_shape: `(h, w, channels)`. Defaults to that of CIFAR-10.
        classes: integer, number of logits. Defaults to 10.
        noise: granularity of the weight noise: `"channel"` (as in the paper), `"layer"` (PNI), `"element"`, or
            `"none"`. Defaults to `"channel"`.
        noise_scale: non-negative number, initial value of `alpha` in Eq. 4. Defaults to 0.25.
        lasso: non-negative number, lambda of Eq. 6 for every kernel; 1e-5 in the paper. Defaults to 0.
        group_lasso: non-negative number, lambda of the lasso over whole filters of the convolutions, see
            `rsr_tf.GroupLasso`. Defaults to 0.
        width: positive number, factor on the number of filters; 1, 0.5 and 0.25 in Table 2. Defaults to 1.
        scheme: a `rsr_tf.models.Scheme`, what another method changes in the layers. Defaults to `None`.
        mean, std: mean and standard deviation of the pixels, a number or one per channel. Default to those of CIFAR-10.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: if `noise` is unknown, `noise_scale`, `lasso` or `group_lasso` is negative, or `width` is not
            positive.

    Example:
        >>> rsr_tf.models.resnet18(width=0.25).output_shape
        (None, 10)
    """
    parts = Parts(noise, noise_scale, lasso, group_lasso, scheme)
    inputs, x = parts.input(input_shape, mean, std)
    x = parts.block(x, scaled(64, width), 3, name="stem")
    for stage, filters in enumerate((64, 128, 256, 512), 1):
        filters = scaled(filters, width)
        for unit in range(1, 3):
            name = f"stage{stage}_unit{unit}"
            strides = 2 if stage > 1 and unit == 1 else 1
            changes_shape = strides > 1 or x.shape[-1] != filters
            shortcut = x
            if changes_shape:
                shortcut = parts.block(x, filters, 1, strides=strides, activation=False, name=f"{name}_shortcut")
            x = _residual_unit(parts, x, shortcut, filters, strides, name)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, parts.dense(x, classes, name="logits"), name="resnet18")


def _residual_unit(parts, x, shortcut, filters, strides, name):
    x = parts.block(x, filters, 3, strides=strides, name=f"{name}_conv1")
    x = parts.block(x, filters, 3, activation=False, name=f"{name}_conv2")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return parts.activation(x, f"{name}_relu")


def subsample(x, filters, strides):
    """Apply the shortcut without parameters: keep every `strides`-th pixel, and pad with channels of zeros.

    Args:
        x: tensor `(n, h, w, channels)`.
        filters: integer, number of channels of the result, at least `channels`.
        strides: integer, at least 1.

    Returns:
        A tensor `(n, ceil(h / strides), ceil(w / strides), filters)`; the channels of `x` are in its middle.
    """
    if strides == 1 and x.shape[-1] == filters:
        return x
    x = keras.layers.AveragePooling2D(pool_size=1, strides=strides)(x)
    missing = filters - x.shape[-1]
    return keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [missing // 2, missing - missing // 2]])
