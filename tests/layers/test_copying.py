"""What every conversion of a network keeps: its structure, shared layers, frozen ones."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import enclosing_network, silence, tiny_network

import rsr_tf
from rsr_tf.layers import feature_noises, noisy_layers
from rsr_tf.layers.conversion import in_float32, with_fresh_noise


def network_around_an_rsr_model(nested=lambda model: model):
    """Build a network that contains a compiled `RSRModel`, directly or in another model."""
    inner = tiny_network()
    rsr = rsr_tf.RSRModel(inner.inputs, inner.outputs, attack=rsr_tf.attacks.PGD(), name="rsr")
    rsr.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, keras.layers.Softmax()(nested(rsr)(inputs)))


def classes_inside(model):
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return [type(layer) for layer in nested] + [cls for layer in nested for cls in classes_inside(layer)]


@pytest.mark.parametrize("change", [rsr_tf.strip, with_fresh_noise, in_float32])
@pytest.mark.parametrize(
    "nested",
    [
        lambda rsr: rsr,
        lambda rsr: keras.Sequential([keras.Input((8, 8, 1)), rsr]),
        lambda rsr: keras.Model(rsr.input, rsr(rsr.input)),
    ],
    ids=["direct", "sequential", "functional"],
)
def test_nested_model_of_a_class_of_its_own_becomes_a_plain_one(change, nested, images):
    model = network_around_an_rsr_model(nested)
    changed = change(model)
    assert rsr_tf.RSRModel in classes_inside(model)
    assert set(classes_inside(changed)) <= {keras.Sequential, type(keras.Model(model.inputs, model.outputs))}
    np.testing.assert_allclose(silence(changed)(images), silence(model)(images), atol=1e-5)


def test_file_of_a_stripped_network_names_nothing_of_this_package(tmp_path):
    rsr_tf.strip(network_around_an_rsr_model()).save(tmp_path / "stripped.keras")
    with zipfile.ZipFile(tmp_path / "stripped.keras") as file:
        assert b"rsr_tf" not in file.read("config.json")


def test_layer_that_a_nested_model_shares_with_the_outer_one_stays_shared():
    shared = rsr_tf.NoisyDense(4, name="shared")
    inputs = keras.Input((4,))
    nested = keras.Model(inputs, shared(inputs), name="nested")
    outer = keras.Input((4,))
    copy = rsr_tf.strip(keras.Model(outer, nested(nested(shared(outer)))))
    assert copy.get_layer("shared") is copy.get_layer("nested").get_layer("shared")
    assert len(copy.weights) == 2


@pytest.mark.parametrize("change", [rsr_tf.strip, in_float32, lambda model: rsr_tf.add_noise(model, kind="none")])
def test_operations_may_have_arguments_of_numpy(change, images):
    """Keras cannot describe them in a config, and so saves no such network, but trains it."""
    inputs = keras.Input((8, 8, 1))
    x = keras.ops.clip(keras.layers.Conv2D(4, 3)(inputs), np.float32(0), np.float32(0.1))
    x = keras.ops.reshape(x, (-1, np.prod(x.shape[1:])))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    np.testing.assert_allclose(change(model)(images), model(images), atol=1e-6)


def served(model):
    rsr_tf.export_saved_model(model, "served")
    loaded = tf.saved_model.load("served")
    return lambda inputs: loaded.serve(tf.constant(inputs))


def in_tflite(model):
    rsr_tf.export_tflite(model, "network.tflite")
    return rsr_tf.export.TFLiteNetwork("network.tflite")


@pytest.mark.parametrize("change", [rsr_tf.strip, in_float32, rsr_tf.rebuild, served, in_tflite])
def test_variables_of_tensorflow_keep_their_values(change, tmp_path, monkeypatch):
    class Scale(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.scale, self.others = tf.Variable(1.0), [tf.Variable(1.0)]

        def call(self, inputs):
            return inputs * self.scale * self.others[0]

    monkeypatch.chdir(tmp_path)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), Scale(name="scale")])
    for variable, value in ((model.layers[1].scale, 2.0), (model.layers[1].others[0], 3.0)):
        variable.assign(value)
    inputs = np.ones((2, 4), "float32")
    expected = 6 * (inputs @ np.array(model.layers[0].kernel))
    np.testing.assert_allclose(change(model)(inputs), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="`scale` must have its state in weights of Keras"):
        rsr_tf.save_compact(model, "network.rsrz")


def test_layer_whose_variables_of_tensorflow_differ_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="own")])
    model.layers[0].later = tf.Variable(1.0)
    with pytest.raises(
        ValueError, match=r"`own` must have the same TensorFlow variables .* Received: 1 variables, and 0"
    ):
        rsr_tf.layers.conversion.in_float32(model)


def test_nested_model_keeps_the_structure_of_its_inputs_and_outputs():
    inputs = {"x": keras.Input((4,), name="x")}
    nested = keras.Model(inputs, [keras.layers.Dense(3)(inputs["x"])], name="nested")
    outer = keras.Input((4,), name="outer")
    model = keras.Model(outer, nested({"x": outer})[0])
    rows = np.ones((2, 4), "float32")
    np.testing.assert_allclose(rsr_tf.strip(model)(rows), model(rows))


def test_block_inside_a_sequential_model_is_stripped_whole(images):
    inner = keras.Sequential([keras.Input((8, 8, 1)), rsr_tf.NoisyConvBlock(4, 3, activation="relu")])
    inputs = keras.Input((8, 8, 1))
    model = silence(keras.Model(inputs, keras.layers.Flatten()(inner(inputs))))
    np.testing.assert_allclose(rsr_tf.strip(model)(images), model(images), atol=1e-5)


@pytest.mark.parametrize("change", [rsr_tf.add_noise, rsr_tf.strip])
def test_structure_of_inputs_and_outputs_is_kept_even_with_one_tensor(change):
    inputs = keras.Input((4,), name="x")
    model = keras.Model({"x": inputs}, {"logits": keras.layers.Dense(3)(inputs)})
    assert change(model)({"x": np.ones((2, 4))})["logits"].shape == (2, 3)


def frozen_network():
    """Build a stock network with a frozen layer, a frozen nested model and a frozen part of a composite layer."""
    inputs = keras.Input((8, 6))
    nested = keras.Sequential([keras.Input((8, 6)), keras.layers.Conv1D(6, 3, padding="same")], name="nested")
    attention = keras.layers.MultiHeadAttention(2, 3, name="attention")
    x = nested(keras.layers.Dense(6, name="first")(inputs))
    x = keras.layers.BatchNormalization(name="normalization")(attention(x, x))
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(keras.layers.Flatten()(x)))
    for layer in (model.get_layer("first"), nested, attention.output_dense):
        layer.trainable = False
    return model


@pytest.mark.parametrize("change", [rsr_tf.strip, lambda model: rsr_tf.add_noise(model, kind="none"), in_float32])
def test_frozen_layers_stay_frozen_nested_ones_included(change):
    model = frozen_network()
    names = [variable.path for variable in model.trainable_variables]
    assert len(names) == 6 + 2 + 2  # of attention without its last projection, normalization and the last layer
    assert [variable.path for variable in change(model).trainable_variables] == names


def test_frozen_parts_of_a_block_stay_frozen_with_noise_and_without(noisy_model):
    noisy_model.layers[1].normalization.trainable = False
    stripped = rsr_tf.strip(noisy_model)
    assert [layer.trainable for layer in stripped.layers[1:4]] == [True, False, True]
    quiet = tiny_network(noise="none")
    quiet.layers[1].normalization.trainable = False
    noisy = rsr_tf.add_noise(quiet).layers[1]
    assert (noisy.convolution.trainable, noisy.normalization.trainable) == (True, False)


def test_fresh_noise_inside_another_layer_is_fresh_in_a_copy_too():
    copy = in_float32(with_fresh_noise(enclosing_network(std=0.1)))
    assert [layer.seed for layer in noisy_layers(copy) + feature_noises(copy)] == ["fresh", "fresh"]
