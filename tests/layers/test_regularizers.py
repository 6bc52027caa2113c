import keras
import numpy as np
import pytest
import tensorflow as tf

import rsr_tf
from rsr_tf.layers import Orthogonality
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
@pytest.mark.parametrize("regularizer", [rsr_tf.GroupLasso(0.1, l1=0.01), Orthogonality(0.1, l1=0.01)])
def test_saved_network_keeps_it(layer, regularizer, images, tmp_path):
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


# Orthogonality


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]], 9.0),
        ([[1.0, 1.0], [0.0, 1.0]], 3.0),
        ([[0.6, -0.8], [0.8, 0.6]], 0.0),
        ([[0.6, -0.8], [0.8, 0.6], [0.0, 0.0]], 0.0),
        ([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0]], 0.0),
    ],
)
def test_penalty_of_a_matrix_by_hand(matrix, expected):
    assert value(Orthogonality(1.0), matrix) == pytest.approx(expected, abs=1e-6)
    assert value(Orthogonality(0.5), matrix) == pytest.approx(0.5 * expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (1, 1, 4, 9), (2, 6), (6, 2), (7, 7)])
def test_penalty_against_numpy_is_the_formula_less_what_no_kernel_can_avoid(shape):
    kernel = np.random.default_rng(0).normal(size=shape).astype("float32")
    matrix = kernel.reshape(-1, shape[-1])
    formula = np.linalg.norm(matrix.T @ matrix - np.eye(shape[-1])) ** 2
    assert value(Orthogonality(1.0), kernel) == pytest.approx(formula - max(0, matrix.shape[1] - len(matrix)), rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (1, 1, 4, 9)])
def test_gradient_is_that_of_the_formula(shape):
    kernel = tf.Variable(np.random.default_rng(0).normal(size=shape).astype("float32"))
    with tf.GradientTape() as tape:
        loss = Orthogonality(0.1)(kernel)
    matrix = np.array(kernel).reshape(-1, shape[-1])
    expected = 4 * 0.1 * matrix @ (matrix.T @ matrix - np.eye(shape[-1]))
    np.testing.assert_allclose(tape.gradient(loss, kernel), expected.reshape(shape), rtol=1e-4, atol=1e-4)


def test_gradient_by_hand():
    matrix = tf.Variable([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        loss = Orthogonality(1.0)(matrix)
    np.testing.assert_allclose(tape.gradient(loss, matrix), [[24.0, 0.0], [0.0, 0.0], [0.0, 0.0]], atol=1e-5)


def test_descent_on_the_penalty_brings_every_singular_value_to_one():
    kernel = tf.Variable(np.random.default_rng(0).normal(size=(3, 3, 1, 4)).astype("float32") / 3)
    for _ in range(100):
        with tf.GradientTape() as tape:
            loss = Orthogonality(1.0)(kernel)
        kernel.assign_sub(0.05 * tape.gradient(loss, kernel))
    np.testing.assert_allclose(np.linalg.svd(np.array(kernel).reshape(9, 4))[1], 1.0, atol=1e-3)


def test_orthogonality_of_a_transposed_convolution_and_with_a_lasso():
    kernel = np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype("float32")
    swapped = np.swapaxes(kernel, -1, -2)
    assert value(Orthogonality(0.1, axis=-2), swapped) == pytest.approx(value(Orthogonality(0.1), kernel))
    expected = value(Orthogonality(0.1), kernel) + 0.01 * np.abs(kernel).sum()
    assert value(Orthogonality(0.1, l1=0.01), kernel) == pytest.approx(expected, rel=1e-6)


def test_orthogonality_in_mixed_precision_is_computed_in_float32(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = rsr_tf.NoisyConvBlock(4, 3, kernel_regularizer=Orthogonality(0.1))
    layer(images)
    (loss,) = layer.losses
    assert loss.dtype == "float32"
    assert float(loss) == pytest.approx(value(Orthogonality(0.1), layer.convolution.kernel), rel=1e-6)


def test_orthogonality_config_round_trip():
    regularizer = Orthogonality(0.1, l1=0.01, axis=-2)
    again = keras.regularizers.deserialize(keras.regularizers.serialize(regularizer))
    assert isinstance(again, Orthogonality)
    assert again.get_config() == {"beta": 0.1, "l1": 0.01, "axis": -2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": -1}, "`beta` must not be negative. Received: beta=-1"),
        ({"beta": 1, "l1": -0.1}, "`l1` must not be negative. Received: l1=-0.1"),
        ({"beta": 1, "axis": 0}, "`axis` must be -1 or -2. Received: axis=0"),
    ],
)
def test_impossible_orthogonality_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Orthogonality(**options)


def test_soft_threshold_moves_weights_towards_zero_and_no_further():
    kernel = tf.constant([[0.5, -0.5], [0.2, -0.1], [0.0, 0.21]])
    wanted = [[0.3, -0.3], [0.0, 0.0], [0.0, 0.01]]
    np.testing.assert_allclose(soft_threshold(kernel, 0.2), wanted, atol=1e-7)
    np.testing.assert_array_equal(soft_threshold(kernel, 0.0), kernel)
