import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.evaluation import as_model_fn
from rsr_tf.evaluation.model_fn import in_batches, rescaled, with_gradient_path


def test_model_fn_runs_a_keras_model_in_inference_mode(images):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), keras.layers.Flatten()]
    )
    logits = as_model_fn(model)(images)
    np.testing.assert_allclose(logits, model(images, training=False), atol=1e-6)
    assert np.abs(logits - model(images, training=True)).max() > 0.1


def test_model_fn_does_not_update_batch_normalization(noisy_model, images):
    before = noisy_model.get_weights()
    as_model_fn(noisy_model)(images)
    for old, new in zip(before, noisy_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_model_fn_of_a_half_precision_network_returns_float32(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    assert model(images).dtype == tf.bfloat16
    assert as_model_fn(model)(images).dtype == tf.float32


def test_model_fn_takes_images_of_any_float_type(noisy_model, images):
    assert as_model_fn(noisy_model)(images.astype("float64")).shape == (16, 10)


def test_model_fn_of_a_noisy_network_draws_at_every_call(noisy_model, images):
    model_fn = as_model_fn(noisy_model)
    assert np.abs(model_fn(images) - model_fn(images)).max() > 1e-3


def test_model_fn_takes_any_callable_and_traces_it_at_most_twice(images):
    traces = []

    def serve(x):
        traces.append(x.shape)
        return tf.reduce_sum(x, (1, 2))

    model_fn = as_model_fn(serve)
    for n in (1, 2, 5, 16):
        np.testing.assert_allclose(model_fn(images[:n]), images[:n].sum((1, 2)), rtol=1e-5)
    assert len(traces) <= 2


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10])
def test_function_of_batches_sees_one_shape_and_its_padding_is_dropped(batch_size):
    images, labels, shapes = np.arange(7.0).reshape(7, 1, 1, 1), np.arange(7), []

    def function(x, y):
        shapes.append(tuple(x.shape))
        return {"image": x[:, 0, 0, 0], "label": 10 * y}

    found = in_batches(function, batch_size=batch_size)(images, labels)
    np.testing.assert_array_equal(found["image"], np.arange(7))
    np.testing.assert_array_equal(found["label"], 10 * np.arange(7))
    assert set(shapes) == {(batch_size, 1, 1, 1)}


def test_rescaled_network_has_its_logits_divided(images):
    logits = rescaled(lambda x: tf.reduce_sum(x, (1, 2)), 4.0)(images)
    np.testing.assert_allclose(logits, images.sum((1, 2)) / 4, rtol=1e-5)


def test_gradient_path_gives_a_rounding_network_a_gradient_of_zero(images):
    def rounding(x):
        return tf.reduce_sum(tf.cast(tf.cast(x, tf.int32), tf.float32), (1, 2))

    for model_fn, expected in ((rounding, None), (with_gradient_path(rounding), 0.0)):
        x = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = model_fn(x)
        gradient = tape.gradient(logits, x)
        assert gradient is expected if expected is None else np.all(gradient == expected)
        np.testing.assert_array_equal(logits, rounding(x))
