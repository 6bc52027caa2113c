"""Random changes of training images by the preprocessing layers of Keras, each a function of seed and step alone."""

import keras
import tensorflow as tf

CROP_PADDING = 4
"""Pixels of zero padding around an image before it is cropped (He et al. 2016)."""
LAYERS = {
    "AutoContrast": {},
    "Equalization": {},
    "RandAugment": {},
    "RandomBrightness": {"factor": 0.2},
    "RandomColorDegeneration": {"factor": 0.5},
    "RandomContrast": {"factor": 0.2},
    "RandomErasing": {},
    "RandomFlip": {"mode": "horizontal"},
    "RandomGaussianBlur": {},
    "RandomGrayscale": {},
    "RandomHue": {"factor": 0.2},
    "RandomInvert": {"factor": 0.5},
    "RandomPosterization": {"factor": 4},
    "RandomRotation": {"factor": 0.05},
    "RandomSaturation": {"factor": 0.5},
    "RandomSharpness": {"factor": 0.5},
    "RandomShear": {"x_factor": 0.1, "y_factor": 0.1},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.2},
    "Solarization": {"threshold_factor": 0.5},
}
"""Name of a layer of `keras.layers` -> its arguments, where its defaults change nothing, too much, or are missing."""
MIXING = ("CutMix", "MixUp")
"""Layers that mix the labels of two images, which a loss of one class for each image cannot take."""
CROP_AND_FLIP = "crop_and_flip"


class StepSeed(keras.random.SeedGenerator):
    """A generator of seeds that are functions of a key: within the graph of a batch, that of seed and step."""

    def start(self, key):
        """Start again from a key, an integer tensor `(2,)`."""
        self.key, self.count = key, 0

    def next(self, ordered=True):
        """Return the next seed, int32 `(2,)`."""
        self.count += 1
        return tf.cast(tf.random.experimental.stateless_fold_in(self.key, self.count), tf.int32)


class Augmentation:
    """Augmentations of a batch, one after the other.

    Args:
        names: list of `"crop_and_flip"` (He et al. 2016) and keys of `LAYERS`, in their order.
        image_shape: tuple `(h, w, c)`.

    Raises:
        ValueError: for an unknown name, a layer that mixes labels, or one that cannot take such images.

    Example:
        >>> change = rsr_tf.data.Augmentation(["crop_and_flip", "RandomErasing"], (8, 8, 1))
        >>> change(x, tf.constant([0, 7], tf.int64)).shape  # seed 0, step 7
        TensorShape([16, 8, 8, 1])
    """

    def __init__(self, names, image_shape):
        self.steps = [_step(name) for name in names]
        for name, step in zip(names, self.steps, strict=True):
            images = tf.zeros((2, *image_shape))
            try:
                found = step(images, tf.zeros(2, tf.int64)).shape
            except Exception as error:  # Keras and TensorFlow raise many kinds
                found = f"{type(error).__name__}"
            if found != images.shape:
                raise ValueError(
                    f"`augment`: {name} must be able to take images of shape {tuple(image_shape)}. Received: {found}"
                )

    def __call__(self, images, key):
        """Change a batch at random.

        Args:
            images: float32 tensor `(n, h, w, c)` in [0,1].
            key: int64 tensor `(2,)`, seed and step; the result is a function of images and key.

        Returns:
            A tensor as `images`, in [0,1].
        """
        for number, step in enumerate(self.steps):
            images = step(images, key + tf.constant([2 * number, 0], tf.int64))
        return images


def _step(name):
    """Return a function of images and key."""
    if name == CROP_AND_FLIP:
        return crop_and_flip
    if name in MIXING:
        raise ValueError(
            f"`augment` takes no layers that mix labels, as the losses take one class for each image. Received: {name}"
        )
    if name not in LAYERS:
        raise ValueError(f"`augment` must be of {(CROP_AND_FLIP, *LAYERS)}. Received: {name!r}")
    make = getattr(keras.layers, name)
    try:
        layer = make(value_range=(0, 1), dtype="float32", **LAYERS[name])
    except (TypeError, ValueError):  # a layer that moves pixels has no range of values
        layer = make(dtype="float32", **LAYERS[name])
    seeds = StepSeed(0)
    _give(layer, seeds)

    def apply(images, key):
        seeds.start(key)
        changed = tf.clip_by_value(layer(images, training=True), 0.0, 1.0)
        return tf.ensure_shape(changed, images.shape)

    return apply


def _give(layer, seeds):
    """Let a layer and the layers that it consists of take their seeds from one generator."""
    if hasattr(layer, "generator"):
        layer.generator = seeds
    for part in vars(layer).values():
        if isinstance(part, keras.layers.Layer):
            _give(part, seeds)


def crop_and_flip(images, key):
    """Crop zero-padded images at random and mirror half of them (He et al. 2016); one draw per image."""
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    offsets = tf.random.stateless_uniform((2, count), key, 0, 2 * CROP_PADDING + 1, tf.int32)
    flips = tf.random.stateless_uniform((count, 1, 1, 1), key + tf.constant([1, 0], tf.int64), 0, 2, tf.int32)
    padding = [CROP_PADDING, CROP_PADDING]
    padded = tf.pad(images, [[0, 0], padding, padding, [0, 0]])
    rows = offsets[0][:, tf.newaxis] + tf.range(height)
    columns = offsets[1][:, tf.newaxis] + tf.range(width)
    cropped = tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    return tf.where(flips == 1, tf.reverse(cropped, [2]), cropped)
