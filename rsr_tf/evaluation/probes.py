"""Measurements of a network that need no attack: its noise, its logits and its gradients."""

import logging
import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from rsr_tf.attacks.losses import cross_entropy, logit_margin
from rsr_tf.attacks.norms import NORMS
from rsr_tf.attacks.pgd import input_gradient
from rsr_tf.attacks.square import MOVES

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
        over the classes; both are root mean squares over all images of a call, and masked classes are left out, see
        `unmasked`. 0 for a network without noise.
    """
    first = {size: _spread(model_fn, images, size, 2) for size in sizes}
    return {size: _spread(model_fn, images, size, calls) for size in sizes} if any(first.values()) else first


MASKED = 30.0
"""A class whose logit is this far below the largest is masked: its share of the softmax is below rounding."""


def unmasked(logits, calls):
    """Return logits with those of masked classes set to the lowest of the others, so that they are no spread or noise.

    A network masks a class by a logit of -1e9, say, next to which the spread and the noise of the others vanish.

    Args:
        logits: finite float64 `(..., n, classes)`.
        calls: axis or axes of the calls. A class is masked by its mean over them; the largest two never are.

    Returns:
        float64 of the same shape; the logits themselves where no class is masked.
    """
    mean = logits.mean(calls, keepdims=True)
    second = np.sort(mean, axis=-1)[..., -2:].min(-1, keepdims=True)
    matter = mean >= np.minimum(mean.max(-1, keepdims=True) - MASKED, second)
    lowest = np.where(matter, mean, np.inf).min(-1, keepdims=True)
    return np.where(matter, logits, lowest)


def _spread(model_fn, images, size, calls):
    shown = images[:8]
    rows = np.resize(shown, (max(size, len(shown)), *shown.shape[1:])).astype(np.float32)
    batches = [tf.constant(rows[start : start + size]) for start in range(0, len(rows), size)]
    logits = np.nan_to_num([np.concatenate([model_fn(x) for x in batches]) for _ in range(calls)]).astype(np.float64)
    logits = unmasked(logits, 0)
    scale = np.sqrt(logits.mean(0).var(-1).mean())
    noise = np.sqrt(logits.var(0, ddof=1).mean())
    return float(noise / scale) if scale > 0 else float(noise > 0)


def mean_logits(model_fn, images, *, calls=20):
    """Return mean and variance of the logits of some images over several calls, float64 `(n, classes)` each."""
    logits = np.array([model_fn(tf.constant(images)) for _ in range(calls)], np.float64)
    with np.errstate(invalid="ignore"):  # the variance of -inf, the logit of a masked class
        return logits.mean(0), logits.var(0, ddof=1)


def logit_scale(logits):
    """Return the median over images of the standard deviation of their logits, at least 1e-12.

    Masked classes are left out, see `unmasked`: divided by their size, the logits of the others would be all the same.
    """
    finite = np.nan_to_num(np.asarray(logits, np.float64), posinf=1e30, neginf=-1e30)
    return max(float(np.median(np.std(unmasked(finite, ()), axis=1))), 1e-12)


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

    An attack by gradients leaves such an image alone, so the accuracy under it says nothing. The usual reasons are a
    network that computes in half precision, such as a SavedModel of one, and a saturated softmax.

    Args:
        model_fn, images, labels: as for `zero_gradients`; the network must have a gradient, see `with_gradient_path`.
        title: string, name of the network in the warning. Defaults to `"the network"`.
    """
    share = np.mean(zero_gradients(model_fn, images, labels) == 1)
    if share > 0:
        log.warning(
            "%s: the gradient is exactly zero on %.1f %% of %d images, so the accuracy under attacks by gradients is "
            "not to be trusted. Networks in half precision have such gradients: evaluate the Keras model, in float32. "
            "So have probabilities that are rounded to 0 and 1: evaluate the logits. Gradients that are no numbers "
            "count as zero: look for a root or logarithm of 0",
            *(title, 100 * share, len(images)),
        )


POINTS = ("clean images", "random corners of the ball", "half of PGD", "the end of PGD")
"""Where noise is looked for: at the images, at corners of the ball around them, and along the path of an attack."""

SEEN_LEAST = 0.3
"""Share of queries that an attack by scores must see. On honest networks without much noise it is 0.7 to 1."""


@dataclass(frozen=True)
class Spread:
    """How much answers and gradients differ between calls at the same point, relative to their size.

    Args:
        answers: standard deviation of the logits over all calls, in units of their deviation over the classes.
        answers_within: the same over the calls of one graph, such as those that an attack averages.
        gradients: standard deviation of the gradient of the margin over all calls, in units of its root mean square.
    """

    answers: float
    answers_within: float
    gradients: float


def spread_along_path(model_fn, images, labels, *, epsilon, batch_size, seed=0, norm="linf"):
    """Measure how much answers and gradients of a network differ between calls, on and around some images.

    The calls are made as an attack makes them: three at a time, in the loop of one graph.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(n, h, w, c)` in [0,1]; the first 8 are used.
        labels: integers `(n,)`.
        epsilon: radius of the ball, in units of pixels in [0,1].
        batch_size: images in a call, at least; the images are repeated to fill it.
        seed: integer, for the corners. Defaults to 0.
        norm: norm of the ball. Defaults to `"linf"`. In l2, a corner is where all values change by the same amount.

    Returns:
        A list of `Spread`, one for each of `POINTS`.
    """
    sample = _sampler(model_fn, samples=3)
    x, y = np.asarray(images[:8], np.float32), np.asarray(labels[:8], np.int32)
    size = max(batch_size, len(POINTS) * len(x))

    def draw(points):
        shown, right = np.resize(points, (size, *x.shape[1:])), np.resize(y, size)
        found = sample(tf.constant(shown, tf.float32), tf.constant(right))
        return [np.nan_to_num(part)[:, : len(points)].astype(np.float64) for part in found]

    signs, ball = np.random.default_rng(seed).choice([-1.0, 1.0], x.shape).astype(np.float32), NORMS[norm]
    corner = ball.project(x + largest_change(epsilon, norm, x) * signs, x, epsilon)
    points, place = [x, corner.numpy()], x
    for _ in range(2):
        for _ in range(2):
            _, gradients = draw(place)
            direction = gradients.mean(0).astype(np.float32)
            place = ball.project(ball.step(place, direction, epsilon / 4), x, epsilon).numpy()
        points.append(place)
    parts = zip(*(draw(np.concatenate(points)) for _ in range(3)), strict=True)
    logits, gradients = (np.split(np.stack(part), len(POINTS), axis=2) for part in parts)
    return [_spread_of(*found) for found in zip(logits, gradients, strict=True)]


def largest_change(epsilon, norm, images):
    """Return by how much all values of an image `(n, ...)` can change alike in a ball: in l2, epsilon / sqrt(d)."""
    return epsilon if norm == "linf" else epsilon / math.sqrt(math.prod(images.shape[1:]))


def _sampler(model_fn, samples):
    """Return a graph from images and labels to several samples of logits and of gradients, drawn in one loop."""
    network = tf.function(lambda x: model_fn(x))

    def lost_margin(labels, logits):
        return -logit_margin(logits, labels)

    @tf.function(autograph=False)
    def sample(x, y):
        def once(_):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                logits = network(x)
                loss = tf.reduce_sum(lost_margin(y, logits))
            return tf.cast(logits, tf.float32), tape.gradient(loss, x)

        return tf.map_fn(once, tf.range(samples), fn_output_signature=(tf.float32, tf.float32), parallel_iterations=1)

    return sample


def _spread_of(logits, gradients):
    """Return the `Spread` of logits `(rounds, samples, n, classes)` and gradients `(rounds, samples, n, h, w, c)`."""
    logits = unmasked(logits, (0, 1))
    scale = np.sqrt(logits.mean((0, 1)).var(-1).mean())
    return Spread(
        answers=_ratio(_deviation(logits.reshape(-1, *logits.shape[2:])[np.newaxis]), scale),
        answers_within=_ratio(_deviation(logits), scale),
        gradients=_ratio(
            _deviation(gradients.reshape(-1, *gradients.shape[2:])[np.newaxis]), np.sqrt(np.mean(gradients**2))
        ),
    )


def _deviation(values):
    return np.sqrt(values.var(1, ddof=1).mean())


def _ratio(noise, scale):
    return float(noise / scale) if scale > 0 else float(noise > 0)


@dataclass(frozen=True)
class Queries:
    """What an attack by scores sees of a network.

    Args:
        seen: boolean `(m,)`, for each query whether it changes the margin of the label.
        hidden: boolean `(m,)`, for each query whether noise could hide a change of 1/50 of the spread of the logits.
    """

    seen: np.ndarray
    hidden: np.ndarray

    @property
    def blind(self):
        """Whether an attack by scores sees so little that what it breaks proves nothing."""
        return bool(np.mean(self.seen) < SEEN_LEAST)


def ask_queries(model_fn, images, labels, *, epsilon, random, seed=0, queries=8, norm="linf"):
    """Measure which queries of an attack by scores change what it sees, the margin of the label.

    The queries are those of the Square attack: a square of an image on the edge of the ball is changed anew. A change
    is seen if it exceeds 1/1000 of the spread of the logits and, for a random network, three standard errors of the
    mean over calls that show both images at once.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(n, h, w, c)` in [0,1]; the first 8 are used.
        labels: integers `(n,)`.
        epsilon: radius of the ball, in units of pixels in [0,1].
        random: whether the network is random: each query is then made twelve times.
        seed: integer. Defaults to 0.
        queries: number of queries for each image. Defaults to 8.
        norm: norm of the ball. Defaults to `"linf"`.

    Returns:
        `Queries`, for each query that changed the image.
    """
    network, key = tf.function(lambda x: model_fn(x)), tf.constant([seed % 2**31, 1])
    x, y = tf.constant(images[:8], tf.float32), tf.constant(labels[:8], tf.int32)
    start, move = MOVES[norm]
    kept, seen, hidden = start(x, epsilon, key), [], []
    for query, share in enumerate(np.geomspace(0.8, 0.05, queries)):
        side = np.clip(round(math.sqrt(share * x.shape[1] * x.shape[2])), 1, min(x.shape[1:3])).astype(np.int32)
        painted = move(kept, x, epsilon, side, tf.random.experimental.stateless_fold_in(key, query))
        shown = tf.concat([kept, painted], axis=0)
        logits = np.nan_to_num([network(shown) for _ in range(12 if random else 1)]).astype(np.float64)
        margins = np.array([logit_margin(one, tf.concat([y, y], axis=0)) for one in logits], np.float64)
        change = margins[:, len(x) :] - margins[:, : len(x)]
        chance = 3 * change.std(0, ddof=1) / math.sqrt(len(change)) if random else np.zeros(len(x))
        scale = np.sqrt(unmasked(logits[:, : len(x)], 0).mean(0).var(-1).mean())
        changed = np.any(painted != kept, axis=(1, 2, 3))
        seen.append((np.abs(change.mean(0)) > np.maximum(1e-3 * scale, chance))[changed])
        hidden.append((chance > scale / 50)[changed])
    return Queries(np.concatenate(seen), np.concatenate(hidden))
