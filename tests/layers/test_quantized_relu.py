"""The quantizer by hand-made numbers, and networks that have it: saved, converted, trained and attacked."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, quantized_network, silence

import rsr_tf
from rsr_tf.attacks.losses import cross_entropy
from rsr_tf.attacks.pgd import input_gradient
from rsr_tf.layers import QuantizedReLU, float_twin, wide_twin
from rsr_tf.layers.conversion import with_fresh_noise

SWEEP = np.linspace(-1, 7, 4001, dtype="float32")


def quantizers(model):
    """The quantizer of every layer that has one, by the name of the layer."""
    layers = {layer.name: layer for layer in model._flatten_layers(include_self=False)}
    found = {name: getattr(layer, "activation", None) for name, layer in layers.items()}
    return {name: value.get_config() for name, value in found.items() if isinstance(value, QuantizedReLU)}


# The function


@pytest.mark.parametrize(
    ("bits", "inputs", "expected"),
    [
        (4, [-1.0, 0.1, 0.3, 2.9, 5.9, 9.0], [0.0, 0.0, 0.4, 2.8, 6.0, 6.0]),
        (2, [-1.0, 0.9, 1.1, 2.9, 4.9, 5.1, 9.0], [0.0, 0.0, 2.0, 2.0, 4.0, 6.0, 6.0]),
        (1, [-1.0, 2.9, 3.1, 9.0], [0.0, 0.0, 6.0, 6.0]),
        (None, [-1.0, 2.9, 9.0], [0.0, 2.9, 6.0]),
    ],
)
def test_values_by_hand(bits, inputs, expected):
    np.testing.assert_allclose(QuantizedReLU(bits)(tf.constant(inputs)), expected, atol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("ceiling", [6.0, 1.0])
def test_number_of_values_is_a_power_of_two(bits, ceiling):
    outputs = QuantizedReLU(bits, ceiling=ceiling)(tf.constant(SWEEP))
    expected = np.arange(2**bits) * ceiling / (2**bits - 1)
    np.testing.assert_allclose(np.unique(outputs), expected, rtol=1e-6)


def test_many_bits_are_relu6():
    np.testing.assert_allclose(QuantizedReLU(24)(tf.constant(SWEEP)), tf.nn.relu6(SWEEP), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 0, 1, 1, 0, 0]),
        ({"margin": 0.5}, [0, 1, 1, 1, 1, 0]),
        ({"margin": 1e3}, [1, 1, 1, 1, 1, 1]),
        ({"ceiling": 3.0}, [0, 0, 1, 0, 0, 0]),
    ],
)
@pytest.mark.parametrize("bits", [1, 4, None])
def test_gradient_is_one_inside_the_window_and_zero_outside(bits, options, expected):
    x = tf.Variable([-1.0, 0.0, 0.5, 3.1, 6.0, 7.0])
    with tf.GradientTape() as tape:
        y = 3.0 * QuantizedReLU(bits, **options)(x)
    np.testing.assert_allclose(tape.gradient(y, x), 3.0 * np.array(expected), rtol=1e-6)


@pytest.mark.parametrize("margin", [0.7, 1e3])
def test_margin_changes_no_value(margin):
    np.testing.assert_array_equal(QuantizedReLU(3, margin=margin)(SWEEP), QuantizedReLU(3)(SWEEP))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_rounded_after_the_quantizer(dtype):
    """In half precision itself, the step and the quotient would be rounded, and values would go astray."""
    inputs = tf.cast(SWEEP, dtype)
    outputs = QuantizedReLU(5)(inputs)
    assert outputs.dtype == dtype
    exact = QuantizedReLU(5)(tf.cast(inputs, tf.float32))
    np.testing.assert_array_equal(outputs, tf.cast(exact, dtype))
    assert len(np.unique(tf.cast(outputs, tf.float32))) == 32


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_many_bits_are_relu6_in_a_layer_of_mixed_precision(policy):
    layers = [keras.layers.Activation(activation, dtype=policy) for activation in (QuantizedReLU(24), "relu6")]
    quantized, expected = (layer(tf.constant(SWEEP)) for layer in layers)
    assert quantized.dtype == expected.dtype == policy.removeprefix("mixed_")
    np.testing.assert_array_equal(quantized, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 0}, "`bits` must be an integer from 1 to 24, or None. Received: bits=0"),
        ({"bits": 25}, "`bits` must be an integer from 1 to 24, or None. Received: bits=25"),
        ({"bits": 2.5}, "`bits` must be an integer from 1 to 24, or None. Received: bits=2.5"),
        ({"bits": True}, "`bits` must be an integer from 1 to 24, or None. Received: bits=True"),
        ({"bits": 4, "ceiling": 0}, "`ceiling` must be positive and finite. Received: ceiling=0"),
        ({"bits": 4, "ceiling": float("inf")}, "`ceiling` must be positive and finite. Received: ceiling=inf"),
        ({"bits": 4, "margin": -1}, "`margin` must be finite and not negative. Received: margin=-1"),
        ({"bits": 4, "margin": float("inf")}, "`margin` must be finite and not negative. Received: margin=inf"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        QuantizedReLU(**options)


# Networks that have it


@pytest.mark.parametrize("bits", [3, None])
def test_config_round_trip_as_an_activation_of_keras(bits):
    config = keras.activations.serialize(QuantizedReLU(bits, ceiling=2.0, margin=0.5))
    again = keras.activations.get(config)
    assert isinstance(again, QuantizedReLU)
    assert again.get_config() == {"bits": bits, "ceiling": 2.0, "margin": 0.5}


@pytest.mark.slow
def test_saved_network_keeps_it(images, tmp_path):
    model = silence(quantized_network(bits=3, ceiling=2.0))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert quantizers(loaded) == quantizers(model)
    assert len(quantizers(model)) == 4
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.slow
@pytest.mark.parametrize(
    "convert",
    [
        rsr_tf.strip,
        lambda model: rsr_tf.strip(model, fold=True),
        with_fresh_noise,
        lambda model: rsr_tf.add_noise(rsr_tf.strip(model)),
        lambda model: rsr_tf.RSRModel(model.inputs, model.outputs),
    ],
)
def test_converted_network_keeps_it(convert):
    model = quantized_network(bits=3, ceiling=2.0)
    kept = list(quantizers(convert(model)).values())
    assert kept == [{"bits": 3, "ceiling": 2.0, "margin": 0.0}] * 4


@pytest.mark.slow
def test_compact_archive_keeps_it(images, tmp_path):
    model = silence(quantized_network())
    rsr_tf.save_compact(model, tmp_path / "archive")
    loaded = rsr_tf.load_compact(tmp_path / "archive")
    assert quantizers(loaded) == quantizers(model)
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.slow
def test_network_is_trained_on_attacks_through_the_quantizer(images, labels):
    model = quantized_network()
    attack = rsr_tf.attacks.PGD(epsilon=0.2, step_size=0.1, steps=2)
    model = compiled(rsr_tf.RSRModel(model.inputs, model.outputs, attack=attack))
    before = [variable.numpy() for variable in model.trainable_variables]
    history = model.fit(images, labels, batch_size=6, epochs=1, verbose=0)
    assert model.optimizer.iterations == 3
    assert np.isfinite(history.history["loss"][0])
    changed = [np.any(old != new) for old, new in zip(before, model.trainable_variables, strict=True)]
    assert all(changed)


@pytest.mark.slow
def test_gradient_of_an_attack_passes_the_quantizer(images, labels):
    model_fn = rsr_tf.as_model_fn(silence(quantized_network(bits=2, ceiling=1.0)))
    gradient = np.array(input_gradient(model_fn, cross_entropy, tf.constant(images), tf.constant(labels)))
    assert np.abs(gradient).max(axis=(1, 2, 3)).min() > 0


# Twins


@pytest.mark.slow
def test_float_twin_is_the_network_with_clipped_activations(images):
    model = silence(quantized_network(bits=1, ceiling=0.5))
    clipped = silence(quantized_network(bits=None, ceiling=0.5))
    clipped.set_weights(model.get_weights())
    twin = float_twin(model)
    np.testing.assert_allclose(twin(images), clipped(images), atol=1e-6)
    assert np.abs(twin(images) - model(images)).max() > 1e-2
    assert [each["bits"] for each in quantizers(model).values()] == [1] * 4


@pytest.mark.slow
def test_wide_twin_has_the_outputs_of_the_network_and_another_gradient(images, labels):
    model = silence(quantized_network(bits=2, ceiling=0.3))
    twin = wide_twin(model, margin=1.0)
    np.testing.assert_array_equal(twin(images), model(images))
    x, y = tf.constant(images), tf.constant(labels)
    narrow, wide = (input_gradient(rsr_tf.as_model_fn(each), cross_entropy, x, y) for each in (model, twin))
    assert np.abs(narrow - wide).max() > 0
    assert [each["margin"] for each in quantizers(model).values()] == [0.0] * 4


@pytest.mark.parametrize("twin", [float_twin, wide_twin])
def test_network_without_a_quantizer_has_no_twin(twin, noisy_model):
    with pytest.raises(ValueError, match="`model` must have layers with the activation `QuantizedReLU`"):
        twin(noisy_model)
