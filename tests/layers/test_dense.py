"""`NoisyDense` against NumPy; what it shares with the other layers is in `test_noisy_layer` and `test_convolutions`."""

import keras
import numpy as np
from helpers import compiled

import rsr_tf


def test_one_sgd_step_is_the_gradient_by_hand():
    """With noise of scale zero: the kernel's gradient is that of a dense layer, alpha's is not zero."""
    layer = rsr_tf.NoisyDense(3, noise_scale=0.0, bias_initializer="normal", seed=7)
    model = compiled(keras.Sequential([keras.Input((5,)), layer]), keras.optimizers.SGD(0.1), loss="mse")
    random = np.random.default_rng(0)
    mask = random.uniform(size=(5, 3)) < 0.7
    layer.mask.assign(mask)
    x, target = (random.normal(size=(4, size)).astype("float32") for size in (5, 3))
    kernel, bias = np.array(layer.kernel), np.array(layer.bias)
    eta = np.array(keras.random.normal((5, 3), seed=keras.random.SeedGenerator(7)))

    model.train_on_batch(x, target)

    error = 2 / target.size * (x @ (kernel * mask) + bias - target)
    gradient = x.T @ error * mask
    np.testing.assert_allclose(layer.kernel, kernel * mask - 0.1 * gradient, atol=1e-6)
    np.testing.assert_allclose(layer.bias, bias - 0.1 * error.sum(0), atol=1e-6)
    np.testing.assert_allclose(layer.alpha, -0.1 * (gradient * eta * np.std(kernel)).sum(0), atol=1e-6)
    assert np.abs(layer.alpha).min() > 1e-4


def test_output_is_activation_of_product_and_bias():
    """Over the last axis of inputs with any number of axes, as in Keras; without noise."""
    layer = rsr_tf.NoisyDense(3, activation="relu", noise="none", bias_initializer="normal")
    x = np.random.default_rng(0).normal(size=(4, 2, 5)).astype("float32")
    outputs = layer(x)
    np.testing.assert_allclose(outputs, np.maximum(x @ np.array(layer.kernel) + np.array(layer.bias), 0), atol=1e-5)
    assert 0 < np.mean(np.array(outputs) == 0) < 1


def test_layer_without_a_bias_has_none():
    layer = rsr_tf.NoisyDense(3, use_bias=False, noise="none")
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    np.testing.assert_allclose(layer(x), x @ np.array(layer.kernel), atol=1e-5)
    assert layer.bias is None


def test_whole_numbers_are_taken_as_the_stock_layer_takes_them():
    counts = np.random.default_rng(0).integers(0, 5, (2, 6))
    model = keras.Sequential([keras.Input((6,), dtype="int64"), keras.layers.Dense(4)])
    expected = model(counts)
    for same in (rsr_tf.add_noise(model, kind="none"), rsr_tf.strip(model)):
        np.testing.assert_allclose(same(counts), expected, rtol=1e-5)
    rsr_tf.prune(model, gamma=1e-6)
    np.testing.assert_allclose(model(counts), expected, rtol=1e-5)
