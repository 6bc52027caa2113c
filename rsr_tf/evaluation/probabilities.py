"""Networks that return probabilities instead of logits: find them, warn of them, and take the logarithm.

Of a Keras model the logits are known (see `as_model_fn`), of a SavedModel or another function they are not.
"""

import logging

import numpy as np
import tensorflow as tf

log = logging.getLogger(__name__)

TOLERANCE = 1e-2
"""How far the sum of a row of probabilities may be from 1; bfloat16 is wrong by more than 1e-3."""
SMALLEST = 1e-30
"""Probabilities below it count as this: float32 has hardly any smaller ones, and the inverse of none of those."""


def are_probabilities(outputs):
    """Return whether every row of outputs `(n, classes)` lies in [0,1] and sums to 1, up to rounding."""
    outputs = np.asarray(outputs)
    return bool(np.min(outputs) >= -1e-3 and np.max(np.abs(np.sum(outputs, axis=1) - 1)) <= TOLERANCE)


def is_one_probability(outputs):
    """Return whether outputs `(n, 2)` are zeros and numbers in [0,1]: a probability of class 1 that is no logit.

    `as_model_fn` puts a zero before the only output of a network. If it were a logit, every answer would be class 1.
    """
    outputs = np.asarray(outputs)
    if outputs.shape[1] != 2 or np.any(outputs[:, 0]) or not np.any(outputs[:, 1]):
        return False
    return bool(np.min(outputs) >= 0 and np.max(outputs) <= 1)


def with_logits(model_fn, images):
    """Return a network as one that returns logits: logarithms, if its outputs for some images are probabilities.

    They differ from the logits behind a softmax by a constant in each row, and so have the same decisions, the same
    losses and the same gradients. A probability that float32 rounds to zero has lost its logit, and no logarithm brings
    its gradient back: the warning has the share of images of which only one probability is left.

    Args:
        model_fn: function from images to logits or probabilities, such as `as_model_fn(folder)` of a SavedModel.
        images: float32 `(n, ...)` in [0,1]; the more there are, the surer is what the outputs are.

    Returns:
        `model_fn` itself if it returns logits. Else a function of the same images to float32 logarithms, and a warning
        is logged.

    Example:
        >>> def softmax_fn(x):
        ...     return tf.nn.softmax(tf.reshape(x, (-1, 64))[:, :3])
        >>> logits_fn = rsr_tf.evaluation.with_logits(softmax_fn, x)
        >>> np.allclose(tf.exp(logits_fn(x)), softmax_fn(x))
        True
        >>> rsr_tf.evaluation.with_logits(model_fn, x) is model_fn
        True
    """
    outputs = np.asarray(model_fn(tf.constant(images)), np.float32)
    alone = is_one_probability(outputs)
    if not (alone or are_probabilities(outputs)):
        return model_fn

    def probabilities(x):
        found = tf.cast(model_fn(x), tf.float32)
        return tf.concat([1 - found[:, 1:], found[:, 1:]], axis=-1) if alone else found

    saturated = np.mean(np.sum(probabilities(tf.constant(images)).numpy() > SMALLEST, axis=1) == 1)
    log.warning(
        "the network returns probabilities; attacks see their logarithms. On %.1f %% of %d images all but one are "
        "rounded to 0, which leaves no gradient: attacks by gradients are to be trusted only if this is 0",
        *(100 * saturated, len(images)),
    )
    return lambda x: tf.math.log(tf.maximum(probabilities(x), SMALLEST))


def warn_of_probabilities(model_fn, images, *, title="the network"):
    """Log a warning if a network returns probabilities, of which a cross-entropy takes the softmax once more.

    Args:
        model_fn, images: as for `with_logits`.
        title: string, name of the network in the warning. Defaults to `"the network"`.
    """
    outputs = np.asarray(model_fn(tf.constant(images)))
    if is_one_probability(outputs) or are_probabilities(outputs):
        log.warning(
            "%s returns probabilities and not logits, so attacks by gradients are weakened and the accuracy under them "
            "is not to be trusted: evaluate `rsr_tf.evaluation.with_logits(model_fn, images)`",
            title,
        )
