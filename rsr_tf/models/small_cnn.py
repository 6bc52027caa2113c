"""A small network for small images."""

import keras

from rsr_tf.models.common import Parts, scaled


def small_cnn(
    input_shape=(8, 8, 1),
    classes=10,
    *,
    noise="channel",
    noise_scale=0.25,
    lasso=0.0,
    group_lasso=0.0,
    width=1.0,
    scheme=None,
    mean=0.5,
    std=0.5,
):
    """Build a small convolutional network for small images: three blocks and a dense layer, 28,842 parameters.

    Args:
        input_shape: `(h, w, channels)`. Defaults to `(8, 8, 1)`, that of scikit-learn's digits.
        classes: integer, number of logits. Defaults to 10.
        noise: granularity of the weight noise: `"channel"` (as in the paper), `"layer"` (PNI), `"element"`, or
            `"none"`. Defaults to `"channel"`.
        noise_scale: non-negative number, initial value of `alpha` in Eq. 4. Defaults to 0.25.
        lasso: non-negative number, lambda of Eq. 6 for every kernel. Defaults to 0.
        group_lasso: non-negative number, lambda of the lasso over whole filters of the convolutions, see
            `rsr_tf.GroupLasso`. Defaults to 0.
        width: positive number, factor on the number of filters. Defaults to 1.
        scheme: a `rsr_tf.models.Scheme`, what another method changes in the layers. Defaults to `None`.
        mean, std: mean and standard deviation of the pixels, a number or one per channel. Default to 0.5.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: if `noise` is unknown, `noise_scale`, `lasso` or `group_lasso` is negative, or `width` is not
            positive.

    Example:
        >>> network = rsr_tf.models.small_cnn(noise="channel", lasso=1e-4)
        >>> network(tf.zeros((2, 8, 8, 1))).shape
        TensorShape([2, 10])
    """
    parts = Parts(noise, noise_scale, lasso, group_lasso, scheme)
    filters = [scaled(number, width) for number in (32, 32, 64)]
    inputs, x = parts.input(input_shape, mean, std)
    x = parts.block(x, filters[0], 3, name="conv1")
    x = parts.block(x, filters[1], 3, strides=2, name="conv2")
    x = parts.block(x, filters[2], 3, name="conv3")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, parts.dense(x, classes, name="logits"), name="small_cnn")
