"""Multiplications of one image, against numbers by hand."""

import keras
import pytest

import rsr_tf
from rsr_tf.export.macs import count_macs

layers = keras.layers


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(5, 3), 6 * 6 * 5 * 3 * 3 * 4),
        (layers.Conv2D(5, 3, strides=2, padding="same"), 4 * 4 * 5 * 3 * 3 * 4),
        (layers.Conv2D(5, 3, dilation_rate=2), 4 * 4 * 5 * 3 * 3 * 4),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), 6 * 6 * 8 * 3 * 3),
        (layers.SeparableConv2D(5, 3), 6 * 6 * 4 * 3 * 3 + 6 * 6 * 5 * 4),
        (layers.Conv2DTranspose(5, 3), 8 * 8 * 4 * 3 * 3 * 5),
        (layers.Dense(7), 8 * 8 * 4 * 7),
        (layers.TimeDistributed(layers.Dense(7)), 8 * 8 * 4 * 7),
        (layers.BatchNormalization(), 0),
        (layers.MaxPooling2D(), 0),
    ],
)
def test_layer_multiplies_each_weight_once_for_each_place(layer, expected):
    assert count_macs(keras.Sequential([keras.Input((8, 8, 4)), layer])) == expected


def test_zeros_count_as_any_other_weight():
    model = rsr_tf.models.small_cnn(width=0.25)
    before = count_macs(rsr_tf.strip(model))
    rsr_tf.prune(model, sparsity=0.9)
    assert count_macs(rsr_tf.strip(model)) == before > 0


def test_network_with_a_loop_has_no_number():
    model = keras.Sequential([keras.Input((5, 3)), layers.RNN(layers.SimpleRNNCell(2))])
    assert count_macs(model) is None
