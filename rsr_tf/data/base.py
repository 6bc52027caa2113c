"""The classes `Split` and `DataSet`, and functions of pixels."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

STATISTICS_IMAGES = 10_000
"""Images of a data set outside memory whose pixels are counted; all of a smaller one."""


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Args:
        images: array `(n, h, w, c)`, uint8 or float32 in [0,1], or `StoredImages`.
        labels: integer array `(n,)`.

    Example:
        >>> split = rsr_tf.data.Split(np.zeros((5, 8, 8, 1), "uint8"), np.arange(5))
        >>> len(split), split.first(2).labels.tolist(), split.pixels().dtype.name
        (5, [0, 1], 'float32')
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def first(self, count):
        """Return the first `count` examples as a `Split`; `None` means all."""
        return Split(self.images[:count], self.labels[:count])

    def take(self, chosen):
        """Return the examples of an array of positions as a `Split`."""
        return Split(self.images[chosen], self.labels[chosen])

    def pixels(self):
        """Return the images as a float32 array `(n, h, w, c)` in [0,1]."""
        return as_pixels(np.asarray(self.images)).numpy()


@dataclass(frozen=True)
class DataSet:
    """A data set with splits for training, validation and test.

    Args:
        title: string, the name of the data set in reports.
        train, validation, test: `Split` objects; a loader gives `None` for a `validation` to be held out of `train`.
        class_names: tuple of strings; a label is an index into it.

    Example:
        >>> digits = rsr_tf.data.load("digits")
        >>> digits.image_shape, len(digits.class_names)
        ((8, 8, 1), 10)
    """

    title: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple

    @property
    def image_shape(self):
        """Tuple `(h, w, c)`."""
        return self.train.images.shape[1:]

    def pixel_statistics(self):
        """Compute mean and standard deviation of the training pixels per channel.

        Of images that are not in memory, at most `STATISTICS_IMAGES` are read, evenly spread.

        Returns:
            A tuple of two lists of floats. Standard deviations are at least 1e-3, so that they can be divided by.
        """
        images = self.train.images
        if isinstance(images, np.ndarray):
            channels = [channel_statistics(channel) for channel in np.moveaxis(images, -1, 0)]
        else:
            channels = [_statistics(counts) for counts in _counts_of_stored(images)]
        return [mean for mean, _ in channels], [max(std, 1e-3) for _, std in channels]


def _counts_of_stored(images):
    """Count the values of stored images, a few images at a time; an integer array `(c, 256)`."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), STATISTICS_IMAGES)).round().astype(np.int64))
    counts = np.zeros((images.shape[-1], 256), np.int64)
    for part in np.array_split(chosen, -(-len(chosen) // 64)):
        channels = np.moveaxis(images.gather(part), -1, 0)
        counts += [np.bincount(channel.ravel(), minlength=256) for channel in channels]
    return counts


def channel_statistics(pixels):
    """Compute mean and standard deviation of pixels.

    Args:
        pixels: array of any shape, uint8 or float in [0,1].

    Returns:
        A tuple of two floats, for pixels in [0,1].

    Example:
        >>> rsr_tf.data.channel_statistics(np.array([0, 255], "uint8"))
        (0.5, 0.5)
    """
    if pixels.dtype != np.uint8:
        return float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
    return _statistics(np.bincount(pixels.ravel(), minlength=256))  # faster than a float64 copy of the data set


def _statistics(counts):
    """Return mean and standard deviation of uint8 pixels, as numbers in [0,1], from how often each value occurs."""
    values = np.arange(256) / 255
    mean = np.average(values, weights=counts)
    return float(mean), float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))


def as_pixels(images):
    """Convert images to float32 in [0,1].

    Args:
        images: array or tensor of any shape. uint8 is divided by 255; the values of floats are not changed.

    Returns:
        A float32 tensor of the same shape.

    Raises:
        ValueError: for other types; integers of more than 8 bits say nothing of their largest value.

    Example:
        >>> rsr_tf.data.as_pixels(np.array([0, 255], "uint8")).numpy()
        array([0., 1.], dtype=float32)
    """
    images = tf.convert_to_tensor(images)
    if not (images.dtype == tf.uint8 or images.dtype.is_floating):
        raise ValueError(f"pixels must be uint8, or floats in [0, 1]. Received: {images.dtype.name}")
    return tf.image.convert_image_dtype(images, tf.float32)
