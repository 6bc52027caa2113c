"""Images that stay where they are stored and are read when they are needed."""

import math
import re

import numpy as np
import tensorflow as tf

from rsr_tf.errors import UserError, first_line

IN_MEMORY = 2**30
"""Bytes of decoded images up to which the cache `"auto"` keeps a data set in memory; the same on every machine."""
GRAPH_NAMES = re.compile(r"\{\{.*?\}\}|\[Op:.*")
"""What TensorFlow adds to the message of an error."""
CACHES = ("auto", "memory", "stream")


class ImageError(UserError, ValueError):
    """A stored image that cannot be used: a `UserError` for the command, a `ValueError` in Python."""


class StoredImages:
    """The part of an array `(n, h, w, c)` of uint8 images that training needs, without holding the images.

    Args:
        store: object with two functions of the number of an image: `read` returns the image, uint8 `(h, w, c)`, and
            raises any error if it cannot; `name` returns its name for messages. It is called by several threads.
        numbers: integer array of the images to take, in this order.
        image_shape: tuple `(h, w, c)` of every image. Defaults to that of the first one, which is read.

    Raises:
        ValueError: if the first image cannot be read. Every other one is checked each time that it is read.

    Example:
        >>> class Squares:
        ...     def read(self, number):
        ...         return np.full((8, 8, 1), number**2, "uint8")
        ...
        ...     def name(self, number):
        ...         return f"square {number}"
        >>> images = rsr_tf.data.StoredImages(Squares(), np.arange(10))
        >>> images.shape, images.dtype.name, images[5:].gather([0, 1])[:, 0, 0, 0].tolist()
        ((10, 8, 8, 1), 'uint8', [25, 36])
    """

    dtype = np.dtype("uint8")

    def __init__(self, store, numbers, image_shape=None):
        self.store = store
        self.numbers = np.asarray(numbers)
        self.image_shape = image_shape
        self.image_shape = image_shape or self._read(self.numbers[0]).shape

    def __len__(self):
        return len(self.numbers)

    @property
    def shape(self):
        """Tuple `(n, h, w, c)`."""
        return (len(self), *self.image_shape)

    @property
    def nbytes(self):
        """Bytes of all images in memory."""
        return math.prod(self.shape)

    def __getitem__(self, chosen):
        """Return the images of a slice or an integer array as `StoredImages`; none is read."""
        return StoredImages(self.store, self.numbers[chosen], self.image_shape)

    def gather(self, indices):
        """Read the images of some positions, and check them.

        Args:
            indices: sequence of integers in [0, n).

        Returns:
            uint8 array `(len(indices), h, w, c)`.

        Raises:
            ValueError: for an image that cannot be read or has another shape.
        """
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        for place, number in enumerate(self.numbers[np.asarray(indices)]):
            images[place] = self._read(number)
        return images

    def __array__(self, dtype=None, copy=None):
        return self.gather(np.arange(len(self))).astype(dtype or np.uint8, copy=False)

    def _read(self, number):
        """Return an image; name it in whatever error reading it raises."""
        try:
            image = self.store.read(number)
        except Exception as error:  # TensorFlow and TFDS raise many kinds for a broken image
            reason = GRAPH_NAMES.sub("", first_line(error)).strip()
            raise ImageError(f"cannot read the image {self.store.name(number)}: {reason}") from error
        if image.dtype != np.uint8 or image.ndim != 3 or 0 in image.shape:
            found = f"expected uint8 (h, w, c). Received: {image.dtype} {image.shape}"
            raise ImageError(f"cannot use the image {self.store.name(number)}: {found}")
        expected = self.image_shape or image.shape
        if image.shape != expected:
            remedy = "; `resize` makes images of one size" if image.shape[2] == expected[2] else ""
            found = f"expected the shape {expected} of the first image{remedy}. Received: {image.shape}"
            raise ImageError(f"cannot use the image {self.store.name(number)}: {found}")
        return image


def is_kept(shape, cache):
    """Return whether images are to be held in memory.

    Args:
        shape: tuple `(n, h, w, c)` of all uint8 images of a data set.
        cache: `"memory"`, `"stream"`, or `"auto"` for memory up to `IN_MEMORY` bytes.

    Raises:
        ValueError: for another `cache`.
    """
    if cache not in CACHES:
        raise ValueError(f"`cache` must be one of {CACHES}. Received: cache={cache!r}")
    return cache == "memory" or (cache == "auto" and math.prod(shape) <= IN_MEMORY)


def resized(image, size):
    """Resize an image: bilinear with antialiasing, the aspect ratio not kept, values rounded to whole numbers.

    Args:
        image: uint8 `(h, w, c)`.
        size: `(height, width)`, or `None` for the image as it is.

    Returns:
        A uint8 array.
    """
    if size is None or image.shape[:2] == tuple(size):
        return image
    pixels = tf.image.resize(image, size, method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8).numpy()
