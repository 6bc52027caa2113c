"""Expectation over transformation (EOT; Athalye et al. 2018): averages over the noise of a random network."""

from typing import NamedTuple

import tensorflow as tf

from rsr_tf.attacks.losses import is_correct
from rsr_tf.attacks.norms import image_axes, per_image
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
    gradient of a weight is computed.

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
            logits = model_fn(x)
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

    def averaged(x):
        return tf.add_n([tf.nn.log_softmax(tf.cast(model_fn(x), tf.float32)) for _ in range(eot_samples)]) / eot_samples

    return averaged


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

        Args:
            x: float32 `(n, h, w, c)`, the candidates.
            seen: the `LossAndGradient` at `x`.
        """
        better = tf.where(seen.broken == self.broken, seen.loss > self.loss, seen.broken)
        return BestSoFar(
            tf.where(per_image(better, x), x, self.x), self.broken | seen.broken, tf.where(better, seen.loss, self.loss)
        )
