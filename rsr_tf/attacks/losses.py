"""What an attack on the test images climbs: cross-entropy, or the difference of logits ratio."""

import tensorflow as tf

from rsr_tf.attacks.margin import logit_margin
from rsr_tf.attacks.pgd import cross_entropy


def difference_of_logits_ratio(labels, logits):
    """DLR loss, which shifting and scaling the logits does not change (Croce and Hein 2020, Eq. 6).

    The margin by which the network is wrong, in units of the distance from the largest to the third largest logit. With
    two classes there is no third: it is the margin itself, as every ratio would have a gradient of zero.

    Args:
        labels: integers `(n,)`.
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
"""Functions `(labels, logits) -> (n,)` by the name that attacks know them by."""
