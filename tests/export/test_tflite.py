"""TFLite files in the interpreter that runs them: float32, sparse, int8, and with noise that really is random."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import enclosing_network, quantized_network, tiny_network

import rsr_tf
from rsr_tf.export import tflite
from rsr_tf.export.tflite import TFLiteNetwork, export_tflite
from rsr_tf.layers.conversion import in_float32

INPUTS, OUTPUTS, SCALE = 40, 50, 0.5

ASK = f"""
import sys
import numpy as np
try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tensorflow.lite.python.interpreter import Interpreter
network = Interpreter(sys.argv[1])
network.resize_tensor_input(0, ({INPUTS}, {INPUTS}))
network.allocate_tensors()
network.set_tensor(network.get_input_details()[0]["index"], np.eye({INPUTS}, dtype="float32"))
network.invoke()
np.save(sys.argv[2], network.get_tensor(network.get_output_details()[0]["index"]))
"""
"""A process that knows neither this package nor, where there is LiteRT, TensorFlow."""


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    model = tiny_network(filters=32)
    rsr_tf.prune(model, sparsity=0.8)
    return model


@pytest.fixture(scope="module")
def files(network, images, tmp_path_factory):
    """The same network in every form."""
    folder = tmp_path_factory.mktemp("tflite")
    forms = {
        "float32": {},
        "sparse": {"sparse": True},
        "int8": {"calibration": images},
    }
    for name, options in forms.items():
        export_tflite(network, folder / name, **options)
    return {name: folder / name for name in forms}


def size(path):
    return path.stat().st_size


@pytest.mark.slow
def test_float32_equals_the_stripped_network(files, network, images):
    np.testing.assert_allclose(TFLiteNetwork(files["float32"])(images), rsr_tf.strip(network)(images), atol=1e-5)


@pytest.mark.slow
def test_any_number_of_images(files, images):
    ask = TFLiteNetwork(files["float32"])
    together = ask(images)
    for count in (1, 5, 16):
        np.testing.assert_allclose(ask(images[:count]), together[:count], atol=1e-5)


@pytest.mark.slow
def test_sparse_encoding_is_smaller_and_the_same_function(files, images):
    assert size(files["sparse"]) < 0.5 * size(files["float32"])
    np.testing.assert_array_equal(TFLiteNetwork(files["sparse"])(images), TFLiteNetwork(files["float32"])(images))


@pytest.mark.slow
def test_int8_is_near_the_stripped_network(files, network, images):
    """Eight bits tell 255 steps of the range: a few of them may be lost on the way."""
    logits = np.array(rsr_tf.strip(network)(images))
    answers = TFLiteNetwork(files["int8"])(images)
    assert answers.dtype == np.float32
    assert np.abs(answers - logits).max() < 0.05 * np.ptp(logits)


@pytest.mark.slow
def test_int8_computes_in_int8_between_pixels_and_logits(files):
    from tensorflow.lite.tools import flatbuffer_utils

    (graph,) = flatbuffer_utils.read_model(str(files["int8"])).subgraphs
    ends = {*graph.inputs, *graph.outputs}
    types = {flatbuffer_utils.type_to_name(t.type) for index, t in enumerate(graph.tensors) if index not in ends}
    assert types <= {"INT8", "INT32"}  # biases and shapes are int32


@pytest.mark.slow
def test_int8_of_a_whole_network_is_small(tmp_path):
    model = rsr_tf.models.resnet20(noise="none")
    images = np.random.default_rng(0).uniform(size=(4, 32, 32, 3)).astype("float32")
    export_tflite(model, tmp_path / "float32")
    export_tflite(model, tmp_path / "int8", calibration=images)
    assert size(tmp_path / "int8") < 0.28 * size(tmp_path / "float32")


@pytest.mark.slow
def test_names_of_inner_tensors_are_not_in_the_file(files):
    for path in files.values():
        assert b"noisy_conv" not in path.read_bytes()


@pytest.mark.slow
def test_trained_network_keeps_its_accuracy_in_int8(tmp_path):
    """The quickstart's network on handwritten digits, trained for a few seconds."""
    digits = rsr_tf.data.load("digits")
    model = rsr_tf.models.small_cnn(noise="none", width=0.5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    model.fit(digits.train.pixels(), digits.train.labels, batch_size=64, epochs=8, verbose=0)
    rsr_tf.prune(model, sparsity=0.3)
    export_tflite(model, tmp_path / "int8", calibration=digits.train.first(200).pixels())
    images, labels = digits.test.pixels(), digits.test.labels
    accuracy, quantized = (
        np.mean(np.argmax(function(images), axis=-1) == labels)
        for function in (model, TFLiteNetwork(tmp_path / "int8"))
    )
    assert accuracy > 0.9
    assert abs(quantized - accuracy) <= 0.01


def test_operation_without_an_int8_kernel_stays_float(images, tmp_path):
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.ops.sin(keras.layers.Conv2D(2, 3)(inputs)))
    export_tflite(model, tmp_path / "int8.tflite", calibration=images)
    answers = TFLiteNetwork(tmp_path / "int8.tflite")(images)
    np.testing.assert_allclose(answers, model(images), atol=0.05)
    assert np.abs(answers - model(images)).max() > 1e-6  # the convolution is int8


# Noise


@pytest.fixture(scope="module")
def noisy_dense():
    """A pruned dense layer: with unit vectors as images, its answers are the rows of the noisy kernel."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((INPUTS,)), rsr_tf.NoisyDense(OUTPUTS, use_bias=False, noise_scale=SCALE, seed=7)]
    )
    rsr_tf.prune(model, sparsity=0.5)
    return model


@pytest.fixture(scope="module")
def noisy_file(noisy_dense, tmp_path_factory):
    path = tmp_path_factory.mktemp("noisy") / "network.tflite"
    export_tflite(noisy_dense, path, noise=True)
    return path


def test_noise_is_that_of_equation_4(noisy_dense, noisy_file):
    """Mean and deviation of 400 draws; pruned weights stay exactly zero."""
    (layer,) = noisy_dense.layers
    kernel, mask = np.array(layer.kernel), np.array(layer.mask)
    ask = TFLiteNetwork(noisy_file)
    draws = np.stack([ask(np.eye(INPUTS)) for _ in range(400)])
    assert np.all(draws[:, ~mask] == 0)
    noise = (draws - kernel)[:, mask] / (SCALE * kernel.std())
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * noise.size)
    assert np.abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 5 / np.sqrt(mask.sum())


def test_noise_is_new_at_every_call_interpreter_and_process(noisy_file):
    path = noisy_file.with_name("answer.npy")
    subprocess.run([sys.executable, "-c", ASK, noisy_file, path], check=True, capture_output=True)
    answers = [np.load(path)]
    for _ in range(2):
        ask = TFLiteNetwork(noisy_file)
        answers += [ask(np.eye(INPUTS)), ask(np.eye(INPUTS))]
    for index, answer in enumerate(answers):
        assert all(np.abs(answer - other).max() > 1e-3 for other in answers[:index])


def test_every_layer_of_a_noisy_file_draws_its_own_noise(tmp_path):
    """Two equal layers side by side, their difference taken."""
    inputs = keras.Input((4,))
    layers = [rsr_tf.NoisyDense(4, kernel_initializer="ones", use_bias=False, noise="element") for _ in range(2)]
    outputs = keras.layers.Subtract()([layer(inputs) for layer in layers])
    for layer in layers:
        layer.kernel.assign(np.eye(4) * 3)
    export_tflite(keras.Model(inputs, outputs), tmp_path / "network.tflite", noise=True)
    assert np.abs(TFLiteNetwork(tmp_path / "network.tflite")(np.eye(4))).max() > 1e-3


@pytest.mark.slow
def test_noisy_blocks_convert(network, images, tmp_path):
    export_tflite(network, tmp_path / "network.tflite", noise=True)
    ask, stripped = TFLiteNetwork(tmp_path / "network.tflite"), np.array(rsr_tf.strip(network)(images))
    draws = np.stack([ask(images) for _ in range(50)])
    assert 0 < np.abs(draws.mean(axis=0) - stripped).mean() < 0.5 * np.abs(draws - stripped).mean()


def test_noise_inside_another_layer_is_drawn_anew_and_refused_without_noise(images, tmp_path):
    export_tflite(enclosing_network(), tmp_path / "network.tflite", noise=True)
    ask = TFLiteNetwork(tmp_path / "network.tflite")
    assert np.abs(ask(images) - ask(images)).max() > 1e-4
    with pytest.raises(ValueError, match=r"`model` has noise inside .* Received: noise in branches/noisy"):
        export_tflite(enclosing_network(), tmp_path / "network.tflite")


# Precision


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_other_precision_is_exported_as_float32(images, tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    model = tiny_network()
    copy = in_float32(rsr_tf.strip(model))
    assert {layer.compute_dtype for layer in copy.layers[1:]} == {"float32"}
    for old, new in zip(rsr_tf.strip(model).weights, copy.weights, strict=True):
        np.testing.assert_array_equal(np.array(old.value, np.float32), new.value)
    export_tflite(model, tmp_path / "network.tflite")
    np.testing.assert_allclose(TFLiteNetwork(tmp_path / "network.tflite")(images), copy(images), atol=1e-5)


# Mistakes


def test_several_inputs_are_refused(tmp_path):
    inputs = [keras.Input((2,)), keras.Input((2,))]
    model = keras.Model(inputs, keras.layers.Add()(inputs))
    with pytest.raises(ValueError, match="`model` must be a Keras model with one input and one output"):
        export_tflite(model, tmp_path / "network.tflite")


@pytest.mark.slow
def test_calibration_of_another_shape_is_refused(network, tmp_path):
    for shape in ((8, 8, 1), (4, 9, 8, 1), (0, 8, 8, 1)):
        with pytest.raises(ValueError, match="`calibration` must be images of shape"):
            export_tflite(network, tmp_path / "network.tflite", calibration=np.zeros(shape, "float32"))


@pytest.mark.slow
@pytest.mark.parametrize("option", ["noise", "sparse"])
def test_int8_with_noise_or_sparse_is_refused(network, images, tmp_path, option):
    with pytest.raises(ValueError, match=f"`calibration` must be None .* Received: .*{option}=True"):
        export_tflite(network, tmp_path / "network.tflite", calibration=images, **{option: True})


def test_operation_that_tflite_does_not_know_is_one_line(tmp_path):
    inputs = keras.Input((4, 4))
    model = keras.Model(inputs, keras.ops.det(inputs))
    with pytest.raises(ValueError, match="`model` cannot be converted to TFLite: ") as caught:
        export_tflite(model, tmp_path / "network.tflite")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_not_tflite_is_refused(tmp_path):
    (tmp_path / "network.tflite").write_bytes(b"not a network")
    with pytest.raises(ValueError, match=r"`path` must be a TFLite file. Received: '.*network.tflite'"):
        TFLiteNetwork(tmp_path / "network.tflite")
    with pytest.raises(FileNotFoundError):
        TFLiteNetwork(tmp_path / "none.tflite")


def test_file_with_several_inputs_is_refused_as_a_network(tmp_path):
    inputs = [keras.Input((2,)), keras.Input((2,))]
    model = keras.Model(inputs, keras.layers.Add()(inputs))
    (tmp_path / "two.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    with pytest.raises(ValueError, match=r"one input and one output. Received: .*two.tflite' with 2 inputs"):
        rsr_tf.tflite.TFLiteNetwork(tmp_path / "two.tflite")


@pytest.mark.slow
def test_images_of_another_shape_are_refused_by_the_network(files):
    with pytest.raises(ValueError, match=r"`pixels` must be .* Received: shape \(2, 8, 8, 3\)"):
        rsr_tf.tflite.TFLiteNetwork(files["float32"])(np.zeros((2, 8, 8, 3)))


@pytest.mark.slow
def test_calibration_of_no_numbers_is_refused(network, images, tmp_path):
    with pytest.raises(ValueError, match=r"`calibration` must be finite. Received: NaN or infinity"):
        rsr_tf.export_tflite(network, tmp_path / "a.tflite", calibration=images * np.nan)


@pytest.mark.slow
def test_tensorflows_own_interpreter_stands_in_for_litert(files, images, monkeypatch):
    expected = TFLiteNetwork(files["float32"])(images)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert tflite.interpreter_class() is tflite._tensorflow_interpreter
    np.testing.assert_allclose(TFLiteNetwork(files["float32"])(images), expected, atol=1e-5)


@pytest.mark.slow
def test_int8_file_that_cannot_run_is_refused_when_it_is_written(tmp_path):
    """Activations that are zero on all images get a scale that no interpreter takes."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.SeparableConv2D(16, 3)]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((16, 16, 3)), *layers])
    rsr_tf.prune(model, sparsity=0.8)
    calibration = np.random.default_rng(0).uniform(size=(32, 16, 16, 3))
    with pytest.raises(ValueError, match=r"cannot run as this TFLite file.*prune less, or export float32: failed"):
        export_tflite(model, tmp_path / "int8.tflite", calibration=calibration)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_quantized_network_keeps_its_values_without_what_only_its_gradient_needs(images, tmp_path):
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = quantized_network(bits=2, ceiling=1.0, noise="none")
    export_tflite(model, tmp_path / "file")
    assert np.median(np.abs(TFLiteNetwork(tmp_path / "file")(images) - model(images))) < 1e-5  # but near ties
    file = flatbuffer_utils.read_model(str(tmp_path / "file"))
    used = [file.operatorCodes[each.opcodeIndex].builtinCode for each in file.subgraphs[0].operators]
    assert used.count(schema.BuiltinOperator.ROUND) >= 4
    assert not {schema.BuiltinOperator.SELECT, schema.BuiltinOperator.SELECT_V2, schema.BuiltinOperator.SUB} & set(used)
