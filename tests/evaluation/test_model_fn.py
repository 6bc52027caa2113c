import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import silence, tiny_network

import rsr_tf
from rsr_tf.attacks import cross_entropy, input_gradient
from rsr_tf.evaluation import as_model_fn
from rsr_tf.evaluation.model_fn import in_batches, inference, rescaled, with_gradient_path
from rsr_tf.layers.conversion import in_float32


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


def half_precision_network(policy):
    """Build a stock network of layers that each compute in half precision."""
    keras.config.set_dtype_policy(policy)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(2.0)(inputs))
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Reshape((36, 4))(keras.layers.Activation("relu")(x))
    x = keras.layers.MultiHeadAttention(2, 2)(x, x)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "mixed_bfloat16", "bfloat16"])
def test_model_fn_of_a_half_precision_network_computes_in_float32(policy, images):
    model = half_precision_network(policy)
    logits = as_model_fn(model)(images)
    np.testing.assert_allclose(logits, in_float32(model)(images), atol=1e-6)
    assert model(images).dtype == policy.removeprefix("mixed_")  # as before
    assert np.abs(logits - tf.cast(model(images), tf.float32)).max() > 1e-4


def test_model_fn_of_a_half_precision_network_has_its_gradients(images):
    """In float16 a gradient below 6e-8 is zero."""
    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model_fn, gradients = as_model_fn(model), []
    for network in (model_fn, lambda x: tf.cast(model(x), tf.float32)):
        x = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = 1e-9 * tf.reduce_sum(network(x)[:, 0])
        gradients.append(tape.gradient(loss, x))
    assert np.all(gradients[0] != 0)
    assert np.all(gradients[1] == 0)


def test_model_fn_of_a_half_precision_network_follows_its_training_and_its_seeds(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = tiny_network()
    model_fn = as_model_fn(model)
    rsr_tf.layers.reseed_noise(model, 3)
    first = model_fn(images)
    assert np.abs(model_fn(images) - first).max() > 1e-3
    rsr_tf.layers.reseed_noise(model, 3)
    np.testing.assert_array_equal(model_fn(images), first)
    silence(model)
    before = model_fn(images)
    model.layers[-1].bias.assign_add(tf.ones(10))
    np.testing.assert_allclose(model_fn(images), before + 1, atol=1e-5)


def test_model_fn_of_a_subclassed_network_in_half_precision(images):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, inputs, training=False):
            return self.dense(keras.ops.reshape(inputs, (-1, 64)))

    keras.config.set_dtype_policy("mixed_bfloat16")
    model = Own()
    assert model(images).dtype == tf.bfloat16
    expected = images.reshape(-1, 64) @ np.array(model.dense.kernel)
    np.testing.assert_allclose(as_model_fn(model)(images), expected, atol=1e-5)


def test_inference_is_in_the_precision_of_the_network(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Dropout(0.5), keras.layers.Flatten()])
    np.testing.assert_array_equal(inference(model)(images), tf.cast(images.reshape(16, -1), tf.bfloat16))


@pytest.mark.parametrize(
    "arranged", [lambda x, y: ({"x": x}, {"y": y}), lambda x, y: ([x], [y]), lambda x, y: ({"x": [x]}, y)]
)
def test_model_fn_takes_structures_of_one(arranged, images):
    inputs = keras.Input((8, 8, 1), name="x")
    model_fn = as_model_fn(keras.Model(*arranged(inputs, keras.layers.Flatten()(inputs))))
    np.testing.assert_array_equal(model_fn(images), images.reshape(16, -1))


def test_model_fn_refuses_several_inputs_and_outputs(images):
    one, other = keras.Input((3,)), keras.Input((3,))
    with pytest.raises(ValueError, match=r"\A`model` must have one input. Received: 2 inputs\Z"):
        as_model_fn(keras.Model([one, other], one + other))
    with pytest.raises(ValueError, match=r"`model` must have one output. Received: 2 outputs"):
        as_model_fn(keras.Model(one, [one, 2 * one]))(tf.ones((2, 3)))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "string"])
def test_model_fn_refuses_inputs_without_gradients(dtype):
    inputs = keras.Input((3,), dtype=dtype)
    model = keras.Model(inputs, keras.layers.Identity(dtype=dtype)(inputs))
    with pytest.raises(ValueError, match=rf"floating-point inputs, .* Received: inputs of type {dtype}\. Rebuild"):
        as_model_fn(model)


def test_model_fn_casts_to_the_float_type_of_the_network():
    inputs = keras.Input((3,), dtype="float64")
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="float64", kernel_initializer="ones")(inputs))
    np.testing.assert_array_equal(as_model_fn(model)(np.ones((4, 3))), np.full((4, 2), 3, "float32"))


def exported(folder):
    """Export a network without noise, and one with noise beside it; return the second and its folder."""
    model = tiny_network()
    rsr_tf.export_saved_model(model, folder)
    return str(folder), rsr_tf.strip(model)


@pytest.mark.slow
def test_model_fn_keeps_a_saved_model_in_memory(tmp_path, images):
    folder, stripped = exported(tmp_path / "saved_model")
    for model in (folder, tmp_path / "saved_model", tf.saved_model.load(folder)):
        model_fn = as_model_fn(model, endpoint="serve_deterministic")
        del model
        np.testing.assert_allclose(model_fn(images), stripped(images), atol=1e-5)
    assert np.abs(as_model_fn(folder)(images) - stripped(images)).max() > 1e-3  # `serve`, with noise
    with pytest.raises(ValueError, match=r"`endpoint` must be one of \['serve', .*\]. Received: endpoint='predict'"):
        as_model_fn(folder, endpoint="predict")
    with pytest.raises(ValueError, match=r"must be the folder of the SavedModel.*deletes the variables"):
        as_model_fn(tf.saved_model.load(folder).serve)


@pytest.mark.slow
def test_model_fn_takes_a_saved_model_that_has_a_signature_alone(tmp_path, images):
    module = tf.Module()
    signature = tf.function(
        lambda x: {"logits": tf.reduce_sum(x, (1, 2))}, input_signature=[tf.TensorSpec((None, 8, 8, 1))]
    )
    tf.saved_model.save(module, tmp_path, signatures=signature)
    np.testing.assert_allclose(as_model_fn(tmp_path)(images)[:, 1:], images.sum((1, 2)), rtol=1e-5)


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
        np.testing.assert_allclose(model_fn(images[:n])[:, 1:], images[:n].sum((1, 2)), rtol=1e-5)
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


def test_gradient_path_leaves_a_pixel_that_is_no_number_to_its_own_image():
    images = np.full((3, 2, 2, 1), 0.5, "float32")
    images[1, 0, 0] = np.nan
    logits = with_gradient_path(lambda x: x[:, 1, :, 0])(tf.constant(images))
    np.testing.assert_array_equal(logits, np.full((3, 2), 0.5))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_gradient_path_gives_logits_of_any_float_type_in_float32(dtype, images):
    logits = with_gradient_path(lambda x: tf.cast(tf.reduce_sum(x, (1, 2)), dtype))(tf.constant(images))
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, images.sum((1, 2)), rtol=1e-2)


# What the outputs are


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_output_becomes_two_logits(activation):
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(1, activation=activation, kernel_initializer="ones")
    model_fn = as_model_fn(keras.Model(inputs, dense(inputs)))
    np.testing.assert_allclose(model_fn(tf.constant([[0.1, 0.2, 0.3], [1.0, 1.0, 1.0]])), [[0, 0.6], [0, 3]], rtol=1e-6)


@pytest.mark.parametrize("softmax", [keras.layers.Softmax(), keras.layers.Activation("softmax"), "softmax"])
def test_probabilities_that_are_1_up_to_rounding_have_a_gradient(softmax):
    inputs = keras.Input((2,))
    dense = keras.layers.Dense(2, kernel_initializer="identity", activation=softmax if softmax == "softmax" else None)
    outputs = dense(inputs) if softmax == "softmax" else softmax(dense(inputs))
    model_fn, x = as_model_fn(keras.Model(inputs, outputs)), tf.constant([[40.0, 0.0]])
    np.testing.assert_allclose(model_fn(x), x)
    gradient = input_gradient(model_fn, cross_entropy, x, tf.constant([0]))
    np.testing.assert_allclose(gradient[0, 1], np.exp(-40), rtol=1e-4)  # of the logit that is not near 1
