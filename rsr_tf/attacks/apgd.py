"""Auto-PGD: an attack without a step size to choose (Croce and Hein 2020), averaged over the noise of a network."""

from typing import NamedTuple

import tensorflow as tf

from rsr_tf.attacks.eot import Best, Look, per_image
from rsr_tf.attacks.eot_pgd import GradientAttack
from rsr_tf.attacks.norms import GEOMETRIES

MOMENTUM = 0.75
"""Share of the new step in a move; the rest is the move before (alpha of the paper)."""
PROGRESS = 0.75
"""Share of steps between two checkpoints that must have raised the loss (rho of the paper)."""


class Climb(NamedTuple):
    """State of the ascent; everything is one entry for each image.

    Args:
        x: where it is, with `seen`, the `Look` there; `previous`: where it was a step before.
        peak: the point of the highest loss so far, with `peak_seen`.
        step_size: `(n,)`.
        rises: steps since the last checkpoint that raised the loss.
        peak_loss_before: highest loss at the last checkpoint.
        halved: whether the step was halved there.
        best: what will be returned.
    """

    x: tf.Tensor
    seen: Look
    previous: tf.Tensor
    peak: tf.Tensor
    peak_seen: Look
    step_size: tf.Tensor
    rises: tf.Tensor
    peak_loss_before: tf.Tensor
    halved: tf.Tensor
    best: Best


class APGD(GradientAttack):
    """Auto-PGD on cross-entropy (APGD-CE) or the difference of logits ratio (APGD-DLR) (Croce and Hein 2020).

    The step is 2 epsilon at first, moves have momentum, and at checkpoints the step is halved, and the search goes
    back to the best point, where the loss rose too seldom or stands still. With `draws` above 1, loss and gradient are
    means over the noise, as in the version `rand` of AutoAttack.

    Args:
        epsilon: radius of the ball; in linf in units of pixels in [0,1]. Defaults to 8/255.
        norm: `"linf"` (default) or `"l2"`.
        steps: number of steps. Defaults to 100.
        draws: calls of the network over which loss and gradient are averaged. Defaults to 20; 1 is enough for a
            network without noise.
        restarts: number of random starts. Defaults to 1.
        loss: `"cross_entropy"` (default) or `"dlr"`.
        random_start: start from a random point of the ball instead of the image. Defaults to `True`.

    Raises:
        ValueError: for a setting out of its range.

    Example:
        >>> x_adv = APGD(epsilon=8 / 255, loss="dlr")(model_fn, x, y, seed=0)
    """

    def __init__(
        self,
        *,
        epsilon=8 / 255,
        norm="linf",
        steps=100,
        draws=20,
        restarts=1,
        loss="cross_entropy",
        random_start=True,
    ):
        super().__init__(epsilon, norm, steps, draws, restarts, loss, random_start)

    def _climb(self, look_at, start, x, best):
        windows = tf.constant(checkpoint_windows(self.steps))
        seen = look_at(start)
        nothing = tf.zeros_like(seen.loss)
        begin = Climb(
            x=start,
            seen=seen,
            previous=start,
            peak=start,
            peak_seen=seen,
            step_size=nothing + 2 * self.epsilon,
            rises=nothing,
            peak_loss_before=seen.loss,
            halved=tf.zeros_like(seen.broken),
            best=best.or_better(start, seen),
        )

        def step(index, climb):
            moved = self._move(climb, x, tf.where(index == 0, 1.0, MOMENTUM))
            seen = look_at(moved)
            higher = seen.loss > climb.peak_seen.loss
            climb = climb._replace(
                x=moved,
                seen=seen,
                previous=climb.x,
                peak=tf.where(per_image(higher), moved, climb.peak),
                peak_seen=choose(higher, seen, climb.peak_seen),
                rises=climb.rises + tf.cast(seen.loss > climb.seen.loss, tf.float32),
                best=climb.best.or_better(moved, seen),
            )
            return index + 1, tf.cond(windows[index] > 0, lambda: at_checkpoint(climb, windows[index]), lambda: climb)

        _, climb = tf.while_loop(lambda index, _: index < self.steps, step, (0, begin))
        return climb.best

    def _move(self, climb, x, momentum):
        geometry = GEOMETRIES[self.norm]
        stepped = geometry.step(climb.x, climb.seen.gradient, per_image(climb.step_size))
        stepped = geometry.project(stepped, x, self.epsilon)
        moved = climb.x + momentum * (stepped - climb.x) + (1 - momentum) * (climb.x - climb.previous)
        return geometry.project(moved, x, self.epsilon)


def checkpoint_windows(steps):
    """For each step the number of steps since the last checkpoint if it ends at one, and 0 elsewhere (Section 3.1).

    Args:
        steps: number of steps.

    Returns:
        A list of floats of that length.
    """
    windows = [0.0] * steps
    share, length, last = 22, 22, 0  # in hundredths, which makes rounding up exact
    while share <= 100:
        checkpoint = -(-share * steps // 100)
        if checkpoint > last:
            windows[checkpoint - 1] = float(checkpoint - last)
        length = max(length - 3, 6)
        share, last = share + length, checkpoint
    return windows


def at_checkpoint(climb, window):
    """Halve the step and go back to the peak where the loss rose too seldom, or both step and peak stand still."""
    stands_still = ~climb.halved & (climb.peak_seen.loss == climb.peak_loss_before)
    halve = (climb.rises < PROGRESS * window) | stands_still
    return climb._replace(
        x=tf.where(per_image(halve), climb.peak, climb.x),
        seen=choose(halve, climb.peak_seen, climb.seen),
        step_size=tf.where(halve, climb.step_size / 2, climb.step_size),
        rises=tf.zeros_like(climb.rises),
        peak_loss_before=climb.peak_seen.loss,
        halved=halve,
    )


def choose(condition, first, second):
    """`first` where a condition `(n,)` holds, else `second`: two `Look`s."""
    return Look(
        tf.where(condition, first.loss, second.loss),
        tf.where(per_image(condition), first.gradient, second.gradient),
        tf.where(condition, first.broken, second.broken),
    )
