"""The block computes what a convolution, a normalization and an activation compute one after the other."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import silence, tiny_network


def separate_layers(block):
    """Build convolution, normalization and activation with the variables of a block."""
    inputs = keras.Input((8, 8, 1))
    layers = [
        keras.layers.Conv2D(4, 3, padding="same", use_bias=False),
        keras.layers.BatchNormalization(momentum=0.9, epsilon=1.001e-5),
        keras.layers.ReLU(),
    ]
    x = inputs
    for layer in layers:
        x = layer(x)
    layers[0].kernel.assign(block.convolution.kernel)
    layers[1].set_weights(block.normalization.get_weights())
    return keras.Model(inputs, x)


@pytest.mark.parametrize("training", [True, False])
def test_block_equals_separate_layers_gradients_included(images, training):
    model = silence(tiny_network())
    block = model.layers[1]
    reference = separate_layers(block)
    results = []
    for network in (block, reference):
        x = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = network(x, training=training)
            loss = tf.reduce_sum(outputs**2)
        variables = {variable.name: variable.value for variable in network.trainable_variables}
        results.append([outputs, *tape.gradient(loss, [x, *(variables[name] for name in ("kernel", "gamma", "beta"))])])
    for fast, slow in zip(*results, strict=True):
        np.testing.assert_allclose(fast, slow, atol=1e-4 * np.abs(slow).max())
    for fast, slow in zip(block.normalization.weights, reference.layers[2].weights, strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-5)


def test_frozen_block_keeps_its_statistics_and_uses_them(images):
    block = silence(tiny_network()).layers[1]
    block.trainable = False
    before = np.array(block.normalization.moving_mean)
    np.testing.assert_allclose(block(images, training=True), block(images, training=False), atol=1e-6)
    np.testing.assert_array_equal(block.normalization.moving_mean, before)


def flags(block):
    return block.trainable, block.convolution.trainable, block.normalization.trainable


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], (True, True, True)),
        (["block"], (False, False, False)),
        (["normalization"], (True, True, False)),
        (["convolution"], (True, False, True)),
        (["convolution", "normalization"], (True, False, False)),
    ],
)
def test_frozen_parts_stay_frozen_in_config_and_file(names, expected, tmp_path):
    model = tiny_network()
    block = model.layers[1]
    for name in names:
        (block if name == "block" else getattr(block, name)).trainable = False
    assert flags(type(block).from_config(block.get_config())) == expected
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert flags(loaded.layers[1]) == expected
    assert len(loaded.trainable_variables) == len(model.trainable_variables)


def test_config_of_a_block_that_is_trained_has_no_new_key():
    assert "frozen" not in tiny_network().layers[1].get_config()
