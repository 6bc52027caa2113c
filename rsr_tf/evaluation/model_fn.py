"""Any number of images through a function of batches of one fixed shape, which is traced once."""

import numpy as np
import tensorflow as tf


def in_batches(function, *, batch_size):
    """A function of one batch as a function of any number of images.

    Args:
        function: `(x, y)`, float32 and int32, to a tensor or a dict of tensors with the leading axis of the batch.
        batch_size: images handed over at once; a last short batch is filled up with its own first image, and what
            comes of what fills it is dropped.

    Returns:
        A function of images `(n, h, w, c)` and labels `(n,)`, at least one, to NumPy arrays of n entries.

    Example:
        >>> correct = in_batches(tf.function(lambda x, y: is_correct(model_fn(x), y)), batch_size=250)
        >>> correct(images, labels).mean()
    """

    def run(x, y):
        results = function(_fill(x, batch_size, tf.float32), _fill(y, batch_size, tf.int32))
        return tf.nest.map_structure(lambda result: result.numpy()[: len(x)], results)

    def run_all(images, labels):
        starts = range(0, len(images), batch_size)
        parts = [run(images[start : start + batch_size], labels[start : start + batch_size]) for start in starts]
        return tf.nest.map_structure(lambda *results: np.concatenate(results), *parts)

    return run_all


def _fill(batch, size, dtype):
    missing = size - len(batch)
    return tf.constant(np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)]), dtype)
