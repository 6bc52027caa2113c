"""Steps, starts and projections of both norms against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from linear_networks import SHAPE

from rsr_tf.attacks.norms import NORMS, check_norm, l2_start, l2_step, project_l2, project_linf, random_start


def test_an_l2_step_has_its_length_however_small_the_gradient():
    direction = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype("float32")
    scale = np.array([1.0, 1e-30, 0.0], "float32").reshape(3, 1, 1, 1)
    moved = l2_step(tf.zeros_like(direction), direction * scale, 0.3).numpy()
    expected = 0.3 * direction / np.linalg.norm(direction.reshape(3, -1), axis=1).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(moved[:2], expected[:2], rtol=1e-4)
    assert not moved[2].any()


def test_projection_onto_the_l2_ball_ends_in_the_box_and_in_the_ball():
    x = np.array([[0.9, 0.5]], "float32").reshape(1, 1, 2, 1)
    projected = project_l2(x + np.array([[3.0, 4.0]], "float32").reshape(x.shape), x, 0.5).numpy()
    np.testing.assert_allclose(projected.ravel(), [1.0, 0.9], atol=1e-6)  # 0.9 + 0.3 is cut, 0.5 + 0.4 is not


def test_projection_onto_the_l2_ball_against_numpy():
    random = np.random.default_rng(0)
    x, x_adv = (random.uniform(0.3, 0.7, (5, *SHAPE)).astype("float32") for _ in range(2))
    difference = (x_adv - x).reshape(5, -1)
    length = np.linalg.norm(difference, axis=1, keepdims=True)
    radius = np.median(length)
    expected = x.reshape(5, -1) + difference * np.minimum(1, radius / length)
    assert length.min() < radius < length.max()
    np.testing.assert_allclose(project_l2(x_adv, x, radius).numpy().reshape(5, -1), expected, atol=1e-6)


def test_starts_are_uniform_in_the_l2_ball():
    """In 36 dimensions half of the volume is beyond radius 0.5 ** (1 / 36); five standard errors of 2,000 starts."""
    x = tf.fill((2000, *SHAPE), 0.5)
    radii = np.linalg.norm((l2_start(x, 0.3, seed=0) - x).numpy().reshape(2000, -1), axis=1) / 0.3
    assert radii.max() <= 1 + 1e-5
    assert abs(np.mean(radii > 0.5 ** (1 / 36)) - 0.5) < 5 * 0.5 / np.sqrt(2000)


def test_projection_onto_the_linf_ball_against_numpy():
    random = np.random.default_rng(0)
    x, x_adv = random.uniform(size=(2, 100)).astype("float32")
    expected = np.clip(np.clip(x_adv, x - 0.1, x + 0.1), 0, 1)
    np.testing.assert_allclose(project_linf(x_adv, x, 0.1), expected, atol=1e-6)


def test_random_start_fills_the_ball_and_stays_in_the_box():
    start = np.array(random_start(tf.fill((100, 10, 10, 1), 0.5), 0.25, seed=0))
    assert start.min() >= 0.25
    assert start.max() <= 0.75
    assert abs(start.mean() - 0.5) < 5 * 0.25 / np.sqrt(3 * start.size)
    np.testing.assert_allclose(start.std(), 0.25 / np.sqrt(3), rtol=0.02)
    assert np.array(random_start(tf.zeros((10, 4, 4, 1)), 0.25, seed=0)).min() == 0


def test_each_norm_has_a_start_a_step_and_a_projection_within_its_ball():
    x = tf.constant(np.random.default_rng(0).uniform(size=(50, *SHAPE)).astype("float32"))
    length = {"linf": lambda change: np.abs(change).max(1), "l2": lambda change: np.linalg.norm(change, axis=1)}
    assert set(NORMS) == set(length)
    for name, norm in NORMS.items():
        start = norm.start(x, 0.2, 0)
        moved = norm.step(start, tf.sin(40 * x), 0.1)
        for points, radius in ((start - x, 0.2), (moved - start, 0.1), (norm.project(moved, x, 0.2) - x, 0.2)):
            found = length[name](points.numpy().reshape(50, -1)).max()
            assert 0.5 * radius < found <= radius * (1 + 1e-5)


@pytest.mark.parametrize(
    ("norm", "lengths", "message"),
    [
        ("l1", {}, r"`norm` must be one of \('linf', 'l2'\). Received: norm='l1'"),
        ("linf", {"epsilon": 1.5}, r"`epsilon` must be in \(0, 1\]. Received: epsilon=1.5"),
        (
            "linf",
            {"epsilon": 0.1, "step_size": float("nan")},
            r"`step_size` must be in \(0, 1\]. Received: step_size=nan",
        ),
        ("l2", {"epsilon": 0}, "`epsilon` must be positive. Received: epsilon=0"),
    ],
)
def test_wrong_norms_and_lengths_are_refused(norm, lengths, message):
    with pytest.raises(ValueError, match=message):
        check_norm(norm, **lengths)


def test_only_linf_has_an_upper_bound():
    assert check_norm("l2", epsilon=20, step_size=2) is None
