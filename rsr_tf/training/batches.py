"""Images and labels in the forms that `fit` accepts."""

import contextlib
import itertools
import re
import types
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rsr_tf.layers.replicas import replica_context

RANGE_MESSAGE = "`images` must be in [0, 1]"


def unpacked(structure):
    """Return the entry of a dict, list or tuple of length one; any other structure is returned unchanged.

    Args:
        structure: images or labels, as `fit` takes them for a model with one input and one output.
    """
    if isinstance(structure, dict | list | tuple) and len(structure) == 1:
        (structure,) = structure.values() if isinstance(structure, dict) else structure
    return structure


def peek(x, y):
    """Return the first images and labels that `fit(x, y)` would use, and what is to be passed instead of `x`.

    Args:
        x: array of images; a `tf.data.Dataset` of `(images, labels, ...)`, whose first batch is read once more; a
            `keras.utils.PyDataset`, whose batch 0 is; or a generator, whose first batch is put back.
        y: array of labels, if `x` is an array.

    Returns:
        A tuple `((images, labels), x)`; `(None, x)` if nothing can be read without consuming it.

    Raises:
        ValueError: for batches without labels.
    """
    batch = (x, y)
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.take(1)), None)
    elif isinstance(x, keras.utils.PyDataset):
        batch = x[0]
    elif isinstance(x, types.GeneratorType):
        batch = next(x, None)
        x = _put_back(batch, x)
    if batch is None:
        return None, x
    if not (isinstance(batch, tuple | list) and len(batch) >= 2):
        raise ValueError(f"`x` must give batches of (images, labels, ...). Received: batches of {type(batch).__name__}")
    images, labels = unpacked(batch[0]), unpacked(batch[1])
    if not (hasattr(images, "shape") and hasattr(labels, "shape")):
        return None, x
    return (images[:LOOKED_AT], labels[:LOOKED_AT]) if len(images) else None, x


LOOKED_AT = 256
"""Number of images at the beginning of an array that are looked at before training; all others are in the steps."""


def _put_back(batch, generator):
    yield from itertools.chain([batch], generator)


class Batch(NamedTuple):
    """What a step trains with: a batch, or the part of it that one of several replicas has.

    Args:
        x: float32 tensor `(n, ...)`, images in [0,1].
        y: labels, in the form that the compiled loss takes.
        sample_weight: weights of the examples, or `None`.
        count: int32 scalar tensor, number of images: n, or 0 if `x` is one blank image, which a replica has in place
            of none.
    """

    x: tf.Tensor
    y: Any
    sample_weight: Any
    count: tf.Tensor

    def counted(self, tensor):
        """Return a tensor `(n, ...)`, or `None`, without its row for a blank image; metrics take what is left."""
        return tensor if tensor is None or replica_context() is None else tensor[: self.count]


def as_batch(x, y, sample_weight):
    """Return the `Batch` of what `fit` gives to a step, with the images checked.

    A batch with fewer images than there are replicas leaves some without any, and a convolution of no images fails.

    Args:
        x: tensor `(n, ...)` of any number type, or a structure with one.
        y: labels, or a structure with them.
        sample_weight: weights of the examples, or `None`.
    """
    x, y = as_images(x), unpacked(y)
    count = tf.shape(x)[0]
    if replica_context() is not None:
        blank = tf.cast(count == 0, tf.int32)
        x, y, sample_weight = (tensor if tensor is None else _padded(tensor, blank) for tensor in (x, y, sample_weight))
    return Batch(x, y, sample_weight, count)


def _padded(tensor, rows):
    """Append rows of zeros to a tensor `(n, ...)`."""
    tensor = tf.convert_to_tensor(tensor)
    return tf.pad(tensor, tf.concat([[[0, rows]], tf.zeros((tf.rank(tensor) - 1, 2), tf.int32)], axis=0))


def as_images(x):
    """Return the images of a batch as float32, and check in the graph that they are in [0,1].

    Args:
        x: tensor `(n, ...)` of any number type, or a structure with one.

    Raises:
        tf.errors.InvalidArgumentError: when the step runs, with `RANGE_MESSAGE`. XLA leaves the check out.
    """
    x = tf.cast(unpacked(x), tf.float32)
    low, high = tf.reduce_min(x), tf.reduce_max(x)
    inside = tf.logical_and(low >= 0, high <= 1)  # also false for NaN
    with tf.control_dependencies(
        [tf.debugging.Assert(inside, [RANGE_MESSAGE, "Received: pixels from", low, "to", high])]
    ):
        return tf.identity(x)


@contextlib.contextmanager
def range_errors():
    """Turn the error of `as_images` into a `ValueError`."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if RANGE_MESSAGE not in str(error):
            raise
        low, high = re.search(r"pixels from\] \[(.*?)\] \[to\] \[(.*?)\]", str(error)).groups()
        raise ValueError(f"{RANGE_MESSAGE}. Received: pixels from {low} to {high} in a later batch") from error
