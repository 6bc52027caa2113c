"""APGD against its paper, by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks import APGD, EOTPGD
from rsr_tf.attacks.apgd import APGDState, at_checkpoint, checkpoint_windows
from rsr_tf.attacks.eot import BestSoFar, LossAndGradient


def bump(x):
    """Two logits whose cross-entropy for class 0 is highest where the only pixel is 0.37."""
    height = -tf.abs(x[:, 0, 0] - 0.37) * 20
    return tf.concat([tf.zeros_like(height), height], -1)


def apgd_by_hand(start, x, epsilon, steps):
    """The points that Algorithm 1 of Croce and Hein 2020 visits: one pixel, the loss of `bump`, plain numbers."""

    def loss(point):
        return math.log1p(math.exp(-20 * abs(point - 0.37)))

    def uphill(point):
        return 1 if point < 0.37 else -1

    def project(point):
        return min(max(point, x - epsilon, 0), x + epsilon, 1)

    shares = [0, 0.22]
    while shares[-1] <= 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    checkpoints = [math.ceil(share * steps - 1e-6) for share in shares]
    step, points, current, before = 2 * epsilon, [start], start, start
    top, rises, top_then, halved = start, 0, loss(start), False
    for k in range(1, steps + 1):
        z = project(current + step * uphill(current))
        share = 1 if k == 1 else 0.75
        following = project(current + share * (z - current) + (1 - share) * (current - before))
        rises += loss(following) > loss(current)
        before, current = current, following
        points.append(current)
        top = max(top, current, key=loss)
        if k in checkpoints:
            window = k - checkpoints[checkpoints.index(k) - 1]
            halve = rises < 0.75 * window or (not halved and loss(top) == top_then)
            if halve:
                step, current = step / 2, top
            rises, top_then, halved = 0, loss(top), halve
    return points


def test_first_steps_of_apgd_by_hand():
    """A whole step of 2 epsilon, cut to the ball; then three quarters of a step and a quarter of the last move."""
    assert apgd_by_hand(0.9, 0.9, 0.8, 3) == pytest.approx([0.9, 0.1, 0.575, 0.3375])


@pytest.mark.parametrize(("x", "epsilon"), [(0.9, 0.8), (0.5, 0.2), (0.2, 0.11)])
def test_apgd_visits_the_points_of_its_paper(x, epsilon):
    visited = []

    def watched(images):
        visited.append(images.numpy().item())
        return bump(images)

    image = np.full((1, 1, 1, 1), x, "float32")
    APGD(epsilon=epsilon, steps=100, eot_samples=1, random_start=False)(watched, image, np.array([0], "int32"))
    np.testing.assert_allclose(visited, apgd_by_hand(x, x, epsilon, 100), atol=2e-5)


def test_apgd_returns_to_an_unchanged_peak_but_not_twice_in_a_row():
    """The first call has the highest loss, the others rise; uphill is always upwards, to the edge of the ball.

    At 22 and 57 steps the peak stands still and the step is halved: from the peak at 0.5, three quarters of the step
    upwards, and a quarter of the way back from the edge. At 41, right after a halving, that is no reason.
    """
    visited = []

    def rising(x):
        visited.append(x.numpy().item())
        level = 0.1 * len(visited) if len(visited) > 1 else 50.0
        height = level + 1e-6 * x[:, 0, 0]
        return tf.concat([tf.zeros_like(height), height], -1)

    image = np.full((1, 1, 1, 1), 0.5, "float32")
    APGD(epsilon=0.4, steps=100, eot_samples=1, random_start=False)(rising, image, np.array([0], "int32"))
    assert [visited[steps] for steps in (0, 1, 22)] == pytest.approx([0.5, 0.9, 0.9])
    assert visited[23] == pytest.approx(0.5 + 0.75 * 0.4 - 0.25 * 0.4)
    assert visited[41] == visited[42] == pytest.approx(0.9)
    assert visited[58] == pytest.approx(0.5 + 0.75 * 0.2 - 0.25 * 0.4)


def test_a_checkpoint_treats_each_image_separately():
    """One image rose in every step, the other in none of ten."""
    x = tf.zeros((2, 1, 1, 1))
    seen = LossAndGradient(tf.constant([1.0, 2.0]), x, tf.constant([False, False]))
    peak_seen = LossAndGradient(tf.constant([3.0, 4.0]), x + 1, tf.constant([False, True]))
    step_size, rises = tf.constant([0.4, 0.4]), tf.constant([10.0, 0.0])
    state = APGDState(
        x,
        seen,
        x,
        x + 5,
        peak_seen,
        step_size,
        rises,
        tf.constant([0.0, 0.0]),
        tf.constant([True, True]),
        BestSoFar.none(x),
    )
    state = at_checkpoint(state, 10.0)
    assert state.peak_loss_before.numpy().tolist() == [3, 4]
    assert state.rises.numpy().tolist() == [0, 0]
    assert state.halved.numpy().tolist() == [False, True]
    assert state.step_size.numpy() == pytest.approx([0.4, 0.2])
    assert state.x.numpy().ravel().tolist() == [0, 5]
    assert state.seen.gradient.numpy().ravel().tolist() == [0, 1]
    assert state.seen.loss.numpy().tolist() == [1, 4]


@pytest.mark.slow
def test_apgd_finds_a_peak_that_long_steps_jump_over():
    x, labels = np.full((1, 1, 1, 1), 0.9, "float32"), np.array([0], "int32")
    found = APGD(epsilon=0.8, steps=100, eot_samples=1, random_start=False)(bump, x, labels).numpy().item()
    assert found == pytest.approx(0.37, abs=0.003)
    long_steps = EOTPGD(epsilon=0.8, step_size=0.8, steps=100, eot_samples=1, random_start=False)
    assert abs(long_steps(bump, x, labels).numpy().item() - 0.37) > 0.1


def test_checkpoints_of_100_steps_are_those_of_the_paper():
    windows = checkpoint_windows(100)
    assert [step + 1 for step, window in enumerate(windows) if window] == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [window for window in windows if window] == [22, 19, 16, 13, 10, 7, 6, 6]


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 37])
def test_windows_of_short_runs_cover_no_step_twice(steps):
    windows = checkpoint_windows(steps)
    assert len(windows) == steps
    ends = np.flatnonzero(windows)
    assert np.diff([-1, *ends]).tolist() == [windows[end] for end in ends]
