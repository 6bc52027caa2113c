import keras
import numpy as np
import tensorflow as tf

from rsr_tf.layers.graphs import call_layers, with_logits


def test_shared_layers_and_operations_are_called_as_before():
    inputs = keras.Input((6,))
    shared = keras.layers.Dense(6)
    model = keras.Model(inputs, keras.ops.relu(shared(shared(inputs))) + 1)
    new = keras.Input((6,))
    (outputs,) = call_layers(model, 2 * new)
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    np.testing.assert_allclose(keras.Model(new, outputs)(x), model(2 * x), rtol=1e-6)


def test_arguments_of_calls_are_kept():
    """A nested network that was called in training mode stays in it."""
    inner = keras.Sequential([keras.Input((6,)), keras.layers.BatchNormalization()])
    inputs = keras.Input((6,))
    model = keras.Model(inputs, inner(inputs, training=True))
    new = keras.Input((6,))
    moved = keras.Model(new, *call_layers(model, new))
    x = tf.random.normal((30, 6), mean=5)
    assert abs(float(tf.reduce_mean(moved(x)))) < 1e-3


def test_network_that_ends_with_logits_is_returned_itself():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    assert with_logits(model) is model


def test_frozen_last_layer_stays_frozen():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="softmax", trainable=False)])
    assert with_logits(model).trainable_weights == []
