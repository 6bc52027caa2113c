"""Measurements of a network that need no attack: its noise, its logits and its gradients."""

import logging

import numpy as np
import tensorflow as tf

from rsr_tf.attacks.losses import cross_entropy
from rsr_tf.attacks.pgd import input_gradient

log = logging.getLogger(__name__)

CALL_SIZES = (1, 250, 257, 2056)
"""Batch sizes at which the noise is measured: those of single images, of an evaluation, and of a ZOO iteration on one
image and on eight."""


def noise_by_batch_size(model_fn, images, sizes, *, calls=12):
    """Measure how much the logits of an image differ between calls, for calls with different numbers of images.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(n, h, w, c)` in [0,1]; the first 8 are used, repeated to fill a call.
        sizes: the numbers of images.
        calls: number of calls of each size, if two of them differ at any size. Defaults to 12.

    Returns:
        A dict from size to the standard deviation of the logits over the calls, in units of their standard deviation
        over the classes; both are root mean squares over all images of a call. 0 for a network without noise.
    """
    first = {size: _spread(model_fn, images, size, 2) for size in sizes}
    return {size: _spread(model_fn, images, size, calls) for size in sizes} if any(first.values()) else first


def _spread(model_fn, images, size, calls):
    shown = images[:8]
    rows = np.resize(shown, (max(size, len(shown)), *shown.shape[1:])).astype(np.float32)
    batches = [tf.constant(rows[start : start + size]) for start in range(0, len(rows), size)]
    logits = np.nan_to_num([np.concatenate([model_fn(x) for x in batches]) for _ in range(calls)]).astype(np.float64)
    scale = np.sqrt(logits.mean(0).var(-1).mean())
    noise = np.sqrt(logits.var(0, ddof=1).mean())
    return float(noise / scale) if scale > 0 else float(noise > 0)


def mean_logits(model_fn, images, *, calls=20):
    """Return mean and variance of the logits of some images over several calls, float64 `(n, classes)` each."""
    logits = np.array([model_fn(tf.constant(images)) for _ in range(calls)], np.float64)
    return logits.mean(0), logits.var(0, ddof=1)


def logit_scale(logits):
    """Return the median over images of the standard deviation of their logits, at least 1e-12."""
    return max(float(np.median(np.std(logits, axis=1))), 1e-12)


def zero_gradients(model_fn, images, labels):
    """Return where the gradient of the cross-entropy with respect to the image is exactly zero, or NaN.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(n, ...)` in [0,1].
        labels: integers `(n,)`.

    Returns:
        Float `(n,)`: the share of such entries in the gradient of each image.
    """
    gradient = input_gradient(model_fn, cross_entropy, tf.constant(images, tf.float32), tf.constant(labels, tf.int32))
    return np.mean((gradient == 0) | np.isnan(gradient), axis=tuple(range(1, images.ndim)))


def warn_of_zero_gradients(model_fn, images, labels, *, title="the network"):
    """Log a warning with the share of images whose gradient is exactly zero, if there are any.

    An attack by gradients leaves such an image alone, so the accuracy under it says nothing. The usual reason is a
    network that computes in half precision, such as a SavedModel of one.

    Args:
        model_fn, images, labels: as for `zero_gradients`; the network must have a gradient, see `with_gradient_path`.
        title: string, name of the network in the warning. Defaults to `"the network"`.
    """
    share = np.mean(zero_gradients(model_fn, images, labels) == 1)
    if share > 0:
        log.warning(
            "%s: the gradient is exactly zero on %.1f %% of %d images, so the accuracy under attacks by gradients is "
            "not to be trusted. Networks in half precision have such gradients: evaluate the Keras model, in float32",
            *(title, 100 * share, len(images)),
        )
