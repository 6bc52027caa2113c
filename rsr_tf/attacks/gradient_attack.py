"""Base class of the attacks by averaged gradients, EOT-PGD and APGD."""

import tensorflow as tf

from rsr_tf.attacks.base import Attack, Cost
from rsr_tf.attacks.eot import BestSoFar, eot_gradient
from rsr_tf.attacks.losses import LOSSES
from rsr_tf.attacks.norms import NORMS, check_norm
from rsr_tf.validation import check_integers


class GradientAttack(Attack):
    """Settings, checks and restarts of attacks by averaged gradients.

    A subclass implements `_ascend(gradient_at, start, x, best) -> best`: one ascent from a starting point, where
    `gradient_at` maps images to their `LossAndGradient` and `best` is a `BestSoFar`.
    """

    uses_gradients = True

    def __init__(self, epsilon, norm, steps, eot_samples, restarts, loss, random_start):
        check_norm(norm, epsilon=epsilon)
        if loss not in LOSSES:
            raise ValueError(f"`loss` must be one of {tuple(LOSSES)}. Received: loss={loss!r}")
        check_integers(1, steps=steps, eot_samples=eot_samples, restarts=restarts)
        self.epsilon = float(epsilon)
        self.norm = norm
        self.steps = int(steps)
        self.eot_samples = int(eot_samples)
        self.restarts = int(restarts)
        self.loss = loss
        self.random_start = bool(random_start)

    def __call__(self, model_fn, x, labels, *, seed=None):
        """Return adversarial images for a batch.

        Args:
            model_fn: function from images to logits.
            x: float32 `(n, h, w, c)` in [0,1], or `(n, ...)` of any rank.
            labels: integers `(n,)`, the true labels.
            seed: integer, `keras.random.SeedGenerator` or `None`, for the random starts.

        Returns:
            float32 of the shape of `x` within `epsilon` of `x` and within [0,1]. For each image it is the point of the
            highest mean loss among all points of all restarts that broke the network (see `LossAndGradient`), or among
            all points if none did.
        """
        x, labels = tf.convert_to_tensor(x, tf.float32), tf.cast(labels, tf.int32)
        starts = tf.repeat(x[tf.newaxis], self.restarts, axis=0)
        if self.random_start:
            flat = tf.reshape(starts, (-1, *x.shape[1:]))
            starts = tf.reshape(NORMS[self.norm].start(flat, self.epsilon, seed), tf.shape(starts))

        def gradient_at(x_adv):
            return eot_gradient(model_fn, LOSSES[self.loss], x_adv, labels, eot_samples=self.eot_samples)

        def restart(index, best):
            return index + 1, self._ascend(gradient_at, tf.ensure_shape(starts[index], x.shape), x, best)

        _, best = tf.while_loop(lambda index, _: index < self.restarts, restart, (0, BestSoFar.none(x)))
        return tf.stop_gradient(best.x)

    def cost(self):
        # one gradient more than steps: the last point is evaluated too
        return Cost(gradients=(self.steps + 1) * self.eot_samples * self.restarts, classifications=0)

    def get_config(self):
        names = ("epsilon", "norm", "steps", "eot_samples", "restarts", "loss", "random_start")
        return {name: getattr(self, name) for name in names}
