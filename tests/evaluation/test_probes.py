import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.evaluation import probes

CLASSES = tf.constant([[-1.0, 0.0, 1.0]]) * np.sqrt(1.5)
"""Logits with a standard deviation of 1 over the classes."""


def noisy(deviation):
    """Return a network whose noise is a function of the batch size."""

    def model_fn(x):
        n = x.shape[0]
        return CLASSES + deviation(n) * tf.random.normal((n, 3))

    return model_fn


def test_noise_is_its_deviation_in_units_of_the_spread_of_the_logits(images):
    """With 8 images, 3 classes and 200 draws the relative standard error is 1 / sqrt(2 * 24 * 199), 1 %."""
    spreads = probes.noise_by_batch_size(noisy(lambda n: 0.2), images, (8,), calls=200)
    assert spreads == {8: pytest.approx(0.2, rel=0.06)}


@pytest.mark.slow
def test_noise_that_depends_on_the_batch_size_is_measured_for_each(images):
    """The noise in calls of 32 images is four times that in calls of 8, and that in calls of single images is half."""
    factors = {1: 0.5, 8: 1.0, 32: 4.0}
    spreads = probes.noise_by_batch_size(noisy(lambda n: 0.05 * factors[n]), images, tuple(factors), calls=200)
    for size, factor in factors.items():
        assert spreads[size] / spreads[8] == pytest.approx(factor, rel=0.1)


def test_network_without_noise_has_none_at_any_size_and_is_called_twice(images):
    calls = []

    def model_fn(x):
        calls.append(len(x))
        return tf.repeat(CLASSES, len(x), axis=0)

    assert probes.noise_by_batch_size(model_fn, images, (8, 20)) == {8: 0.0, 20: 0.0}
    assert calls == [8, 8, 20, 20]


def test_constant_logits_have_a_noise_of_0_and_not_nan(images):
    assert probes.noise_by_batch_size(lambda x: tf.zeros((len(x), 3)), images, (8,)) == {8: 0.0}


def test_logits_have_their_mean_and_variance_over_the_calls(images):
    calls = iter([0.0, 1.0, 5.0])
    mean, variance = probes.mean_logits(lambda x: tf.zeros((len(x), 2)) + next(calls), images, calls=3)
    np.testing.assert_array_equal(mean, np.full((16, 2), 2.0))
    np.testing.assert_array_equal(variance, np.full((16, 2), 7.0))


def test_scale_is_the_median_deviation_over_the_classes():
    assert probes.logit_scale(np.array([[1.0, -1.0], [3.0, -3.0], [90.0, -90.0]])) == 3.0
    assert probes.logit_scale(np.zeros((2, 3))) > 0


def test_zero_and_nan_are_counted_in_the_gradient_of_each_image(images):
    """The first image counts with all pixels, the second with one half, and of the third the gradient is NaN."""
    weights = np.ones((3, 64, 2), "float32") * [1.0, -1.0]
    weights[1, :32] = 0
    weights[2] = np.nan

    def model_fn(x):
        return tf.einsum("np,npc->nc", tf.reshape(x, (3, 64)), tf.constant(weights, tf.float32))

    np.testing.assert_allclose(probes.zero_gradients(model_fn, images[:3], np.zeros(3, "int32")), [0, 0.5, 1])
