"""Networks as functions from images to logits, and functions of batches as functions of any number of images."""

import keras
import numpy as np
import tensorflow as tf


def as_model_fn(model):
    """Return a network as the function that attacks expect: in inference mode, and traced once.

    Args:
        model: a Keras model, or any callable from images to logits, such as `tf.saved_model.load(path).serve`.

    Returns:
        A function from float32 `(n, h, w, c)` in [0,1] to float32 `(n, classes)` logits. A noisy network draws new
        noise at every call.

    Example:
        >>> model_fn = rsr_tf.as_model_fn(model)
        >>> rsr_tf.attacks.PGD(epsilon=8 / 255)(model_fn, x, y).shape
        TensorShape([16, 8, 8, 1])
    """
    options = {"training": False} if isinstance(model, keras.Model) else {}

    @tf.function(reduce_retracing=True)
    def model_fn(x):
        return tf.cast(model(tf.cast(x, tf.float32), **options), tf.float32)

    return model_fn


def rescaled(model_fn, scale):
    """Return a network with its logits divided by `scale`: the same decisions, but another loss."""
    return lambda x: model_fn(x) / scale


def with_gradient_path(model_fn):
    """Return the same network with a gradient of zero where it has none.

    A network that rounds, for example, has no gradient at all, which an attack could not compute.
    """
    return lambda x: model_fn(x) + 0.0 * tf.reduce_sum(x)


def in_batches(function, *, batch_size):
    """Return a function of one batch as a function of any number of images, with batches of one fixed shape.

    Args:
        function: `(x, y)`, float32 and int32, to a tensor or a dict of tensors with the leading axis of the batch.
        batch_size: number of images per call. A last short batch is padded with its own first image, and the results
            of the padding are dropped.

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
