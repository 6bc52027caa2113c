import keras
import numpy as np
import pytest
from pruning_networks import network_of

import rsr_tf


def test_table_counts_exact_zeros_of_every_kernel():
    model = network_of(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 4.0, 0.1], [0.1, 0.1, 0.1]]))
    rsr_tf.prune(model, gamma=0.5)
    table = rsr_tf.sparsity_table(model)
    rows = {row.path: (row.shape, row.weights, row.zeros, row.sparsity) for row in table}
    assert rows == {"dense0": ((2, 2), 4, 2, 0.5), "dense1": ((2, 3), 6, 4, 4 / 6)}
    assert (table.weights, table.zeros, table.sparsity) == (10, 6, 0.6)
    assert str(table).splitlines()[-1].split() == ["total", "10", "6", "60.00%"]


def test_stripped_network_has_the_same_sparsity():
    model = rsr_tf.models.small_cnn()
    rsr_tf.prune(model, sparsity=0.7)
    assert rsr_tf.sparsity(rsr_tf.strip(model)) == rsr_tf.sparsity(model) > 0.69


def test_what_is_not_pruned_is_named(images):
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.LSTM(4, name="lstm")(keras.layers.Embedding(20, 4, name="words")(inputs))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(3)(x))
    model = keras.Model(inputs, x)
    assert [layer.name for layer in rsr_tf.unpruned_layers(model)] == ["words", "lstm"]
    rsr_tf.prune(model, sparsity=0.5)
    assert str(rsr_tf.sparsity_table(model)).splitlines()[-1] == "not prunable: words (Embedding), lstm (LSTM)"
    assert rsr_tf.sparsity_table(model).weights == 12


class Subclassed(keras.Model):
    """A network whose kernels nobody can find."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3, kernel_initializer="zeros")

    def call(self, x):
        return self.dense(x)


def test_model_whose_kernels_cannot_be_found_is_refused():
    model = Subclassed()
    model(np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"`model` must be a built functional or Sequential .* Received: Subclassed"):
        rsr_tf.sparsity(model)


def test_network_without_kernels_has_no_zeros():
    assert rsr_tf.sparsity(keras.Sequential([keras.Input((4,)), keras.layers.Softmax()])) == 0
