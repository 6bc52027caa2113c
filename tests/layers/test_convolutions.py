"""Noisy layers of every kind equal their stock layers, but for Eq. 4 in the kernels."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, silence
from stock_layers import inputs_for

import rsr_tf
from rsr_tf.layers import noisy_layers, prunable_kernels
from rsr_tf.layers.registry import stock_class

layers = keras.layers


def test_noisy_layer_without_noise_is_the_stock_one(stock):
    noisy = rsr_tf.add_noise(stock)
    (layer,) = noisy_layers(noisy)
    assert stock_class(layer) is type(stock.layers[0])
    x = inputs_for(stock)
    assert np.abs(noisy(x) - noisy(x)).max() > 1e-4
    np.testing.assert_allclose(silence(noisy)(x), stock(x), atol=1e-5)
    np.testing.assert_allclose(rsr_tf.strip(noisy)(x), stock(x), atol=1e-5)


def test_each_filter_has_its_noise_scale(stock):
    noisy = silence(rsr_tf.add_noise(stock))
    x = inputs_for(noisy)
    kernel = list(prunable_kernels(noisy).values())[-1]
    filters = noisy.output_shape[-1]
    assert np.size(kernel.alpha) == filters
    kernel.alpha.assign(np.eye(filters)[2].reshape(kernel.alpha.shape))
    moved = np.abs(noisy(x) - noisy(x)).max(axis=tuple(range(len(noisy.output_shape) - 1)))
    np.testing.assert_array_equal(moved > 1e-4, np.arange(filters) == 2)


def test_depthwise_kernel_of_a_separable_layer_has_its_noise_scales():
    model = keras.Sequential([keras.Input((8, 8, 6)), layers.SeparableConv2D(4, 3, depth_multiplier=2)])
    depthwise, pointwise = prunable_kernels(rsr_tf.add_noise(model)).values()
    assert (depthwise.alpha.shape, pointwise.alpha.shape) == ((6, 2), (4,))
    assert (depthwise.filter_axes, pointwise.filter_axes) == ((-2, -1), (-1,))


@pytest.mark.parametrize(("kind", "shape"), [("layer", ()), ("element", (2, 2, 4, 6))])
def test_other_kinds_of_noise_for_a_transposed_kernel(kind, shape):
    model = keras.Sequential([keras.Input((4, 4, 6)), layers.Conv2DTranspose(4, 2)])
    (layer,) = noisy_layers(rsr_tf.add_noise(model, kind))
    assert layer.alpha.shape == shape


def test_masked_weights_are_zero_in_the_forward_pass(stock):
    noisy = rsr_tf.add_noise(stock)
    x = inputs_for(stock)
    reference = keras.models.clone_model(stock)
    reference.set_weights(stock.get_weights())
    for kernel in prunable_kernels(noisy).values():
        mask = np.random.default_rng(1).uniform(size=kernel.mask.shape) < 0.5
        kernel.mask.assign(mask)
        variable = getattr(reference.layers[0], kernel.role.name)
        variable.assign(variable * mask)
        assert not np.any(np.array(kernel.layer.sample_kernel(kernel.role))[~mask])
    np.testing.assert_allclose(silence(noisy)(x), reference(x), atol=1e-5)
    np.testing.assert_allclose(rsr_tf.strip(noisy)(x), reference(x), atol=1e-5)


@pytest.mark.slow
def test_sgd_step_without_noise_is_that_of_the_stock_layer(stock):
    noisy = silence(rsr_tf.add_noise(stock))
    x = inputs_for(stock)
    target = np.random.default_rng(1).normal(size=(5, *stock.output_shape[1:]))
    before = [np.array(variable) for variable in stock.trainable_variables]
    for model in (stock, noisy):
        compiled(model, keras.optimizers.SGD(1.0), loss="mse").train_on_batch(x, target)
    updated = {variable.name: variable for variable in noisy.trainable_variables}
    for old, variable in zip(before, stock.trainable_variables, strict=True):
        assert np.abs(variable - old).max() > 1e-3
        np.testing.assert_allclose(updated[variable.name], variable, atol=1e-5)


@pytest.mark.slow
def test_layer_trains_saves_and_loads(stock, tmp_path):
    model = compiled(rsr_tf.add_noise(stock), optimizer="adam", loss="mse")
    rsr_tf.prune(model, sparsity=0.5)
    x = inputs_for(model)
    model.fit(x, np.ones((5, *model.output_shape[1:])), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for before, after in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(model(x), loaded(x))
    assert rsr_tf.sparsity(loaded) == pytest.approx(0.5, abs=0.02)


def test_lasso_comes_on_every_kernel(stock):
    noisy = rsr_tf.add_noise(stock, lasso=0.1)
    expected = 0.1 * sum(np.abs(kernel.kernel).sum() for kernel in prunable_kernels(noisy).values())
    assert float(tf.add_n(noisy.losses)) == pytest.approx(expected, rel=1e-5)


def test_kernel_constraints_still_hold_beside_the_mask():
    constraint = {"depthwise_constraint": "non_neg", "pointwise_constraint": "non_neg"}
    model = keras.Sequential([keras.Input((4, 4, 6)), layers.SeparableConv2D(4, 2, **constraint)])
    rsr_tf.prune(compiled(model, loss="mse"), sparsity=0.5)
    model.fit(inputs_for(model), -np.ones((5, 3, 3, 4)), verbose=0)
    for kernel in prunable_kernels(model).values():
        assert np.min(kernel.kernel) >= 0
        assert not np.any(np.array(kernel.kernel)[~np.array(kernel.mask)])


@pytest.mark.parametrize("make", [rsr_tf.NoisyConv2D, rsr_tf.NoisyConvBlock, rsr_tf.NoisySeparableConv2D])
def test_whole_numbers_are_taken_as_floats(make):
    """Converted to the type of uint8 pixels, every weight would be 0, 1 or 255."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), "uint8")
    layer = make(4, 3, noise="none")
    outputs = layer(pixels)
    assert np.std(outputs) > 1
    np.testing.assert_array_equal(outputs, layer(pixels.astype("float32")))
