"""Bounds and radii against hand-made numbers, SciPy, brute force, and the exact norm of a convolution."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from rsr_tf.evaluation import (
    clopper_pearson,
    convolution_sensitivity,
    dp_radius,
    gaussian_std,
    hoeffding,
    laplace_radius,
    laplace_scale,
    smoothing_radius,
)
from rsr_tf.layers import Parseval

STD = 0.2537272482
"""Noise for an attack of l2 norm 0.1 at epsilon 1 and delta 0.05."""


@pytest.mark.parametrize(("radius", "std"), [(0.03, 0.0761), (0.1, 0.253727), (0.3, 0.7612), (1.0, 2.5373)])
def test_gaussian_noise_for_the_radii_of_pixeldp(radius, std):
    assert gaussian_std(radius) == pytest.approx(std, abs=5e-5)


def test_noise_grows_with_sensitivity_and_falls_with_epsilon():
    assert gaussian_std(0.1, epsilon=0.5, sensitivity=3) == pytest.approx(6 * STD)
    assert gaussian_std(0.1, delta=0.01) == pytest.approx(0.1 * math.sqrt(2 * math.log(125)))
    assert laplace_scale(0.1, epsilon=0.5, sensitivity=3) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("low", "high", "pixeldp", "smoothing"),
    [(0.9, 0.05, 0.12178, 0.37125), (0.99, 0.005, 0.14253, 0.62191), (0.7, 0.2, 0.05245, 0.17330), (0.3, 0.4, 0, 0)],
)
def test_radii_of_mean_predictions_are_those_computed_by_hand(low, high, pixeldp, smoothing):
    assert dp_radius(low, high, STD) == pytest.approx(pixeldp, abs=1e-5)
    assert smoothing_radius(low, high, STD) == pytest.approx(smoothing, abs=1e-5)


def test_condition_of_pixeldp_holds_at_its_own_epsilon_and_delta_just_so():
    """At (1, 0.05) the condition is low >= 7.38906 high + 0.185914, and the radius is then at least 0.1."""
    low = 7.38906 * 0.05 + 0.185914
    assert low == pytest.approx(0.555367, abs=1e-6)
    assert dp_radius(low + 1e-5, 0.05, STD) >= 0.1 - 1e-6
    condition = low - 1e-3 >= np.exp(2) * 0.05 + (1 + np.e) * 0.05
    assert not condition


@pytest.mark.parametrize(("low", "high"), [(0.9, 0.05), (0.99, 0.001), (0.55, 0.4), (0.6, 0.0), (1.0, 0.0)])
def test_pixeldp_radius_is_the_maximum_over_epsilon_and_delta(low, high):
    epsilon, delta = np.meshgrid(np.linspace(1e-3, 1, 1500), np.geomspace(1e-9, 0.3, 1500))
    allowed = low >= np.exp(2 * epsilon) * high + (1 + np.exp(epsilon)) * delta
    best = np.max(np.where(allowed, STD * epsilon / np.sqrt(2 * np.log(1.25 / delta)), 0))
    found = dp_radius(low, high, STD)
    assert best <= found + 1e-5
    assert found == pytest.approx(best, rel=2e-2)


def test_no_pixeldp_radius_exceeds_that_of_certainty():
    """For an attack of norm 0.1 nothing above 0.150, so that the l2 ball around 8/255 (1.739) is out of reach."""
    assert 0.144 < dp_radius(1.0, 0.0, STD) < 0.150
    assert 8 / 255 * math.sqrt(32 * 32 * 3) == pytest.approx(1.739, abs=1e-3)


@pytest.mark.slow
def test_pixeldp_never_certifies_more_than_smoothing():
    low, high = np.random.default_rng(0).uniform(size=(2, 1000))
    high = np.minimum(high, 1 - low)
    pixeldp, smoothing = dp_radius(low, high, 0.7), smoothing_radius(low, high, 0.7)
    assert np.all(pixeldp <= smoothing + 1e-12)
    assert np.all(pixeldp[low <= high] == 0)
    assert np.all(smoothing[low <= high] == 0)
    assert np.mean(pixeldp > 0) > 0.1


def test_radii_are_divided_by_the_sensitivity():
    for radius in (dp_radius, smoothing_radius, laplace_radius):
        assert radius(0.9, 0.05, 0.5, sensitivity=4.107) == pytest.approx(radius(0.9, 0.05, 0.5) / 4.107)


def test_laplace_radius_is_that_of_pure_privacy():
    """At epsilon e the condition is low = exp(2 e) high, and the noise of scale b serves a radius of e b."""
    epsilon, scale = 0.3, laplace_scale(0.1, epsilon=0.3)
    assert laplace_radius(0.05 * math.exp(2 * epsilon), 0.05, scale) == pytest.approx(0.1)
    assert laplace_radius(0.4, 0.5, scale) == 0


# Bounds


@pytest.mark.slow
def test_clopper_pearson_is_that_of_scipy():
    hits = np.arange(201)
    low, high = clopper_pearson(hits, 200, 0.005)
    interval = [stats.binomtest(int(hit), 200).proportion_ci(0.99) for hit in hits]
    np.testing.assert_allclose(low, [each.low for each in interval], atol=1e-12)
    np.testing.assert_allclose(high, [each.high for each in interval], atol=1e-12)


def test_clopper_pearson_of_all_and_no_hits():
    low, high = clopper_pearson([2000, 0], 2000, 0.05 / 10)
    assert low == pytest.approx([0.997354, 0], abs=1e-6)
    assert high == pytest.approx([1, 0.002646], abs=1e-6)


@pytest.mark.parametrize(("trials", "width"), [(300, 0.09397), (2000, 0.03639)])
def test_half_width_of_hoeffding_for_ten_classes(trials, width):
    low, high = hoeffding(0.5, trials, 0.05 / 10)
    assert (0.5 - low, high - 0.5) == (pytest.approx(width, abs=1e-5),) * 2


def test_hoeffding_stays_within_probabilities():
    low, high = hoeffding([0.01, 0.99], 100, 0.05)
    assert (low[0], high[1]) == (0, 1)


@pytest.mark.parametrize("bound", ["clopper_pearson", "hoeffding"])
def test_bounds_are_wrong_no_more_often_than_allowed(bound):
    hits = np.random.default_rng(0).binomial(100, 0.8, 5000)
    low, high = clopper_pearson(hits, 100, 0.05) if bound == "clopper_pearson" else hoeffding(hits / 100, 100, 0.05)
    chance = 5 * np.sqrt(0.05 * 0.95 / 5000)
    assert np.mean(low > 0.8) <= 0.05 + chance
    assert np.mean(high < 0.8) <= 0.05 + chance
    assert np.mean(high - low) < 0.25


# Sensitivity


def convolution_norm(kernel, size, strides, padding):
    """The exact norm of a convolution for images of one size, from its matrix."""
    basis = np.eye(size * size * kernel.shape[2], dtype="float32").reshape(-1, size, size, kernel.shape[2])
    rows = tf.nn.conv2d(basis, kernel, strides, padding).numpy()
    return np.linalg.norm(rows.reshape(len(basis), -1), 2)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("size", "strides"), [(3, 1), (3, 2), (5, 2), (1, 1), (2, 2), (3, 3)])
def test_sensitivity_is_never_below_the_norm_of_the_convolution(size, strides, padding):
    kernel = np.random.default_rng(size).normal(size=(size, size, 2, 4)).astype("float32")
    bound = convolution_sensitivity(kernel, strides)
    largest = np.linalg.svd(kernel.reshape(-1, 4), compute_uv=False)[0]
    assert bound == pytest.approx(math.ceil(size / strides) * largest)
    assert convolution_norm(kernel, 6, strides, padding) <= bound * (1 + 1e-5)
    if size == strides and padding == "VALID":
        assert convolution_norm(kernel, 6, strides, padding) == pytest.approx(bound, rel=1e-5)


def test_sensitivity_of_a_constant_kernel_is_nearly_reached():
    kernel = np.full((3, 3, 1, 1), 1 / 3, "float32")
    assert 2.8 < convolution_norm(kernel, 12, 1, "SAME") < convolution_sensitivity(kernel) == pytest.approx(3)


def test_parseval_holds_the_sensitivity_at_that_of_the_patches():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype("float32") / 4
    assert convolution_sensitivity(Parseval(0.3, loops=40)(kernel)) == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (gaussian_std, {"radius": 0}, "`radius` must be a positive finite number. Received: radius=0"),
        (gaussian_std, {"radius": 1, "epsilon": 2}, "`epsilon` must be at most 1. Received: epsilon=2"),
        (laplace_scale, {"radius": 1, "epsilon": -1}, "`epsilon` must be a positive .* Received: epsilon=-1"),
        (dp_radius, {"low": 1, "high": 0, "std": math.nan}, "`std` must be a positive .* Received: std=nan"),
        (smoothing_radius, {"low": 1, "high": 0, "std": 1, "sensitivity": 0}, "`sensitivity` must be a positive"),
        (laplace_radius, {"low": 1, "high": 0, "scale": math.inf}, "`scale` must be a positive .* Received: scale=inf"),
    ],
)
def test_arguments_outside_their_range_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(**arguments)
