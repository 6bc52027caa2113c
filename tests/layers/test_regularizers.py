import keras
import numpy as np
import pytest
import tensorflow as tf

import rsr_tf
from rsr_tf.layers.regularizers import soft_threshold

KERNEL = np.array([[3.0, 0.0, 1.0], [4.0, 0.0, -1.0]], "float32")  # filters in the last axis: norms 5, 0, sqrt(2)


def value(regularizer, kernel):
    return float(regularizer(tf.constant(kernel)))


def test_value_by_hand():
    assert value(rsr_tf.GroupLasso(0.1), KERNEL) == pytest.approx(0.1 * np.sqrt(2) * (5 + np.sqrt(2)))


def test_value_of_a_convolution_against_numpy():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype("float32")
    expected = 0.01 * np.sqrt(3 * 3 * 4) * np.linalg.norm(kernel.reshape(-1, 5), axis=0).sum()
    assert value(rsr_tf.GroupLasso(0.01), kernel) == pytest.approx(expected, rel=1e-5)


def test_transposed_convolution_has_its_filters_on_the_axis_before():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype("float32")
    swapped = np.swapaxes(kernel, -1, -2)
    assert value(rsr_tf.GroupLasso(0.01, axis=-2), swapped) == pytest.approx(value(rsr_tf.GroupLasso(0.01), kernel))


def test_lasso_of_single_weights_comes_on_top():
    assert value(rsr_tf.GroupLasso(0.1, l1=0.01), KERNEL) == pytest.approx(value(rsr_tf.GroupLasso(0.1), KERNEL) + 0.09)


def test_gradient_is_the_direction_of_a_filter_and_zero_at_zero():
    kernel = tf.Variable(KERNEL)
    with tf.GradientTape() as tape:
        loss = rsr_tf.GroupLasso(0.1)(kernel)
    expected = 0.1 * np.sqrt(2) * np.array([[0.6, 0, np.sqrt(0.5)], [0.8, 0, -np.sqrt(0.5)]])
    np.testing.assert_allclose(tape.gradient(loss, kernel), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        lambda regularizer: keras.layers.Conv2D(4, 3, kernel_regularizer=regularizer),
        lambda regularizer: rsr_tf.NoisyConv2D(4, 3, kernel_regularizer=regularizer),
        lambda regularizer: rsr_tf.NoisyConvBlock(4, 3, kernel_regularizer=regularizer),
    ],
)
def test_saved_network_keeps_it(layer, images, tmp_path):
    regularizer = rsr_tf.GroupLasso(0.1, l1=0.01)
    model = keras.Sequential([keras.Input((8, 8, 1)), layer(regularizer)])
    model(images)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded(images)
    (loss,), (loaded_loss,) = model.losses, loaded.losses
    assert float(loss) == pytest.approx(value(regularizer, model.trainable_weights[0])) == float(loaded_loss)


def test_config_round_trip():
    regularizer = rsr_tf.GroupLasso(0.1, l1=0.01, axis=-2)
    again = keras.regularizers.deserialize(keras.regularizers.serialize(regularizer))
    assert isinstance(again, rsr_tf.GroupLasso)
    assert again.get_config() == {"group": 0.1, "l1": 0.01, "axis": -2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": -1}, "`group` must not be negative. Received: group=-1"),
        ({"group": float("nan")}, "`group` must not be negative. Received: group=nan"),
        ({"l1": -0.1}, "`l1` must not be negative. Received: l1=-0.1"),
        ({"axis": 0}, "`axis` must be -1 or -2. Received: axis=0"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rsr_tf.GroupLasso(**options)


def test_soft_threshold_moves_weights_towards_zero_and_no_further():
    kernel = tf.constant([[0.5, -0.5], [0.2, -0.1], [0.0, 0.21]])
    wanted = [[0.3, -0.3], [0.0, 0.0], [0.0, 0.01]]
    np.testing.assert_allclose(soft_threshold(kernel, 0.2), wanted, atol=1e-7)
    np.testing.assert_array_equal(soft_threshold(kernel, 0.0), kernel)
