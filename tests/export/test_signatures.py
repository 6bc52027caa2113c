"""Names and types of inputs and outputs, in SavedModels and TFLite files of networks that are not of this library."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import tiny_network

import rsr_tf
from rsr_tf.export.signatures import arranged, in_single_precision, input_specs, output_names

RANDOM = np.random.default_rng(0)
layers = keras.layers


def adapted(layer, data):
    layer.adapt(data)
    return layer


def stack(shape, dtype, *rest, name=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype, name=name), *rest])


def two_inputs_and_outputs(arrange):
    image, vector = keras.Input((4, 4, 1), name="image"), keras.Input((5,), name="a vector")
    x = layers.Concatenate()([layers.Flatten()(image), vector])
    return keras.Model(*arrange(image, vector, layers.Dense(2, name="first")(x), layers.Dense(3)(x)))


def lists(image, vector, first, second):
    return [image, vector], [first, second]


def dicts(image, vector, first, second):
    return {"image": image, "a vector": vector}, {"q": first, "p": second}


def words(layer, data):
    return stack((3,), "string", adapted(layer, data), layers.Embedding(8, 2), layers.Flatten(), layers.Dense(2))


def structures_of_one():
    inputs = keras.Input((6,), name="image")
    return keras.Model({"image": inputs}, {"classes": layers.Dense(2)(inputs)})


def in_float16():
    keras.config.set_dtype_policy("mixed_float16")
    return stack((6,), None, layers.Dense(2))


IMAGE, VECTOR = RANDOM.uniform(size=(3, 4, 4, 1)).astype("float32"), RANDOM.uniform(size=(3, 5)).astype("float32")
CASES = {
    "uint8": (
        lambda: stack((6,), "uint8", layers.Rescaling(1 / 255), layers.Dense(2, name="classes"), name="image"),
        RANDOM.integers(0, 256, (3, 6), "uint8"),
        ({"image": "uint8"}, ["classes"], [0, 255]),
    ),
    "int32": (
        lambda: stack((6,), "int32", layers.Embedding(9, 2), layers.Flatten(), layers.Dense(2)),
        RANDOM.integers(0, 9, (3, 6), "int32"),
        ({"inputs": "int32"}, ["output_0"], None),
    ),
    "float64": (
        lambda: stack((6,), "float64", layers.Dense(2, dtype="float64")),
        RANDOM.uniform(size=(3, 6)),
        ({"pixels": "float64"}, ["output_0"], [0.0, 1.0]),
    ),
    "bool": (
        lambda: stack((6,), "bool", layers.Lambda(lambda x: keras.ops.cast(x, "float32")), layers.Dense(2)),
        RANDOM.uniform(size=(3, 6)) < 0.5,
        ({"inputs": "bool"}, ["output_0"], None),
    ),
    "half precision": (
        in_float16,
        RANDOM.uniform(size=(3, 6)).astype("float32"),
        ({"pixels": "float32"}, ["output_0"], [0.0, 1.0]),
    ),
    "sequences": (
        lambda: stack((6, 2), None, layers.Conv1D(3, 3, padding="causal"), layers.Flatten(), layers.Dense(2)),
        RANDOM.uniform(size=(3, 6, 2)).astype("float32"),
        ({"pixels": "float32"}, ["output_0"], [0.0, 1.0]),
    ),
    "dicts of one": (
        structures_of_one,
        {"image": RANDOM.uniform(size=(3, 6)).astype("float32")},
        ({"image": "float32"}, ["classes"], [0.0, 1.0]),
    ),
    "lists of two": (
        lambda: two_inputs_and_outputs(lists),
        [IMAGE, VECTOR],
        ({"image": "float32", "a_vector": "float32"}, ["first", "output_1"], None),
    ),
    "dicts of two": (
        lambda: two_inputs_and_outputs(dicts),
        {"a vector": VECTOR, "image": IMAGE},
        ({"a_vector": "float32", "image": "float32"}, ["p", "q"], None),
    ),
    "words": (
        lambda: words(layers.StringLookup(), ["a", "b", "c"]),
        tf.constant([["a", "b", "unknown"]]),
        ({"inputs": "string"}, ["output_0"], None),
    ),
    "words by weight": (
        lambda: stack((), "string", adapted(layers.TextVectorization(output_mode="tf_idf"), ["a b"]), layers.Dense(2)),
        tf.constant(["a b", "b"]),
        ({"inputs": "string"}, ["output_0"], None),
    ),
    "numbers with a vocabulary": (
        lambda: stack((3,), "int64", adapted(layers.IntegerLookup(output_mode="multi_hot"), [5, 6]), layers.Dense(2)),
        np.array([[5, 6, 7]]),
        ({"inputs": "int64"}, ["output_0"], None),
    ),
}
TFLITE = ("uint8", "int32", "float64", "bool", "half precision", "sequences", "dicts of one")


@pytest.mark.parametrize("name", CASES)
def test_names_and_types_are_those_of_the_model(name):
    build, x, (inputs, outputs, _) = CASES[name]
    model = build()
    specs = input_specs(model)
    assert {key: spec.dtype.name for key, spec in specs.items()} == inputs
    assert [spec.shape[1:] for spec in specs.values()] == [tensor.shape[1:] for tensor in model.inputs]
    assert output_names(model) == outputs
    keras.tree.assert_same_structure(arranged(model, keras.tree.flatten(x)), x)


def test_layers_with_two_outputs_have_numbered_ones():
    inputs = keras.Input((4, 2))
    assert output_names(keras.Model(inputs, layers.LSTM(2, return_state=True, name="state")(inputs))) == [
        "output_0",
        "output_1",
        "output_2",
    ]


def test_half_precision_alone_becomes_single():
    types = [x.dtype.name for x in in_single_precision([tf.zeros(1, t) for t in ("bfloat16", "float64", "int32")])]
    assert types == ["float32", "float64", "int32"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_saved_model_takes_and_returns_what_the_model_does(name, tmp_path):
    build, x, (inputs, outputs, pixels) = CASES[name]
    model = build()
    expected = keras.tree.flatten(in_single_precision(model(x)))
    rsr_tf.export_saved_model(model, tmp_path / "saved_model")
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    named = dict(zip(inputs, map(tf.constant, keras.tree.flatten(x)), strict=True))
    for signature in ("serving_default", "serve_deterministic"):
        assert set(loaded.signatures[signature].structured_outputs) == set(outputs)
        found = loaded.signatures[signature](**named)
        for key, wanted in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(found[key], wanted, rtol=1e-5, atol=1e-6)
    found = keras.tree.flatten(loaded.serve(named if len(named) > 1 else next(iter(named.values()))))
    for one, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-6)
    assert rsr_tf.export.read_metadata(tmp_path / "saved_model").get("pixels") == pixels


@pytest.mark.slow
@pytest.mark.parametrize("name", TFLITE)
def test_tflite_file_has_a_signature_with_the_names_and_types_of_the_model(name, tmp_path):
    build, x, (inputs, outputs, _) = CASES[name]
    model = build()
    (expected,) = keras.tree.flatten(rsr_tf.convert.in_float32(model)(x))
    (pixels,), (key,) = keras.tree.flatten(x), inputs
    rsr_tf.export_tflite(model, tmp_path / "network.tflite")
    np.testing.assert_allclose(rsr_tf.export.TFLiteNetwork(tmp_path / "network.tflite")(pixels), expected, atol=1e-5)
    interpreter = rsr_tf.export.tflite.interpreter_class()(str(tmp_path / "network.tflite"))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": [key], "outputs": outputs}}
    found = interpreter.get_signature_runner()(**{key: pixels})
    np.testing.assert_allclose(found[outputs[0]], expected, atol=1e-5)
    assert np.dtype(interpreter.get_input_details()[0]["dtype"]).name == inputs[key]


@pytest.mark.slow
def test_int8_file_of_a_network_of_uint8_pixels_takes_them(tmp_path):
    build, x, _ = CASES["uint8"]
    model = build()
    rsr_tf.export_tflite(model, tmp_path / "int8.tflite", calibration=x.tolist())
    network = rsr_tf.export.TFLiteNetwork(tmp_path / "int8.tflite")
    np.testing.assert_allclose(network(x), model(x), atol=0.05)
    for wrong in (x / 255, x.astype("float32"), x.astype("int32") + 256):
        with pytest.raises(ValueError, match=r"`pixels` must be of type uint8, .* Received: (float|int)"):
            network(wrong)
    with pytest.raises(ValueError, match=r"`calibration` must be of type uint8, .* Received: float64"):
        rsr_tf.export_tflite(model, tmp_path / "int8.tflite", calibration=x / 255)


def test_networks_of_the_library_have_their_names(tmp_path, images):
    rsr_tf.export_saved_model(rsr_tf.models.small_cnn(width=0.125), tmp_path / "saved_model")
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    assert loaded.signatures["serving_default"](pixels=tf.constant(images))["logits"].shape == (16, 10)


def test_words_cannot_become_a_tflite_file(tmp_path):
    model = CASES["words"][0]()
    with pytest.raises(ValueError, match="`model` cannot be converted to TFLite"):
        rsr_tf.export_tflite(model, tmp_path / "words.tflite")
    assert list(tmp_path.iterdir()) == []


def test_existing_saved_model_is_replaced_on_request_alone(tmp_path, images):
    folder = tmp_path / "saved_model"
    rsr_tf.export_saved_model(tiny_network(noise="none"), folder)
    (folder / "assets" / "old.txt").write_text("old")
    model = tiny_network(noise="none")
    with pytest.raises(ValueError, match=r"`path` must not exist yet, or pass `overwrite=True`"):
        rsr_tf.export_saved_model(model, folder)
    assert (folder / "assets" / "old.txt").exists()
    rsr_tf.export_saved_model(model, folder, overwrite=True)
    assert not (folder / "assets" / "old.txt").exists()
    np.testing.assert_allclose(rsr_tf.as_model_fn(folder)(images), model(images), atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model"]


def test_folder_that_is_no_saved_model_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"`path` must be a SavedModel to be overwritten"):
        rsr_tf.export_saved_model(tiny_network(), tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_failed_export_leaves_the_old_one(tmp_path, images):
    folder = tmp_path / "saved_model"
    rsr_tf.export_saved_model(tiny_network(noise="none"), folder)
    with pytest.raises(TypeError):
        rsr_tf.export_saved_model(tiny_network(), folder, metadata={"not JSON": object()}, overwrite=True)
    assert rsr_tf.as_model_fn(folder)(images).shape == (16, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model"]
