"""Expectation over transformation (EOT; Athalye et al. 2018): averages over the noise of a random network."""

import math
from typing import NamedTuple

import tensorflow as tf

from rsr_tf.attacks.finite_gradient import with_finite_gradient
from rsr_tf.attacks.losses import is_correct
from rsr_tf.attacks.norms import image_axes, per_image
from rsr_tf.attacks.selection import select
from rsr_tf.validation import check_integers, renamed_argument


class LossAndGradient(NamedTuple):
    """Output of a network at some images, averaged over samples of its noise.

    Args:
        loss: float32 `(n,)`.
        gradient: gradient of the loss with respect to the images, float32 `(n, h, w, c)`.
        broken: boolean `(n,)`: at most half of the samples were classified correctly.
    """

    loss: tf.Tensor
    gradient: tf.Tensor
    broken: tf.Tensor


def eot_gradient(model_fn, loss_fn, x, labels, *, eot_samples):
    """Compute loss and input gradient of a network as means over samples of its noise.

    The mean of the gradients is the gradient of the mean loss. One forward and backward pass per sample gives both; no
    gradient of a weight is computed. Entries of a gradient that are NaN count as 0.

    Args:
        model_fn: function from images to logits; called `eot_samples` times.
        loss_fn: function `(labels, logits) -> (n,)`.
        x: float32 `(n, h, w, c)`.
        labels: int32 `(n,)`.
        eot_samples: number of calls.

    Returns:
        A `LossAndGradient`.
    """

    def add_sample(index, loss, gradient, correct):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = model_fn(with_finite_gradient(x))
            losses = tf.ensure_shape(loss_fn(labels, logits), labels.shape)
        gradient += tape.gradient(losses, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        hits = tf.ensure_shape(tf.cast(is_correct(logits, labels), tf.float32), labels.shape)
        return index + 1, loss + losses, gradient, correct + hits

    zeros = tf.zeros_like(labels, tf.float32)
    start = (0, zeros, tf.zeros_like(x), zeros)
    # parallel_iterations=1: by default up to ten samples may be in memory at once
    _, loss, gradient, correct = tf.while_loop(
        lambda index, *_: index < eot_samples, add_sample, start, parallel_iterations=1
    )
    return LossAndGradient(loss / eot_samples, gradient / eot_samples, correct <= eot_samples / 2)


@renamed_argument("draws", "eot_samples")
def average_over_draws(model_fn, eot_samples):
    """Wrap a random network so that any attack, also of another library, averages over its noise.

    The logits are the mean of the log-probabilities over the draws. The gradient of their cross-entropy is the mean of
    the gradients of the draws, as in `rsr_tf.attacks.EOTPGD`, plus the gradient of a term that is 0 where the draws
    agree: the logarithm of the sum over classes of the geometric mean of the probabilities. For a network without noise
    the result is its logits up to a constant in each row. The gradient of one call needs the memory of `eot_samples`
    calls of the network.

    Args:
        model_fn: function from images to logits.
        eot_samples: number of calls of the network for each call of the result.

    Returns:
        A function from float32 `(n, h, w, c)` to float32 `(n, classes)`.

    Raises:
        ValueError: for `eot_samples` below 1.

    Example:
        >>> averaged = rsr_tf.attacks.average_over_draws(model_fn, 20)
        >>> x_adv = rsr_tf.attacks.FGSM(epsilon=8 / 255)(averaged, x, y)
        >>> x_adv.shape
        TensorShape([16, 8, 8, 1])
    """
    check_integers(1, eot_samples=eot_samples)

    return lambda x: tf.reduce_mean(_log_probabilities(model_fn, x, eot_samples), axis=0)


def _log_probabilities(model_fn, x, draws):
    """Return the logarithms of the probabilities of several draws, `(draws, n, classes)`; one draw after the other.

    A loop, as TensorFlow fails with `AlreadyExistsError` where it saves memory in a sum of three or more terms within
    the loops of an attack; the gradients of calls that stand side by side are such a sum.
    """

    def draw(_):
        return tf.nn.log_softmax(tf.cast(model_fn(x), tf.float32))

    first = draw(0)[tf.newaxis]  # outside the loop, as its static shape is that of all
    if draws == 1:
        return first
    options = {"fn_output_signature": tf.TensorSpec(first.shape[1:]), "parallel_iterations": 1}
    return tf.concat([first, tf.map_fn(draw, tf.range(1, draws), **options)], axis=0)


ENSEMBLES = ("probabilities", "votes")
"""Values of `of` of `ensemble`: what the draws are averaged as."""


def ensemble(model_fn, draws, of="probabilities"):
    """Return the network that predicts by the mean over draws of a random network's noise.

    RSE (Liu et al. 2018) and PixelDP (Lecuyer et al. 2019) predict by this mean, so it is this network that has to be
    attacked and judged. Unlike `average_over_draws`, whose logits average log-probabilities to give an attack the mean
    of the gradients, the logits are the logarithm of the mean probabilities. Their largest one is the prediction of the
    mean, their softmax is the mean, and their cross-entropy has the gradient of the mean. The result is random itself,
    with a smaller variance.

    The network is called `draws` times for the whole batch, one after the other, so without gradients one draw is in
    memory at a time. Gradients need the memory of all draws: divide the number of images in a batch accordingly.

    Args:
        model_fn: function from images to logits, which draws new noise at every call.
        draws: integer, number of calls of the network for each call of the result.
        of: `"probabilities"` for the mean of the softmax, or `"votes"` for the share of the draws in which each class
            has the largest logit. One vote more is spread evenly over the classes, so that the logits are finite. Votes
            have no gradient; they are given that of the probabilities. Defaults to `"probabilities"`.

    Returns:
        A function from float32 `(n, ...)` to float32 `(n, classes)`.

    Raises:
        ValueError: for `draws` below 1 or an unknown `of`.

    Example:
        >>> logits = rsr_tf.attacks.ensemble(model_fn, 10)(x)
        >>> np.allclose(tf.reduce_sum(tf.exp(logits), axis=-1), 1, atol=1e-5)  # they are logarithms of probabilities
        True
    """
    check_integers(1, draws=draws)
    if of not in ENSEMBLES:
        raise ValueError(f"`of` must be one of {ENSEMBLES}. Received: of={of!r}")

    def predict(x):
        log_probabilities = _log_probabilities(model_fn, x, draws)
        mean = tf.reduce_logsumexp(log_probabilities, axis=0) - math.log(draws)
        if of == "probabilities":
            return mean
        votes = _log_share_of_votes(log_probabilities)
        return _with_gradient_of(mean, tf.where(tf.math.is_nan(mean), mean, votes))  # NaN is no vote for class 0

    return predict


def _log_share_of_votes(scores):
    """Return the logarithm of the share of votes for each class, of scores `(draws, n, classes)`."""
    draws, _, classes = scores.shape
    votes = tf.reduce_sum(tf.one_hot(tf.argmax(scores, axis=-1), classes), axis=0)
    return tf.math.log((votes + 1 / classes) / (draws + 1))


@tf.custom_gradient
def _with_gradient_of(differentiable, value):
    """Return `value` with the gradient of `differentiable`."""
    return tf.identity(value), lambda upstream: (upstream, tf.zeros_like(upstream))


class BestSoFar(NamedTuple):
    """The strongest adversarial image found so far for each image.

    Args:
        x: float32 `(n, h, w, c)`.
        broken: boolean `(n,)`, see `LossAndGradient`.
        loss: float32 `(n,)`.
    """

    x: tf.Tensor
    broken: tf.Tensor
    loss: tf.Tensor

    @classmethod
    def none(cls, x):
        """Return the initial value: the clean images with a loss of minus infinity, which any candidate beats."""
        zeros = tf.zeros_like(tf.reduce_max(x, axis=image_axes(x)))
        return cls(x, tf.zeros_like(zeros, tf.bool), zeros - float("inf"))

    def updated(self, x, seen):
        """Return the better of this and a candidate for each image: broken before not broken, then the higher loss.

        A candidate with pixels that are no numbers is never better: the network's answer to it says nothing.

        Args:
            x: float32 `(n, h, w, c)`, the candidates.
            seen: the `LossAndGradient` at `x`.
        """
        finite = tf.reduce_all(tf.math.is_finite(x), axis=image_axes(x))
        broken = seen.broken & finite
        better = finite & tf.where(broken == self.broken, seen.loss > self.loss, broken)
        return BestSoFar(
            select(per_image(better, x), x, self.x), self.broken | broken, tf.where(better, seen.loss, self.loss)
        )
