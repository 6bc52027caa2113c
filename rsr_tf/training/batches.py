"""Labels and first batches, in the forms that `fit` accepts."""

import tensorflow as tf


def class_indices(labels, classes):
    """Return labels as class numbers.

    Args:
        labels: tensor of class numbers `(n,)` or `(n, 1)` of any type, or of probabilities `(n, classes)`.
        classes: number of logits.

    Returns:
        int64 `(n,)`.
    """
    if labels.shape.rank == 2 and labels.shape[-1] == classes:
        return tf.argmax(labels, axis=-1)
    return tf.cast(tf.reshape(labels, [-1]), tf.int64)


def first_batch(x, y):
    """Return the first images and labels that `fit(x, y)` would use.

    Args:
        x: array of images, or a `tf.data.Dataset` of `(images, labels, ...)`, whose first batch is read once more.
        y: array of labels, if `x` is an array.

    Returns:
        `(images, labels)`; `None` for a generator or similar, which reading would consume.

    Raises:
        ValueError: for a data set without labels.
    """
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.take(1)))
        if not (isinstance(batch, tuple) and len(batch) >= 2):
            raise ValueError(f"`x` must be a data set of (images, labels, ...). Received: {x.element_spec}")
        x, y, *_ = batch
    return (x[:256], y[:256]) if hasattr(x, "shape") and hasattr(y, "shape") else None
