"""PGD (Eq. 2) and FGSM (Eq. 1), the attacks that run inside the training graph.

An attack sees the network as `model_fn: (n, h, w, c) pixels in [0,1] -> (n, classes) logits` and differentiates only
with respect to the image.
"""

import copy

import keras
import tensorflow as tf

from rsr_tf.attacks.base import Attack, Cost
from rsr_tf.attacks.finite_gradient import with_finite_gradient
from rsr_tf.attacks.losses import cross_entropy
from rsr_tf.attacks.norms import NORMS, check_norm
from rsr_tf.validation import check_integers


def input_gradient(model_fn, loss_fn, x, labels):
    """Compute the gradient of the summed loss with respect to the images, and no gradient of a weight.

    Entries that are NaN become 0, see `rsr_tf.attacks.finite_gradient.with_finite_gradient`.

    Args:
        model_fn: function from images to logits.
        loss_fn: function `(labels, logits) -> (n,)`.
        x: float32 `(n, h, w, c)`.
        labels: labels, as `loss_fn` takes them.

    Returns:
        float32 `(n, h, w, c)`.

    Example:
        >>> def model_fn(x):
        ...     return x @ tf.constant([[1.0, -1.0], [2.0, 3.0]])
        >>> def loss_fn(labels, logits):
        ...     return tf.gather(logits, labels, axis=1, batch_dims=1)
        >>> rsr_tf.attacks.input_gradient(model_fn, loss_fn, tf.zeros((1, 2)), tf.constant([0])).numpy()
        array([[1., 2.]], dtype=float32)
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        loss = tf.reduce_sum(loss_fn(labels, model_fn(with_finite_gradient(x))))
    return tape.gradient(loss, x)


def ascent_direction(model_fn, loss_fn, x, labels):
    """Compute the gradient of the logarithm of each image's loss: a direction of ascent that does not vanish.

    It has the direction of `input_gradient`, which is all that a step by sign or norm uses. But where a network is
    sure, the loss and its gradient are so small that float16 has only zeros for them, and an attack would stand still.

    Args:
        model_fn, loss_fn, x, labels: as for `input_gradient`.

    Returns:
        float32 `(n, h, w, c)`.
    """

    def log_loss(labels, logits):
        loss = loss_fn(labels, logits)
        return loss / tf.stop_gradient(tf.maximum(tf.abs(loss), SMALLEST_LOSS))

    return input_gradient(model_fn, log_loss, x, labels)


SMALLEST_LOSS = 1e-7
"""Losses below it are raised as fast as this one: float32 has no smaller cross-entropies."""


@keras.saving.register_keras_serializable("rsr_tf")
class PGD(Attack):
    """Projected gradient descent (Eq. 2; Madry et al. 2018).

    Args:
        epsilon: radius of the ball; in linf in units of pixels in [0,1] and at most 1. Defaults to 8/255.
        step_size: length of a step, in the same unit. Defaults to 2/255.
        steps: number of steps. Defaults to 7.
        random_start: start from a random point of the ball instead of the image. Defaults to `True`.
        loss_fn: function `(labels, logits) -> (n,)` to maximize. Defaults to `rsr_tf.attacks.cross_entropy`, which
            `RSRModel` replaces by the compiled loss.
        norm: `"linf"` (default) or `"l2"`.

    Raises:
        ValueError: for an unknown `norm`, an `epsilon` or `step_size` that is not positive or, in linf, above 1, or
            `steps` below 1 or above 2**31 - 1, which the counter of a graph does not hold.

    Example:
        >>> attack = rsr_tf.attacks.PGD(epsilon=8 / 255, step_size=2 / 255, steps=7)
        >>> x_adv = attack(model_fn, x, y)
        >>> bool(tf.reduce_max(tf.abs(x_adv - x)) <= 8 / 255 + 1e-6)
        True
        >>> attack = rsr_tf.attacks.PGD(norm="l2", epsilon=0.5, step_size=0.1)
        >>> bool(tf.norm(attack(model_fn, x, y)[0] - x[0]) <= 0.5 + 1e-6)
        True
    """

    name = "PGD"
    description = "Several small steps along the gradient of the loss, each projected onto the allowed range."
    uses_gradients = True

    def __init__(
        self,
        *,
        epsilon=8 / 255,
        step_size=2 / 255,
        steps=7,
        random_start=True,
        loss_fn=cross_entropy,
        norm="linf",
    ):
        check_norm(norm, epsilon=epsilon, step_size=step_size)
        check_integers(1, steps=steps)
        self.epsilon = float(epsilon)
        self.step_size = float(step_size)
        self.steps = int(steps)
        self.random_start = bool(random_start)
        self.loss_fn = loss_fn
        self.norm = norm

    def __call__(self, model_fn, x, labels, *, seed=None):
        """Return adversarial images for a batch.

        Args:
            model_fn: function from images to logits; called once per step.
            x: float32 `(n, h, w, c)` in [0,1], or `(n, ...)` of any rank.
            labels: true or predicted labels, as `loss_fn` takes them.
            seed: integer, `keras.random.SeedGenerator` or `None`, for the random start.

        Returns:
            float32 of the shape of `x` within `epsilon` of `x` and within [0,1]; no gradient flows through it.
        """
        norm = NORMS[self.norm]
        x = tf.convert_to_tensor(x, tf.float32)
        start = norm.start(x, self.epsilon, seed) if self.random_start else x

        def step(index, x_adv):
            direction = ascent_direction(model_fn, self.loss_fn, x_adv, labels)
            return index + 1, norm.project(norm.step(x_adv, direction, self.step_size), x, self.epsilon)

        _, x_adv = tf.while_loop(lambda index, _: index < self.steps, step, (0, start))
        return tf.stop_gradient(x_adv)

    def with_loss(self, loss_fn):
        if self.loss_fn is not cross_entropy:
            return self
        attack = copy.copy(self)
        attack.loss_fn = loss_fn
        return attack

    def cost(self):
        return Cost(gradients=self.steps, classifications=0)

    def get_config(self):
        return {
            "epsilon": self.epsilon,
            "step_size": self.step_size,
            "steps": self.steps,
            "random_start": self.random_start,
            "loss_fn": keras.saving.serialize_keras_object(self.loss_fn),
            "norm": self.norm,
        }

    @classmethod
    def from_config(cls, config):
        """Build the attack from its config; without the key `"norm"`, as version 0.2.0 saved it, in linf."""
        return cls(**{**config, "loss_fn": keras.saving.deserialize_keras_object(config["loss_fn"])})


@keras.saving.register_keras_serializable("rsr_tf")
class FGSM(PGD):
    """Fast gradient sign method (Eq. 1): one step of length `epsilon` from the image itself.

    In l2 it is the fast gradient method: one step along the gradient.

    Args:
        epsilon: radius of the ball; in linf in units of pixels in [0,1] and at most 1. Defaults to 8/255.
        step_size: length of the step. Defaults to `epsilon`.
        steps: number of steps. Defaults to 1.
        random_start: start from a random point of the ball instead of the image. Defaults to `False`.
        loss_fn: function `(labels, logits) -> (n,)` to maximize. Defaults to `rsr_tf.attacks.cross_entropy`.
        norm: `"linf"` (default) or `"l2"`.

    Raises:
        ValueError: as for `PGD`.

    Example:
        >>> x_adv = rsr_tf.attacks.FGSM(epsilon=8 / 255)(model_fn, x, y)
        >>> bool(tf.reduce_max(tf.abs(x_adv - x)) <= 8 / 255 + 1e-6)
        True
    """

    name = "FGSM"
    description = "One step of length epsilon: every pixel moves up or down, by the sign of the gradient of the loss."

    def __init__(
        self,
        *,
        epsilon=8 / 255,
        step_size=None,
        steps=1,
        random_start=False,
        loss_fn=cross_entropy,
        norm="linf",
    ):
        super().__init__(
            epsilon=epsilon,
            step_size=epsilon if step_size is None else step_size,
            steps=steps,
            random_start=random_start,
            loss_fn=loss_fn,
            norm=norm,
        )
