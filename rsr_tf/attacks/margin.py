"""By how much a network is right."""

import tensorflow as tf


def logit_margin(logits, labels):
    """Logit of the label less the largest other one: negative where the network is wrong.

    A difference of logits is one of log-probabilities too.

    Args:
        logits: float `(n, classes)`.
        labels: integers `(n,)`.

    Returns:
        float32 `(n,)`.
    """
    logits = tf.cast(logits, tf.float32)
    own = tf.one_hot(labels, tf.shape(logits)[-1], on_value=True, off_value=False)
    label_logit = tf.reduce_max(tf.where(own, logits, -float("inf")), axis=-1)
    return label_logit - tf.reduce_max(tf.where(own, -float("inf"), logits), axis=-1)


def is_right(logits, labels):
    """Is the largest logit that of the label? A row with a NaN is never right.

    Args:
        logits: float `(n, classes)`.
        labels: int32 `(n,)`.

    Returns:
        Boolean `(n,)`.
    """
    predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return (predicted == labels) & ~tf.reduce_any(tf.math.is_nan(logits), axis=-1)
