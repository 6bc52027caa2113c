"""The classification networks of `keras.applications`, noisy and with the lasso, for pixels in [0,1]."""

import difflib
import inspect

import keras

from rsr_tf.layers import add_noise
from rsr_tf.models.pixels import from_pixels

UNIT = {"rescale": 2.0, "offset": -1.0}
BYTES = {"rescale": 255.0, "offset": 0.0}
STANDARDIZED = {
    "rescale": [1 / 0.229, 1 / 0.224, 1 / 0.225],
    "offset": [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
}
CENTERED = {"rescale": 255.0, "offset": [-103.939, -116.779, -123.68], "reverse_channels": True}

EXPECTED_PIXELS = {
    "convnext": BYTES,
    "densenet": STANDARDIZED,
    "efficientnet": BYTES,
    "efficientnet_v2": BYTES,
    "inception_resnet_v2": UNIT,
    "inception_v3": UNIT,
    "mobilenet": UNIT,
    "mobilenet_v2": UNIT,
    "mobilenet_v3": BYTES,
    "nasnet": UNIT,
    "resnet": CENTERED,
    "resnet_v2": UNIT,
    "vgg16": CENTERED,
    "vgg19": CENTERED,
    "xception": UNIT,
}
"""Module of `keras.applications` -> how pixels in [0,1] become what its networks expect (its `preprocess_input`)."""


def applications():
    """Return the networks of `keras.applications` as a dict from name to function."""
    members = {name: getattr(keras.applications, name) for name in dir(keras.applications)}
    return {name: member for name, member in members.items() if inspect.isfunction(member)}


def application(
    name,
    image_shape,
    classes,
    *,
    noise="channel",
    noise_scale=0.25,
    lasso=0.0,
    group_lasso=0.0,
    weights=None,
    resize=None,
    rescale=None,
    offset=0.0,
    image_noise=0.0,
):
    """Build a network of `keras.applications` for the images and classes of a data set.

    It is the network of Keras with three channels and logits; a gray image is repeated to three channels.

    Args:
        name: name of the function in `keras.applications`, such as `"MobileNetV3Small"`.
        image_shape: `(h, w, channels)` of the data, with 1 or 3 channels.
        classes: integer, number of logits.
        noise, noise_scale, lasso, group_lasso: as in `rsr_tf.add_noise`, for every convolution and dense layer.
        weights: path of a `.weights.h5` or `.keras` file of the same network of Keras with as many classes;
            `"imagenet"`, which Keras downloads, for all layers but a new dense one after the mean over the image; or
            `None` (default) for random weights.
        resize: `(h, w)` to which images are resized first. Defaults to `None`.
        rescale, offset: numbers: the network gets `rescale * pixels + offset`. Default to what the network expects, see
            `EXPECTED_PIXELS`.
        image_noise: standard deviation of noise on the pixels. Defaults to 0.

    Returns:
        A `keras.Model` from `(n, h, w, channels)` pixels in [0,1] to `(n, classes)` float32 logits.

    Raises:
        ValueError: if the name is unknown, the images are too small or have other channels, or the weights do not fit.
        OSError: if the weights cannot be read or downloaded.

    Example:
        >>> from rsr_tf.models.applications import application
        >>> network = application("MobileNetV3Small", (8, 8, 1), 10, resize=(32, 32), lasso=5e-5)
        >>> [layer.name for layer in network.layers[:2]], network.output_shape
        (['pixels', 'gray_to_rgb'], (None, 10))
    """
    build = _function(name)
    if image_shape[-1] not in (1, 3):
        raise ValueError(f"keras:{name} takes images with 1 or 3 channels. Received: image_shape={tuple(image_shape)}")
    network = _stock(name, build, (*(resize or image_shape[:2]), 3), classes, weights)
    module = build.__module__.rpartition(".")[2]
    pixels = EXPECTED_PIXELS[module] if rescale is None else {"rescale": rescale, "offset": offset}
    network = from_pixels(network, image_shape, resize=resize, image_noise=image_noise, **pixels)
    return add_noise(network, noise, lasso=lasso, group_lasso=group_lasso, noise_scale=noise_scale)


def _function(name):
    known = applications()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or list(known)
        raise ValueError(
            f"keras:{name} is no network of keras.applications. Expected one such as {', '.join(sorted(close))}"
        )
    return known[name]


def _stock(name, build, input_shape, classes, weights):
    """Build the network of Keras with its weights, for images that it takes."""
    try:
        if weights == "imagenet":
            base = _with_imagenet_weights(name, build, input_shape)
            return keras.Model(base.inputs, keras.layers.Dense(classes, name="logits")(base.outputs[0]), name=base.name)
        network = build(weights=None, input_shape=input_shape, classes=classes, classifier_activation=None)
    except ValueError as error:  # images are too small, or halved away
        raise ValueError(f"keras:{name} does not take these images (see `resize`): {str(error).strip()}") from error
    if weights:
        _load_weights(name, network, weights)
    return network


def _with_imagenet_weights(name, build, input_shape):
    try:
        return build(weights="imagenet", include_top=False, pooling="avg", input_shape=input_shape)
    except ValueError:
        raise
    except Exception as error:  # `keras.utils.get_file` raises `Exception` itself
        raise OSError(f"cannot download the ImageNet weights of keras:{name}: {str(error).strip()}") from error


def _load_weights(name, network, path):
    try:
        network.load_weights(path)
    except OSError:
        raise
    except Exception as error:  # h5py, zipfile and Keras raise many kinds for a broken file
        raise ValueError(f"the weights {path} do not fit keras:{name}: {str(error).strip()}") from error
