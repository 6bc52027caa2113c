"""The networks of the paper as Keras functional models: pixels in [0,1] in, float32 logits out.

Every convolution and dense layer is noisy and carries the lasso. The four schemes of Table 1 are two knobs: PGD is
`noise="none", lasso=0`, CNI has noise, Lasso has lasso, RSR has both; `noise="layer"` is Parametric Noise
Injection (PNI, He et al. 2019).
Normalization is a non-trainable layer inside, so that an attack acts on natural pixels (Section 4.1).
"""

import functools

import keras

from rsr_tf.layers import NoisyConv2D, NoisyConvBlock, NoisyDense
from rsr_tf.layers.regularizers import GroupLasso

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
"""Mean and standard deviation of the pixels of CIFAR-10's training images, per channel."""

VGG16_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Filters and number of convolutions of the five stages of VGG-16 (configuration D)."""


def small_cnn(
    input_shape=(8, 8, 1),
    classes=10,
    *,
    noise="channel",
    noise_scale=0.25,
    lasso=0.0,
    group_lasso=0.0,
    width=1.0,
    mean=0.5,
    std=0.5,
):
    """A small convolutional network for small images: three blocks and a dense layer, 28,842 parameters.

    Args:
        input_shape: `(h, w, channels)`. Defaults to `(8, 8, 1)`, scikit-learn's digits.
        classes: number of logits. Defaults to 10.
        noise, noise_scale: see `rsr_tf.layers.WeightNoise`.
        lasso: lambda of Eq. 6, for every kernel. Defaults to 0.
        group_lasso: lambda of the lasso over whole filters of the convolutions, see `rsr_tf.GroupLasso`. Defaults to 0.
        width: factor on the number of filters. Defaults to 1.
        mean, std: of the pixels, a number or one per channel.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: for an unknown `noise`, a negative `noise_scale`, `lasso` or `group_lasso`, or a `width` that is not
            positive.
    """
    block, dense = _noisy_layers(noise, noise_scale, lasso, group_lasso)
    filters = [_scaled(number, width) for number in (32, 32, 64)]
    inputs, x = _normalized_input(input_shape, mean, std)
    x = block(filters[0], 3, activation="relu", name="conv1")(x)
    x = block(filters[1], 3, strides=2, activation="relu", name="conv2")(x)
    x = block(filters[2], 3, activation="relu", name="conv3")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, dense(classes, name="logits")(x), name="small_cnn")


def resnet20(
    input_shape=(32, 32, 3),
    classes=10,
    *,
    noise="channel",
    noise_scale=0.25,
    lasso=0.0,
    group_lasso=0.0,
    width=1.0,
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
):
    """ResNet-20 for CIFAR (He et al. 2016, Section 4.2) with parameter-free shortcuts.

    It has 269,722 parameters that are trained, and 698 noise scales.

    Args:
        input_shape: `(h, w, channels)`. Defaults to CIFAR-10's.
        classes: number of logits. Defaults to 10.
        noise, noise_scale: see `rsr_tf.layers.WeightNoise`.
        lasso: lambda of Eq. 6; the paper takes 5e-5 for this network. Defaults to 0.
        group_lasso: lambda of the lasso over whole filters of the convolutions, see `rsr_tf.GroupLasso`. Defaults to 0.
        width: factor on the number of filters. Defaults to 1.
        mean, std: of the pixels, a number or one per channel.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: for an unknown `noise`, a negative `noise_scale`, `lasso` or `group_lasso`, or a `width` that is not
            positive.
    """
    block, dense = _noisy_layers(noise, noise_scale, lasso, group_lasso)
    stages = [_scaled(filters, width) for filters in (16, 32, 64)]
    inputs, x = _normalized_input(input_shape, mean, std)
    x = block(stages[0], 3, activation="relu", name="stem")(x)
    for stage, filters in enumerate(stages, 1):
        for unit in range(1, 4):
            strides = 2 if stage > 1 and unit == 1 else 1
            shortcut = _subsample(x, filters, strides)
            x = _residual_unit(block, x, shortcut, filters, strides, f"stage{stage}_unit{unit}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, dense(classes, name="logits")(x), name="resnet20")


def resnet18(
    input_shape=(32, 32, 3),
    classes=10,
    *,
    noise="channel",
    noise_scale=0.25,
    lasso=0.0,
    group_lasso=0.0,
    width=1.0,
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
):
    """ResNet-18 with a 3x3 stem for CIFAR and 1x1 convolutions as shortcuts: 11,173,962 trainable parameters.

    Args:
        input_shape: `(h, w, channels)`. Defaults to CIFAR-10's.
        classes: number of logits. Defaults to 10.
        noise, noise_scale: see `rsr_tf.layers.WeightNoise`.
        lasso: lambda of Eq. 6; the paper takes 1e-5 for this network. Defaults to 0.
        group_lasso: lambda of the lasso over whole filters of the convolutions, see `rsr_tf.GroupLasso`. Defaults to 0.
        width: factor on the number of filters; Table 2 has 1, 0.5 and 0.25. Defaults to 1.
        mean, std: of the pixels, a number or one per channel.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: for an unknown `noise`, a negative `noise_scale`, `lasso` or `group_lasso`, or a `width` that is not
            positive.
    """
    block, dense = _noisy_layers(noise, noise_scale, lasso, group_lasso)
    inputs, x = _normalized_input(input_shape, mean, std)
    x = block(_scaled(64, width), 3, activation="relu", name="stem")(x)
    for stage, filters in enumerate((64, 128, 256, 512), 1):
        filters = _scaled(filters, width)
        for unit in range(1, 3):
            name = f"stage{stage}_unit{unit}"
            strides = 2 if stage > 1 and unit == 1 else 1
            changes_shape = strides > 1 or x.shape[-1] != filters
            shortcut = block(filters, 1, strides=strides, name=f"{name}_shortcut")(x) if changes_shape else x
            x = _residual_unit(block, x, shortcut, filters, strides, name)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, dense(classes, name="logits")(x), name="resnet18")


def vgg16(
    input_shape=None,
    classes=None,
    *,
    head="cifar",
    noise="channel",
    noise_scale=0.25,
    lasso=0.0,
    group_lasso=0.0,
    width=1.0,
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
):
    """VGG-16 (Simonyan and Zisserman 2014, configuration D) with one of two heads.

    The paper gives VGG-16 a capacity of 138,357,544 parameters (Table 1). That is the number of the ImageNet network:
    224x224 images, 1,000 classes, three dense layers, biases and no batch normalization, and it is what
    `head="imagenet"` builds. The usual network for CIFAR-10 has the same thirteen convolutions, each followed by batch
    normalization, and a single dense layer: `head="cifar"` has 14,724,042 parameters.

    Args:
        input_shape: `(h, w, channels)`. Defaults to `(32, 32, 3)`, or `(224, 224, 3)` with the ImageNet head.
        classes: number of logits. Defaults to 10, or 1,000 with the ImageNet head.
        head: `"cifar"` (default) or `"imagenet"`.
        noise, noise_scale: see `rsr_tf.layers.WeightNoise`.
        lasso: lambda of Eq. 6; the paper takes 1e-5 for this network. Defaults to 0.
        group_lasso: lambda of the lasso over whole filters of the convolutions, see `rsr_tf.GroupLasso`. Defaults to 0.
        width: factor on the number of filters. Defaults to 1.
        mean, std: of the pixels, a number or one per channel.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: for an unknown `head` or `noise`, images under 32x32, or a negative `noise_scale`, `lasso` or
            `group_lasso`.
    """
    if head not in ("cifar", "imagenet"):
        raise ValueError(f'`head` must be "cifar" or "imagenet". Received: head={head!r}')
    input_shape = tuple(input_shape or ((32, 32, 3) if head == "cifar" else (224, 224, 3)))
    if min(input_shape[:2]) < 32:
        raise ValueError(
            f"`input_shape` of VGG-16 must be at least 32x32, as it halves five times. Received: {input_shape}"
        )
    block, dense = _noisy_layers(noise, noise_scale, lasso, group_lasso)
    if head == "imagenet":
        block = functools.partial(NoisyConv2D, padding="same", **block.keywords)
    inputs, x = _normalized_input(input_shape, mean, std)
    for stage, (filters, convolutions) in enumerate(VGG16_STAGES, 1):
        for number in range(1, convolutions + 1):
            x = block(_scaled(filters, width), 3, activation="relu", name=f"stage{stage}_conv{number}")(x)
        x = keras.layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    if head == "imagenet":
        for number in (1, 2):
            x = dense(_scaled(4096, width), activation="relu", dtype=None, name=f"dense{number}")(x)
            x = keras.layers.Dropout(0.5, name=f"dropout{number}")(x)
    return keras.Model(inputs, dense(classes or (10 if head == "cifar" else 1000), name="logits")(x), name="vgg16")


def _noisy_layers(noise, noise_scale, lasso, group_lasso):
    """The two layers that every network here is built of, with the knobs of Table 1 set."""
    for name, value in (("lasso", lasso), ("group_lasso", group_lasso)):
        if not value >= 0:
            raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
    l1 = keras.regularizers.L1(lasso) if lasso else None
    both = GroupLasso(group_lasso, l1=lasso) if group_lasso else l1
    knobs = {"noise": noise, "noise_scale": noise_scale}
    block = functools.partial(NoisyConvBlock, kernel_regularizer=both, **knobs)
    dense = functools.partial(NoisyDense, dtype="float32", kernel_regularizer=l1, **knobs)
    return block, dense


def _normalized_input(input_shape, mean, std):
    inputs = keras.Input(tuple(input_shape), name="pixels")
    variance = [deviation**2 for deviation in _per_channel(std, input_shape[-1])]
    normalize = keras.layers.Normalization(
        mean=_per_channel(mean, input_shape[-1]), variance=variance, dtype="float32", name="normalize"
    )
    return inputs, normalize(inputs)


def _per_channel(value, channels):
    return [float(value)] * channels if isinstance(value, int | float) else [float(entry) for entry in value]


def _scaled(filters, width):
    if not width > 0:
        raise ValueError(f"`width` must be positive. Received: width={width}")
    return max(1, round(filters * width))


def _residual_unit(block, x, shortcut, filters, strides, name):
    x = block(filters, 3, strides=strides, activation="relu", name=f"{name}_conv1")(x)
    x = block(filters, 3, name=f"{name}_conv2")(x)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _subsample(x, filters, strides):
    """Shortcut without parameters: every `strides`-th pixel, new channels zero."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    x = keras.layers.AveragePooling2D(pool_size=1, strides=strides)(x)
    missing = filters - x.shape[-1]
    return keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [missing // 2, missing - missing // 2]])
