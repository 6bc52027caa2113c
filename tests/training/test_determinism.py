import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.training.determinism import enable_determinism

SIZE = 10_000_000
"""Elements of a tensor, so that Grappler takes five of them for too many."""


@pytest.fixture
def deterministic(monkeypatch):
    monkeypatch.undo()  # what the tests have for all
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)  # it could not be undone
    enable_determinism()
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def test_large_tensors_are_added_in_their_order_and_not_as_they_arrive(deterministic):
    zeros = tf.constant(np.zeros(SIZE, "float32"))

    @tf.function
    def total():
        late = zeros
        for _ in range(40):
            late = tf.sin(late)
        large = 1e8 * tf.exp(zeros)
        return tf.add_n([late + 1, large, -large, tf.abs(zeros), tf.square(zeros)])[0]

    assert total() == 0  # (1 + 1e8) - 1e8 in float32; with the 1 added last it is 1
