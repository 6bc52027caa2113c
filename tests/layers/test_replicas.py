"""Random numbers and shares of replicas; on several devices they are tested in `training/test_devices.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import silence

import rsr_tf
from rsr_tf.layers import replicas


class Context:
    """A replica of two."""

    num_replicas_in_sync = 2

    def __init__(self, number):
        self.replica_id_in_sync_group = number


def test_one_device_draws_what_keras_draws():
    own, stock = replicas.ReplicaSeedGenerator(7), keras.random.SeedGenerator(7)
    for _ in range(2):
        np.testing.assert_array_equal(own.next(), stock.next())


def test_replicas_draw_apart_and_keep_one_state(monkeypatch):
    drawn, states = [], []
    for number in range(2):
        generator = replicas.ReplicaSeedGenerator(7)
        monkeypatch.setattr(replicas, "replica_context", lambda number=number: Context(number))
        drawn.append(keras.random.normal((100,), seed=generator).numpy())
        states.append(generator.state.numpy())
    np.testing.assert_array_equal(*states)
    assert abs(np.corrcoef(*drawn)[0, 1]) < 0.4  # four standard deviations, 4 / sqrt(100)


def test_noise_on_features_differs_between_replicas(monkeypatch):
    outputs = []
    for number in range(2):
        layer = rsr_tf.layers.FeatureNoise(1.0, seed=3)
        monkeypatch.setattr(replicas, "replica_context", lambda number=number: Context(number))
        outputs.append(layer(tf.zeros((4, 5))).numpy())
    assert np.all(outputs[0] != outputs[1])


def test_one_device_has_all_images():
    assert replicas.share_of_replica(tf.constant(3)) == 1.0


@pytest.mark.parametrize("training", [True, False])
def test_synchronized_block_is_the_same_on_one_device(noisy_model, images, training):
    block = silence(noisy_model).layers[1]
    twin = type(block).from_config({**block.get_config(), "synchronized": True})
    twin.build(images.shape)
    twin.set_weights(block.get_weights())
    np.testing.assert_array_equal(twin(images, training=training), block(images, training=training))


def test_config_names_synchronized_statistics_only_if_they_are():
    plain, synchronized = (rsr_tf.NoisyConvBlock(4, 3, synchronized=value) for value in (False, True))
    assert "synchronized" not in plain.get_config()
    assert synchronized.get_config()["synchronized"]
    assert type(plain).from_config(synchronized.get_config()).normalization.synchronized
