"""Auto-PGD (Croce and Hein 2020): PGD that sets its own step size, with gradients averaged over the noise."""

from typing import NamedTuple

import tensorflow as tf

from rsr_tf.attacks.eot import BestSoFar, LossAndGradient
from rsr_tf.attacks.gradient_attack import GradientAttack
from rsr_tf.attacks.norms import NORMS, per_image
from rsr_tf.attacks.selection import select
from rsr_tf.validation import renamed_argument

MOMENTUM = 0.75
"""Share of the new step in a move; the rest is the previous move (alpha of the paper)."""
PROGRESS = 0.75
"""Share of the steps between two checkpoints that must raise the loss, or the step is halved (rho of the paper)."""


class APGDState(NamedTuple):
    """State of the ascent, with one entry for each image.

    Args:
        x: current point; `seen`: its `LossAndGradient`; `previous`: the point one step earlier.
        peak: point of the highest loss so far; `peak_seen`: its `LossAndGradient`.
        step_size: `(n,)`.
        rises: number of steps since the last checkpoint that raised the loss.
        peak_loss_before: highest loss at the last checkpoint.
        halved: whether the step was halved at the last checkpoint.
        best: the `BestSoFar`, which the attack returns.
    """

    x: tf.Tensor
    seen: LossAndGradient
    previous: tf.Tensor
    peak: tf.Tensor
    peak_seen: LossAndGradient
    step_size: tf.Tensor
    rises: tf.Tensor
    peak_loss_before: tf.Tensor
    halved: tf.Tensor
    best: BestSoFar


@renamed_argument("draws", "eot_samples")
class APGD(GradientAttack):
    """Auto-PGD on cross-entropy (APGD-CE) or the difference of logits ratio (APGD-DLR) (Croce and Hein 2020).

    The step size starts at 2 epsilon and moves have momentum. At checkpoints, where the loss rose in too few steps or
    has not changed, the step is halved and the search restarts from the best point. With `eot_samples` above 1, loss
    and gradient are means over the noise, as in the version `rand` of AutoAttack.

    Args:
        epsilon: radius of the ball; in linf in units of pixels in [0,1]. Defaults to 8/255.
        norm: `"linf"` (default) or `"l2"`.
        steps: number of steps. Defaults to 100.
        eot_samples: calls of the network over which loss and gradient are averaged. Defaults to 20; 1 is enough for a
            network without noise.
        restarts: number of random starts. Defaults to 1.
        loss: `"cross_entropy"` (default) or `"dlr"`.
        random_start: start from a random point of the ball instead of the image. Defaults to `True`.

    Raises:
        ValueError: for a setting out of its range.

    Example:
        >>> attack = rsr_tf.attacks.APGD(epsilon=8 / 255, steps=2, loss="dlr")
        >>> x_adv = attack(model_fn, x, y, seed=0)
        >>> bool(tf.reduce_max(tf.abs(x_adv - x)) <= 8 / 255 + 1e-6)
        True
    """

    name = "APGD"
    description = "PGD that adapts its step size; it maximizes one of two losses, cross-entropy (CE) or DLR."

    def __init__(
        self,
        *,
        epsilon=8 / 255,
        norm="linf",
        steps=100,
        eot_samples=20,
        restarts=1,
        loss="cross_entropy",
        random_start=True,
    ):
        super().__init__(epsilon, norm, steps, eot_samples, restarts, loss, random_start)

    def _ascend(self, gradient_at, start, x, best):
        windows = tf.constant(checkpoint_windows(self.steps))
        seen = gradient_at(start)
        zeros = tf.zeros_like(seen.loss)
        initial = APGDState(
            x=start,
            seen=seen,
            previous=start,
            peak=start,
            peak_seen=seen,
            step_size=zeros + 2 * self.epsilon,
            rises=zeros,
            peak_loss_before=seen.loss,
            halved=tf.zeros_like(seen.broken),
            best=best.updated(start, seen),
        )

        def step(index, state):
            moved = self._move(state, x, tf.where(index == 0, 1.0, MOMENTUM))
            seen = gradient_at(moved)
            higher = seen.loss > state.peak_seen.loss
            state = state._replace(
                x=moved,
                seen=seen,
                previous=state.x,
                peak=select(per_image(higher, moved), moved, state.peak),
                peak_seen=choose(higher, seen, state.peak_seen),
                rises=state.rises + tf.cast(seen.loss > state.seen.loss, tf.float32),
                best=state.best.updated(moved, seen),
            )
            return index + 1, tf.cond(windows[index] > 0, lambda: at_checkpoint(state, windows[index]), lambda: state)

        _, state = tf.while_loop(lambda index, _: index < self.steps, step, (0, initial))
        return state.best

    def _move(self, state, x, momentum):
        norm = NORMS[self.norm]
        stepped = norm.step(state.x, state.seen.gradient, per_image(state.step_size, x))
        stepped = norm.project(stepped, x, self.epsilon)
        moved = state.x + momentum * (stepped - state.x) + (1 - momentum) * (state.x - state.previous)
        return norm.project(moved, x, self.epsilon)


def checkpoint_windows(steps):
    """Compute the checkpoints of a run (Section 3.1 of Croce and Hein 2020).

    Args:
        steps: number of steps.

    Returns:
        A list with one float per step: the number of steps since the last checkpoint if the step ends at a checkpoint,
        otherwise 0.
    """
    windows = [0.0] * steps
    share, length, last = 22, 22, 0  # in hundredths, so that rounding up is exact
    while share <= 100:
        checkpoint = -(-share * steps // 100)
        if checkpoint > last:
            windows[checkpoint - 1] = float(checkpoint - last)
        length = max(length - 3, 6)
        share, last = share + length, checkpoint
    return windows


def at_checkpoint(state, window):
    """Halve the step and return to the peak where the loss rose too rarely, or step and peak are unchanged.

    Args:
        state: an `APGDState`.
        window: number of steps since the last checkpoint.

    Returns:
        The `APGDState` after the checkpoint.
    """
    unchanged = ~state.halved & (state.peak_seen.loss == state.peak_loss_before)
    halve = (state.rises < PROGRESS * window) | unchanged
    return state._replace(
        x=select(per_image(halve, state.x), state.peak, state.x),
        seen=choose(halve, state.peak_seen, state.seen),
        step_size=tf.where(halve, state.step_size / 2, state.step_size),
        rises=tf.zeros_like(state.rises),
        peak_loss_before=state.peak_seen.loss,
        halved=halve,
    )


def choose(condition, first, second):
    """Return the entries of one `LossAndGradient` where a condition `(n,)` holds, and of another elsewhere."""
    return LossAndGradient(
        tf.where(condition, first.loss, second.loss),
        select(per_image(condition, first.gradient), first.gradient, second.gradient),
        tf.where(condition, first.broken, second.broken),
    )
