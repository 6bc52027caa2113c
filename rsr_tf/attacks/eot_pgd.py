"""PGD against random networks: gradients averaged over the noise, restarts, and the best point of all is returned."""

import tensorflow as tf

from rsr_tf.attacks.gradient_attack import GradientAttack
from rsr_tf.attacks.norms import NORMS
from rsr_tf.validation import renamed_argument


@renamed_argument("draws", "eot_samples")
class EOTPGD(GradientAttack):
    """Projected gradient descent with gradients averaged over samples of the noise (Athalye et al. 2018).

    Unlike `rsr_tf.attacks.PGD`, it returns the strongest point that it visited instead of the last one. Up to version
    0.2.0 it was called `AdaptivePGD`.

    Args:
        epsilon: radius of the ball; in linf in units of pixels in [0,1]. Defaults to 8/255.
        norm: `"linf"` (default) or `"l2"`.
        step_size: length of a step. Defaults to `2.5 * epsilon / steps` (Madry et al. 2018), at most `epsilon`.
        steps: number of steps. Defaults to 20.
        eot_samples: calls of the network over which loss and gradient are averaged. Defaults to 20; 1 is enough for a
            network without noise.
        restarts: number of random starts. Defaults to 1.
        loss: `"cross_entropy"` (default) or `"dlr"`.
        random_start: start from a random point of the ball instead of the image. Defaults to `True`.

    Raises:
        ValueError: for a setting out of its range.

    Example:
        >>> attack = rsr_tf.attacks.EOTPGD(epsilon=8 / 255, steps=2, eot_samples=20)
        >>> x_adv = attack(model_fn, x, y, seed=0)
        >>> bool(tf.reduce_max(tf.abs(x_adv - x)) <= 8 / 255 + 1e-6)
        True
    """

    name = "EOT-PGD"
    description = (
        "PGD whose gradients are means over EOT samples, draws of the network's noise (one sample is plain PGD), and "
        "which keeps the strongest image that it visited."
    )
    numbers = ("epsilon", "step_size", "steps")

    def __init__(
        self,
        *,
        epsilon=8 / 255,
        norm="linf",
        step_size=None,
        steps=20,
        eot_samples=20,
        restarts=1,
        loss="cross_entropy",
        random_start=True,
    ):
        super().__init__(epsilon, norm, steps, eot_samples, restarts, loss, random_start)
        self.step_size = min(2.5 * self.epsilon / steps, self.epsilon) if step_size is None else float(step_size)
        if not self.step_size > 0:
            raise ValueError(f"`step_size` must be positive. Received: step_size={step_size}")

    def _ascend(self, gradient_at, start, x, best):
        norm = NORMS[self.norm]

        def step(index, x_adv, best):
            seen = gradient_at(x_adv)
            moved = norm.project(norm.step(x_adv, seen.gradient, self.step_size), x, self.epsilon)
            return index + 1, moved, best.updated(x_adv, seen)

        # One iteration more than steps evaluates the last point. A second copy of the network after the loop would take
        # seconds to trace.
        _, _, best = tf.while_loop(lambda index, *_: index <= self.steps, step, (0, start, best))
        return best

    def get_config(self):
        return {**super().get_config(), "step_size": self.step_size}
