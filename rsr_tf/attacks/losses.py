"""Losses that an attack raises, and how far a network is from an error."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("rsr_tf")
def cross_entropy(labels, logits):
    """Compute the cross-entropy of each example.

    Args:
        labels: class numbers `(n,)` or `(n, 1)` of any integer or float type, or probabilities `(n, classes)`.
        logits: float `(n, classes)`.

    Returns:
        float32 `(n,)`.

    Raises:
        ValueError: for logits with a single column.

    Example:
        >>> loss = rsr_tf.attacks.cross_entropy([0, 1], [[0.0, 0.0], [0.0, 0.0]])
        >>> np.allclose(loss, np.log(2))
        True
    """
    labels, logits = tf.convert_to_tensor(labels), _of_classes(logits)
    if labels.shape.rank == 2 and labels.shape[-1] == logits.shape[-1]:
        return tf.nn.softmax_cross_entropy_with_logits(tf.cast(labels, tf.float32), logits)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(tf.reshape(labels, [-1]), tf.int64), logits)


def difference_of_logits_ratio(labels, logits):
    """Compute the DLR loss, which is invariant to shifting and scaling the logits (Croce and Hein 2020, Eq. 6).

    It is the negative logit margin, divided by the difference of the largest and the third largest logit. With two
    classes there is no third logit, and the loss is the negative margin itself: any ratio would have a zero gradient.

    Args:
        labels: class numbers `(n,)` of any integer or float type.
        logits: float `(n, classes)`.

    Returns:
        float32 `(n,)`.
    """
    logits = tf.cast(logits, tf.float32)
    margin = logit_margin(logits, labels)
    if logits.shape[-1] == 2:
        return -margin
    largest = tf.math.top_k(logits, 3).values
    return -margin / (largest[:, 0] - largest[:, 2] + 1e-12)


LOSSES = {"cross_entropy": cross_entropy, "dlr": difference_of_logits_ratio}
"""Functions `(labels, logits) -> (n,)` by the name used for the argument `loss` of an attack."""


def logit_margin(logits, labels):
    """Compute the logit of the label minus the largest other logit; negative for a wrong prediction.

    A difference of logits equals the difference of the log-probabilities.

    Args:
        logits: float `(n, classes)`.
        labels: class numbers `(n,)` of any integer or float type.

    Returns:
        float32 `(n,)`.
    """
    logits = _of_classes(logits)
    own = tf.one_hot(tf.cast(labels, tf.int64), tf.shape(logits)[-1], on_value=True, off_value=False)
    label_logit = tf.reduce_max(tf.where(own, logits, -float("inf")), axis=-1)
    return label_logit - tf.reduce_max(tf.where(own, -float("inf"), logits), axis=-1)


def is_correct(logits, labels):
    """Return whether the largest logit is that of the label; a row that contains NaN is never correct.

    Args:
        logits: float `(n, classes)`.
        labels: class numbers `(n,)` of any integer or float type.

    Returns:
        Boolean `(n,)`.
    """
    logits = _of_classes(logits)
    return (tf.argmax(logits, axis=-1) == tf.cast(labels, tf.int64)) & ~tf.reduce_any(tf.math.is_nan(logits), axis=-1)


def _of_classes(logits):
    """Return logits as float32. One column would make every image right, with a gradient of zero or a constant one."""
    logits = tf.cast(logits, tf.float32)
    if logits.shape.rank and logits.shape[-1] == 1:
        raise ValueError(
            "`logits` must have a column for each class. A network with one output has two of them as "
            f"`rsr_tf.as_model_fn(network)`. Received: logits of shape {logits.shape}"
        )
    return logits
