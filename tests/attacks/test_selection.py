"""The choice between two batches."""

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks.selection import select


@pytest.mark.parametrize("shape", [(4, 1, 1, 1), (4, 5, 1, 1), (1, 5, 6, 3), (4, 5, 6, 3)])
def test_selection_is_that_of_numpy(shape):
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 4, 5, 6, 3)).astype("float32")
    condition = generator.random(shape) < 0.5
    assert np.array_equal(select(condition, first, second), np.where(condition, first, second))


def test_entry_that_is_not_taken_may_be_no_number():
    chosen = select(tf.constant([[True], [False]]), tf.constant([[1.0], [np.nan]]), tf.constant([[np.nan], [2.0]]))
    assert chosen.numpy().tolist() == [[1.0], [2.0]]


def test_gradient_flows_into_what_is_taken_only():
    x = tf.ones((2, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = select(tf.constant([[True], [False]]), 2 * x, tf.zeros_like(x))
    assert tape.gradient(y, x).numpy().tolist() == [[2.0] * 3, [0.0] * 3]


def test_shape_stays_known_when_the_number_of_images_is_not():
    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3))])
    def network(x):
        chosen = select(x[:, :1, :1, :1] > 0, x, 1 - x)
        assert chosen.shape.as_list() == [None, 4, 4, 3]
        return chosen

    assert network(tf.zeros((2, 4, 4, 3))).numpy().min() == 1
