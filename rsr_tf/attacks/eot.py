"""Expectation over the noise of a random network (EOT; Athalye et al. 2018), for attacks of our own and of others."""

from typing import NamedTuple

import tensorflow as tf

from rsr_tf.attacks.margin import is_right


class Look(NamedTuple):
    """What an attack sees of a network at some images, averaged over draws of its noise.

    Args:
        loss: float32 `(n,)`.
        gradient: of the loss with respect to the images, float32 `(n, h, w, c)`.
        broken: boolean `(n,)`: not right in a majority of the draws.
    """

    loss: tf.Tensor
    gradient: tf.Tensor
    broken: tf.Tensor


def look(model_fn, loss_fn, x, labels, *, draws):
    """Loss and gradient of a network at some images, each the mean over draws of its noise.

    The mean of the gradients is the gradient of the mean loss. One pass gives both; no gradient of a weight is asked
    for.

    Args:
        model_fn: function from images to logits; called `draws` times.
        loss_fn: function `(labels, logits) -> (n,)`.
        x: float32 `(n, h, w, c)`.
        labels: int32 `(n,)`.
        draws: number of calls.

    Returns:
        A `Look`.
    """

    def draw(index, loss, gradient, right):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = model_fn(x)
            losses = tf.ensure_shape(loss_fn(labels, logits), labels.shape)
        gradient += tape.gradient(losses, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        hits = tf.ensure_shape(tf.cast(is_right(logits, labels), tf.float32), labels.shape)
        return index + 1, loss + losses, gradient, right + hits

    nothing = tf.zeros_like(labels, tf.float32)
    start = (0, nothing, tf.zeros_like(x), nothing)
    # One draw after the other: by default up to ten may be in memory at once.
    _, loss, gradient, right = tf.while_loop(lambda index, *_: index < draws, draw, start, parallel_iterations=1)
    return Look(loss / draws, gradient / draws, right <= draws / 2)


def average_over_draws(model_fn, draws):
    """A random network as one that an attack of another library can be used on unchanged.

    The logits are the mean over draws of the log-probabilities. The gradient of their cross-entropy is the mean of the
    gradients of the draws, as in `look`, plus the gradient of a term that `look` has not: the logarithm of the sum over
    classes of the geometric mean over draws of the probabilities, which is 0 where the draws agree. For a network
    without noise these are its own logits but for a constant in each row. The gradient of one call of the result needs
    the memory of `draws` calls of the network.

    Args:
        model_fn: function from images to logits.
        draws: number of calls for each call of the result.

    Returns:
        A function from float32 `(n, h, w, c)` to float32 `(n, classes)`.

    Raises:
        ValueError: for `draws` below 1.

    Example:
        >>> x_adv = projected_gradient_descent(average_over_draws(model_fn, 20), x, 8 / 255, 2 / 255, 20, np.inf, y=y)
    """
    if not (isinstance(draws, int) and draws >= 1):
        raise ValueError(f"`draws` must be an integer of at least 1. Received: draws={draws}")

    def averaged(x):
        return tf.add_n([tf.nn.log_softmax(tf.cast(model_fn(x), tf.float32)) for _ in range(draws)]) / draws

    return averaged


class Best(NamedTuple):
    """The strongest adversarial image of each example so far.

    Args:
        x: float32 `(n, h, w, c)`.
        broken: boolean `(n,)`, see `Look`.
        loss: float32 `(n,)`.
    """

    x: tf.Tensor
    broken: tf.Tensor
    loss: tf.Tensor

    @classmethod
    def none(cls, x):
        """Before anything was tried: the clean images, which anything beats."""
        count = tf.zeros_like(x[:, 0, 0, 0])
        return cls(x, tf.zeros_like(count, tf.bool), count - float("inf"))

    def or_better(self, x, seen):
        """The better of this and another: broken before not broken, then the higher loss."""
        better = tf.where(seen.broken == self.broken, seen.loss > self.loss, seen.broken)
        return Best(
            tf.where(per_image(better), x, self.x), self.broken | seen.broken, tf.where(better, seen.loss, self.loss)
        )


def per_image(values):
    """`(n,)` as `(n, 1, 1, 1)`."""
    return values[:, tf.newaxis, tf.newaxis, tf.newaxis]
