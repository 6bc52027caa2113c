"""VGG-16 for CIFAR and for ImageNet."""

import functools

import keras

from rsr_tf.layers import NoisyConv2D, NoisyConvBlock
from rsr_tf.models.common import CIFAR10_MEAN, CIFAR10_STD, Parts, scaled

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Filters and number of convolutions of the five stages of VGG-16 (configuration D)."""


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
    scheme=None,
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
):
    """Build VGG-16 (Simonyan and Zisserman 2014, configuration D) with one of two heads.

    The paper states a capacity of 138,357,544 parameters for VGG-16 (Table 1). This is the network for ImageNet, which
    `head="imagenet"` builds: 224x224 images, 1,000 classes, three dense layers, biases and no batch normalization. The
    network commonly used for CIFAR-10 has the same thirteen convolutions, each followed by batch normalization, and
    one dense layer: `head="cifar"` has 14,724,042 parameters.

    Args:
        input_shape: `(h, w, channels)`, at least 32x32. Defaults to `(32, 32, 3)`, with the ImageNet head to
            `(224, 224, 3)`.
        classes: integer, number of logits. Defaults to 10, with the ImageNet head to 1,000.
        head: `"cifar"` or `"imagenet"`. Defaults to `"cifar"`.
        noise: granularity of the weight noise: `"channel"` (as in the paper), `"layer"` (PNI), `"element"`, or
            `"none"`. Defaults to `"channel"`.
        noise_scale: non-negative number, initial value of `alpha` in Eq. 4. Defaults to 0.25.
        lasso: non-negative number, lambda of Eq. 6 for every kernel; 1e-5 in the paper. Defaults to 0.
        group_lasso: non-negative number, lambda of the lasso over whole filters of the convolutions, see
            `rsr_tf.GroupLasso`. Defaults to 0.
        width: positive number, factor on the number of filters. Defaults to 1.
        scheme: a `rsr_tf.models.Scheme`, what another method changes in the layers. Defaults to `None`.
        mean, std: mean and standard deviation of the pixels, a number or one per channel. Default to those of CIFAR-10.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: if `head` or `noise` is unknown, images are smaller than 32x32, `noise_scale`, `lasso` or
            `group_lasso` is negative, or `width` is not positive.

    Example:
        >>> rsr_tf.models.vgg16(classes=100, width=0.25).output_shape
        (None, 100)
    """
    if head not in ("cifar", "imagenet"):
        raise ValueError(f'`head` must be "cifar" or "imagenet". Received: head={head!r}')
    input_shape = tuple(input_shape or ((32, 32, 3) if head == "cifar" else (224, 224, 3)))
    if min(input_shape[:2]) < 32:
        raise ValueError(
            f"`input_shape` of VGG-16 must be at least 32x32, as it halves five times. Received: {input_shape}"
        )
    parts = Parts(noise, noise_scale, lasso, group_lasso, scheme)
    layer = NoisyConvBlock if head == "cifar" else functools.partial(NoisyConv2D, padding="same")
    inputs, x = parts.input(input_shape, mean, std)
    for stage, (filters, convolutions) in enumerate(STAGES, 1):
        for number in range(1, convolutions + 1):
            x = parts.block(x, scaled(filters, width), 3, layer=layer, name=f"stage{stage}_conv{number}")
        x = keras.layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    if head == "imagenet":
        for number in (1, 2):
            options = {"activation": parts.scheme.activation, "dtype": None}
            x = parts.dense(x, scaled(4096, width), name=f"dense{number}", **options)
            x = keras.layers.Dropout(0.5, name=f"dropout{number}")(x)
    logits = parts.dense(x, classes or (10 if head == "cifar" else 1000), name="logits")
    return keras.Model(inputs, logits, name="vgg16")
