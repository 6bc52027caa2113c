import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.layers import noise


@pytest.mark.parametrize(
    ("kind", "shape"), [("channel", (16,)), ("layer", ()), ("element", (3, 3, 8, 16)), ("none", None)]
)
def test_alpha_has_one_entry_for_each_filter_layer_or_weight(kind, shape):
    assert noise.alpha_shape((3, 3, 8, 16), kind) == shape


@pytest.mark.parametrize(("filter_axes", "shape"), [((-1,), (2,)), ((-2,), (5, 1)), ((-2, -1), (5, 2))])
def test_channelwise_alpha_broadcasts_over_axes_that_index_no_filters(filter_axes, shape):
    assert noise.alpha_shape((3, 3, 5, 2), "channel", filter_axes) == shape


def test_alpha_shape_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match=r"`noise` must be one of .* Received: noise='gauss'"):
        noise.alpha_shape((3, 3), "gauss")


def test_noise_std_is_alpha_times_the_std_of_the_whole_kernel():
    kernel = tf.constant([[1.0, 2.0], [3.0, 6.0]])  # variance 3.5
    deviation = noise.noise_std(kernel, tf.constant([0.25, -2.0]))
    np.testing.assert_allclose(deviation, np.sqrt(3.5) * np.array([0.25, -2.0]), rtol=1e-6)


def test_kernel_std_in_numpy_agrees_with_the_noise_in_tensorflow():
    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 8, 4)), tf.float32)
    np.testing.assert_allclose(noise.kernel_std(kernel), noise.noise_std(kernel, tf.constant(1.0)), rtol=1e-6)


def test_kernel_std_of_bfloat16_is_that_of_its_values():
    """Summed in bfloat16, which has 8 bits, it would be 0.016 in place of 0.05."""
    kernel = tf.cast(tf.random.stateless_normal((3, 3, 64, 64), seed=(1, 2), stddev=0.05), "bfloat16")
    np.testing.assert_allclose(noise.kernel_std(kernel), np.std(tf.cast(kernel, "float64")), rtol=1e-5)


@pytest.mark.slow
def test_noise_has_mean_zero_and_std_alpha_times_kernel_std_per_filter():
    """Eq. 4, statistically: 4,000 draws of 90 weights a filter; bounds are five standard errors."""
    random = np.random.default_rng(0)
    kernel = tf.constant(random.normal(size=(3, 3, 10, 4)), tf.float32)
    alpha = tf.constant([0.0, 0.25, 1.0, -2.0])
    mask = tf.ones(kernel.shape, tf.bool)
    draws = [
        noise.noisy_kernel(kernel, noise.noise_std(kernel, alpha), mask, tf.random.normal(kernel.shape)) - kernel
        for _ in range(4000)
    ]
    values = np.stack(draws).reshape(-1, 4)
    expected = np.abs(alpha) * np.std(kernel)
    count = len(values)
    assert np.all(np.abs(values.mean(0)) <= 5 * expected / np.sqrt(count) + 1e-7)
    assert np.all(np.abs(values.std(0) - expected) <= 5 * expected / np.sqrt(2 * count) + 1e-7)


def test_pruned_weights_get_no_noise_and_no_gradient():
    kernel, normal = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([[5.0, 6.0], [7.0, 8.0]])
    deviation, mask = tf.constant([0.5, 0.25]), tf.constant([[True, False], [False, True]])
    with tf.GradientTape() as tape:
        tape.watch([kernel, deviation])
        noisy = noise.noisy_kernel(kernel, deviation, mask, normal)
        loss = tf.reduce_sum(noisy * [[1.0, 10.0], [100.0, 1000.0]])
    kernel_gradient, deviation_gradient = tape.gradient(loss, [kernel, deviation])
    np.testing.assert_array_equal(noisy, [[3.5, 0.0], [0.0, 6.0]])
    np.testing.assert_array_equal(kernel_gradient, [[1.0, 0.0], [0.0, 1000.0]])
    np.testing.assert_array_equal(deviation_gradient, [5.0, 8000.0])  # upstream * normal, summed over a filter


def test_gradient_of_alpha_sums_over_all_weights_of_its_filter():
    kernel = tf.constant([[1.0, 2.0], [3.0, 6.0]])  # variance 3.5
    normal = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    alpha = tf.constant([0.1, 0.2])
    with tf.GradientTape() as tape:
        tape.watch(alpha)
        deviation = noise.noise_std(kernel, alpha)
        loss = tf.reduce_sum(noise.noisy_kernel(kernel, deviation, tf.ones((2, 2), tf.bool), normal))
    np.testing.assert_allclose(tape.gradient(loss, alpha), np.sqrt(3.5) * np.array([4.0, 6.0]), rtol=1e-6)


def test_no_gradient_flows_through_the_variance():
    kernel = tf.constant([[1.0, 2.0], [3.0, 6.0]])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        deviation = noise.noise_std(kernel, tf.constant([0.25, 0.5]))
    assert tape.gradient(deviation, kernel) is None


def test_unseeded_noise_does_not_follow_the_seed_of_the_program():
    def draw():
        tf.random.set_seed(0)
        return tf.function(lambda: noise.unseeded_normal((100,)))().numpy()

    first, second = draw(), draw()
    assert not np.array_equal(first, second)
    assert abs(first.mean()) < 0.5
    assert 0.6 < first.std() < 1.4


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_half_precision_becomes_single_and_the_others_stay(dtype, expected):
    value = noise.in_single_precision(keras.Variable([1.5, -2.0], dtype=dtype))
    assert value.dtype == expected
    np.testing.assert_array_equal(value, [1.5, -2.0])
