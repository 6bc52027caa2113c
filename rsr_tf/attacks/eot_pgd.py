"""PGD that a random network does not fool: averaged over its noise, restarted, and keeping the best point it saw."""

import tensorflow as tf

from rsr_tf.attacks.eot import Best, look
from rsr_tf.attacks.losses import LOSSES
from rsr_tf.attacks.norms import GEOMETRIES


class GradientAttack:
    """What attacks by averaged gradients share: settings, checks, restarts.

    A subclass has `_climb(look_at, start, x, best) -> best`, one ascent from a start.
    """

    def __init__(self, epsilon, norm, steps, draws, restarts, loss, random_start):
        if norm not in GEOMETRIES:
            raise ValueError(f"`norm` must be one of {tuple(GEOMETRIES)}. Received: norm={norm!r}")
        if loss not in LOSSES:
            raise ValueError(f"`loss` must be one of {tuple(LOSSES)}. Received: loss={loss!r}")
        if not (epsilon > 0 and (norm == "l2" or epsilon <= 1)):
            raise ValueError(f"`epsilon` must be positive, and at most 1 in linf. Received: epsilon={epsilon}")
        for name, value in (("steps", steps), ("draws", draws), ("restarts", restarts)):
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value}")
        self.epsilon = float(epsilon)
        self.norm = norm
        self.steps = steps
        self.draws = draws
        self.restarts = restarts
        self.loss = loss
        self.random_start = bool(random_start)

    def __call__(self, model_fn, x, labels, *, seed=None):
        """Adversarial images for a batch.

        Args:
            model_fn: function from images to logits.
            x: float32 `(n, h, w, c)` in [0,1].
            labels: integers `(n,)`, the true labels.
            seed: integer, `keras.random.SeedGenerator` or `None`, for the random starts.

        Returns:
            float32 `(n, h, w, c)` within `epsilon` of `x` and within [0,1]: of all points of all restarts, image by
            image, the one of the highest mean loss among those that broke the network (see `Look`), or among all.
        """
        x, labels = tf.convert_to_tensor(x, tf.float32), tf.cast(labels, tf.int32)
        starts = tf.tile(x[tf.newaxis], (self.restarts, 1, 1, 1, 1))
        if self.random_start:
            flat = tf.reshape(starts, (-1, *x.shape[1:]))
            starts = tf.reshape(GEOMETRIES[self.norm].start(flat, self.epsilon, seed), tf.shape(starts))

        def look_at(x_adv):
            return look(model_fn, LOSSES[self.loss], x_adv, labels, draws=self.draws)

        def restart(index, best):
            return index + 1, self._climb(look_at, tf.ensure_shape(starts[index], x.shape), x, best)

        _, best = tf.while_loop(lambda index, _: index < self.restarts, restart, (0, Best.none(x)))
        return tf.stop_gradient(best.x)

    def get_config(self):
        names = ("epsilon", "norm", "steps", "draws", "restarts", "loss", "random_start")
        return {name: getattr(self, name) for name in names}


class AdaptivePGD(GradientAttack):
    """Projected gradient descent with the gradient averaged over draws of the noise (Athalye et al. 2018).

    Args:
        epsilon: radius of the ball; in linf in units of pixels in [0,1]. Defaults to 8/255.
        norm: `"linf"` (default) or `"l2"`.
        step_size: length of a step. Defaults to `2.5 * epsilon / steps` (Madry et al. 2018), at most `epsilon`.
        steps: number of steps. Defaults to 20.
        draws: calls of the network over which loss and gradient are averaged. Defaults to 20; 1 is enough for a
            network without noise.
        restarts: number of random starts. Defaults to 1.
        loss: `"cross_entropy"` (default) or `"dlr"`.
        random_start: start from a random point of the ball instead of the image. Defaults to `True`.

    Raises:
        ValueError: for a setting out of its range.

    Example:
        >>> x_adv = AdaptivePGD(epsilon=8 / 255, steps=20, draws=20)(model_fn, x, y, seed=0)
    """

    def __init__(
        self,
        *,
        epsilon=8 / 255,
        norm="linf",
        step_size=None,
        steps=20,
        draws=20,
        restarts=1,
        loss="cross_entropy",
        random_start=True,
    ):
        super().__init__(epsilon, norm, steps, draws, restarts, loss, random_start)
        self.step_size = min(2.5 * self.epsilon / steps, self.epsilon) if step_size is None else float(step_size)
        if not self.step_size > 0:
            raise ValueError(f"`step_size` must be positive. Received: step_size={step_size}")

    def _climb(self, look_at, start, x, best):
        geometry = GEOMETRIES[self.norm]

        def step(index, x_adv, best):
            seen = look_at(x_adv)
            moved = geometry.project(geometry.step(x_adv, seen.gradient, self.step_size), x, self.epsilon)
            return index + 1, moved, best.or_better(x_adv, seen)

        # one look more than steps, for the last point: a copy of the network outside the loop costs seconds of tracing
        _, _, best = tf.while_loop(lambda index, *_: index <= self.steps, step, (0, start, best))
        return best

    def get_config(self):
        return {**super().get_config(), "step_size": self.step_size}
