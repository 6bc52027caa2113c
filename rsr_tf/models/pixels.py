"""What stands between the pixels of a data set and a network that was made for other images, as layers inside it."""

import keras

from rsr_tf.layers import FeatureNoise
from rsr_tf.layers.graphs import call_layers


def from_pixels(
    network, image_shape, *, resize=None, rescale=None, offset=0.0, reverse_channels=False, image_noise=0.0
):
    """Put layers before a network, so that it takes the images of a data set, and attacks act on their pixels.

    In order: noise, gray images repeated to three channels if the network takes three, another size, and

        rescale * pixels + offset

    Args:
        network: a functional or Sequential model with one input `(n, h, w, channels)`. Its layers are used, not copied.
        image_shape: `(h, w, channels)` of the data.
        resize: `(h, w)` to which images are resized (bilinear). Defaults to `None`.
        rescale, offset: numbers, or one per channel. `rescale` defaults to `None`, which leaves pixels in [0,1].
        reverse_channels: whether the network takes blue before red. Defaults to `False`.
        image_noise: standard deviation of noise on the pixels. Defaults to 0.

    Returns:
        A functional `keras.Model` with float32 outputs.

    Raises:
        ValueError: if the network takes images of another shape.
    """
    inputs = x = keras.Input(tuple(image_shape), name="pixels")
    if image_noise:
        x = FeatureNoise(image_noise, dtype="float32", name="image_noise")(x)
    if (image_shape[-1], network.inputs[0].shape[-1]) == (1, 3):
        x = keras.layers.Concatenate(dtype="float32", name="gray_to_rgb")([x, x, x])
    if resize:
        # not the layer `Resizing`: called without `training`, it turns all layers after it to training mode
        x = keras.ops.image.resize(x, tuple(resize), data_format="channels_last")
    check_takes(network, x.shape[1:])
    if reverse_channels:
        x = keras.ops.flip(x, axis=-1)
    if rescale is not None:
        x = keras.layers.Rescaling(rescale, offset, dtype="float32", name="rescale")(x)
    (outputs,) = call_layers(network, x)
    if outputs.dtype != "float32":
        outputs = keras.layers.Activation("linear", dtype="float32", name="float32_logits")(outputs)
    return keras.Model(inputs, outputs, name=network.name)


def check_takes(network, image_shape):
    """Raise `ValueError` unless a network takes images of a shape `(h, w, channels)`; sizes may be open."""
    taken = tuple(network.inputs[0].shape)[1:]
    fits = len(taken) == len(image_shape) and all(
        want in (None, have) for want, have in zip(taken, image_shape, strict=True)
    )
    if not fits:
        height_and_width = [size for size in taken[:2] if size]
        hint = f"; `resize = {height_and_width}` makes them so" if taken[2:] == tuple(image_shape[2:]) else ""
        raise ValueError(f"the network takes images of shape {taken}{hint}. Received: images {tuple(image_shape)}")
