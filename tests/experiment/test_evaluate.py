"""The contents of `evaluation.json`: statistics of weights and attacked examples."""

import base64
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from digit_networks import LEAST_SQUARES
from helpers import silence, tiny_network

import rsr_tf
from rsr_tf.config import parse_config
from rsr_tf.errors import UserError
from rsr_tf.experiment import evaluate
from rsr_tf.experiment.evaluate import (
    GAMMAS,
    HISTOGRAM_EDGES,
    attack_examples,
    attack_network,
    evaluate_saved_model,
    evaluation_images,
    weight_statistics,
)
from rsr_tf.experiment.run_folder import drop_none

pytestmark = pytest.mark.integration

VALUES = {
    "data": {"name": "digits"},
    "model": {"name": "small_cnn"},
    "evaluation": {"epsilon": 0.2, "step_size": 0.1, "steps": 3, "images": 5},
}


@pytest.fixture
def config():
    return parse_config(VALUES, source="test")


def test_statistics_count_the_weights_that_the_network_computes_with(noisy_model):
    rsr_tf.prune(noisy_model, sparsity=0.5)
    found = weight_statistics(noisy_model)
    kernels = [kernel.mask * kernel.kernel for kernel in rsr_tf.layers.prunable_kernels(noisy_model).values()]
    weights = np.concatenate([np.ravel(kernel) for kernel in kernels])
    assert found["weights"] == len(weights)
    assert found["sparsity"] == np.mean(weights == 0)
    assert [layer["shape"] for layer in found["layers"]] == [list(kernel.shape) for kernel in kernels]
    assert [layer["zeros"] for layer in found["layers"]] == [np.sum(np.equal(kernel, 0)) for kernel in kernels]
    assert found["share_below"] == {
        "gamma": GAMMAS,
        "share": [pytest.approx(np.mean(np.abs(weights) < gamma)) for gamma in GAMMAS],
    }


def test_histogram_has_zero_in_the_middle_and_outliers_at_its_ends(noisy_model):
    kernels = list(rsr_tf.layers.prunable_kernels(noisy_model).values())
    for kernel in kernels:
        kernel.kernel.assign(tf.zeros_like(kernel.kernel))
    last = np.zeros(kernels[-1].kernel.shape, "float32")
    last.flat[:3] = (-7.0, 5.0, 0.301)
    kernels[-1].kernel.assign(last)
    found = weight_statistics(noisy_model)
    counts = found["histogram"]["counts"]
    assert found["histogram"]["edges"] == HISTOGRAM_EDGES.tolist()
    assert (counts[0], counts[30], counts[-1]) == (1, found["weights"] - 3, 2)
    assert sum(counts) == found["weights"]


@pytest.mark.parametrize("head", ["softmax", "saturated softmax"])
def test_saved_model_with_a_softmax_is_attacked_through_its_logarithms(head, config, tmp_path, caplog):
    """Far from saturation as its logits would be, although the softmax is 1 up to rounding; else with a warning."""
    inputs = keras.Input((8, 8, 1))
    dense = keras.layers.Dense(10, kernel_initializer=lambda shape, dtype: 30 * LEAST_SQUARES)
    logits = dense(keras.layers.Flatten()(inputs))
    softmax = keras.layers.Softmax()(logits if head == "softmax" else keras.layers.Rescaling(1e4)(logits))
    for name, outputs in (("logits", logits), ("softmax", softmax)):
        keras.Model(inputs, outputs).export(tmp_path / name, verbose=False)
    overrides = ("evaluation.images=100", "evaluation.draws=1", "evaluation.epsilon=0.05", "evaluation.step_size=0.02")
    config = parse_config(config.model_dump(), overrides, source="test")
    logits, softmax = (evaluate_saved_model(tmp_path / name, config)["serve"] for name in ("logits", "softmax"))
    assert softmax["clean"] == logits["clean"]
    assert "returns probabilities; attacks see their logarithms" in caplog.text
    if head == "softmax":
        assert softmax["pgd"]["mean"] == pytest.approx(logits["pgd"]["mean"], abs=0.02)
        assert "exactly zero" not in caplog.text
    else:
        assert softmax["pgd"]["mean"] > logits["pgd"]["mean"]  # no logarithm brings the gradient back
        assert "the gradient is exactly zero on" in caplog.text


@pytest.mark.parametrize("exported_by", ["Keras", "this package"])
def test_saved_model_in_half_precision_has_a_warning_that_its_keras_model_has_not(
    exported_by, config, tmp_path, caplog
):
    keras.config.set_dtype_policy("mixed_float16")
    inputs = keras.Input((8, 8, 1))
    dense = keras.layers.Dense(10, kernel_initializer=lambda shape, dtype: 60 * LEAST_SQUARES)
    model = keras.Model(
        inputs, keras.layers.Activation("linear", dtype="float32")(dense(keras.layers.Flatten()(inputs)))
    )
    keras.config.set_dtype_policy("float32")
    if exported_by == "Keras":
        model.export(tmp_path / "model", verbose=False)
    else:
        rsr_tf.export_saved_model(model, tmp_path / "model")
    overrides = ("evaluation.images=100", "evaluation.draws=1", "evaluation.epsilon=0.05", "evaluation.step_size=0.02")
    config = parse_config(config.model_dump(), overrides, source="test")
    attack_network(rsr_tf.as_model_fn(model), *evaluation_images(rsr_tf.data.load("digits"), config), config, "Keras")
    assert "exactly zero" not in caplog.text
    evaluate_saved_model(tmp_path / "model", config)
    assert "the gradient is exactly zero on" in caplog.text
    assert "Networks in half precision have such gradients" in caplog.text


def test_saved_model_whose_classes_have_other_numbers_is_refused(config, tmp_path):
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Dense(11)(keras.layers.Flatten()(inputs)))
    metadata = {"config": drop_none(config.model_dump()), "classes": ["none", *"0123456789"]}
    rsr_tf.export_saved_model(model, tmp_path / "model", metadata=metadata)
    with pytest.raises(UserError, match=r"numbers of its training, where 0 was 1\. Received: data in which it is 0"):
        evaluate_saved_model(tmp_path / "model")


@pytest.fixture
def exported_ensemble(config, tmp_path):
    """A SavedModel whose network draws noise on features and predicts by the mean of 16 draws."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(rsr_tf.layers.FeatureNoise(0.5)(inputs))
    config = config.changed(evaluation={"ensemble": 16})
    metadata = {"config": drop_none(config.model_dump()), "sparsity": 0.0}
    rsr_tf.export_saved_model(keras.Model(inputs, keras.layers.Dense(10)(x)), tmp_path / "model", metadata=metadata)
    return tmp_path / "model"


def spread(network, images):
    """The standard deviation of the probabilities over 20 calls, mean of all."""
    return np.std([tf.nn.softmax(network(images)) for _ in range(20)], axis=0).mean()


def is_mean_of_16_draws(network, saved_model, images):
    return spread(network, images) < 0.5 * spread(rsr_tf.as_model_fn(saved_model), images)


def test_saved_model_of_an_ensemble_is_attacked_as_its_mean(exported_ensemble, images, monkeypatch):
    monkeypatch.setattr(evaluate, "attack_network", lambda model_fn, *_: model_fn)
    found = evaluate_saved_model(exported_ensemble)
    assert list(found) == ["serve", "serve_deterministic"]
    assert is_mean_of_16_draws(found["serve"], exported_ensemble, images[:4])
    assert spread(found["serve_deterministic"], images[:4]) < 1e-6


def test_suite_judges_a_saved_model_of_an_ensemble_as_its_mean(exported_ensemble, images, tmp_path, monkeypatch):
    """Its samples are fewer by the draws of the ensemble, so that the network must draw as often."""
    seen = {}

    def run_suite(model_fn, images, labels, **options):
        seen.update(options, model_fn=model_fn)
        raise ValueError("seen")

    monkeypatch.setattr(rsr_tf.evaluation, "run_suite", run_suite)
    with pytest.raises(UserError, match="seen"):
        evaluate_saved_model(exported_ensemble, suite="quick", output=tmp_path / "out")
    assert seen["ensemble"] == 16
    assert seen["identity"].endswith(", mean of 16 draws")
    for network in (seen["model_fn"], seen["twins"]["mean of the gradients"]):
        assert is_mean_of_16_draws(network, exported_ensemble, images[:4])


def pixels_of(png):
    return tf.io.decode_png(base64.b64decode(png)).numpy()


def test_examples_are_the_images_and_their_attacked_versions(images, labels, config):
    model = silence(tiny_network())
    found = attack_examples({"pruned": model}, images[:4], labels[:4], config)
    assert found["labels"] == labels[:4].tolist()
    clean = np.array([pixels_of(png) for png in found["clean"]], "float32")
    adversarial = np.array([pixels_of(png) for png in found["pruned"]["adversarial"]], "float32")
    np.testing.assert_allclose(clean / 255, images[:4], atol=1 / 255)
    assert 0 < np.abs(adversarial - clean).max() <= 0.2 * 255 + 2  # each is rounded
    for pixels, name in ((clean, "clean_predictions"), (adversarial, "adversarial_predictions")):
        logits = model.predict(pixels / 255, verbose=0)
        assert found["pruned"][name] == np.argmax(logits, axis=-1).tolist()


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_examples_of_any_number_of_channels_are_images(channels, config):
    inputs = keras.Input((8, 8, channels))
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, channels)).astype("float32")
    found = attack_examples({"pruned": model}, images, np.arange(2), config)
    shown = 3 if channels > 2 else 1
    for pngs in (found["clean"], found["pruned"]["adversarial"]):
        assert pixels_of(pngs[0]).shape == (8, 8, shown)
    clean = np.array([pixels_of(png) for png in found["clean"]])
    np.testing.assert_allclose(clean / 255, images[..., :shown], atol=1 / 255)


def class_sorted():
    """A data set as it comes from folders: all test images of a class in a row."""
    digits = rsr_tf.data.load("digits")
    order = np.argsort(digits.test.labels, kind="stable")
    return dataclasses.replace(digits, test=rsr_tf.data.Split(digits.test.images[order], digits.test.labels[order]))


def config_of(images):
    return parse_config({**VALUES, "evaluation": {"images": images}}, source="test")


def test_every_class_is_judged_if_the_test_images_are_sorted_by_class():
    data_set = class_sorted()
    pixels, labels = evaluation_images(data_set, config_of(100))
    shares = np.bincount(data_set.test.labels) * 100 / len(data_set.test)
    np.testing.assert_allclose(np.bincount(labels), shares, atol=1)
    assert len(pixels) == 100


def test_zero_takes_all_test_images_in_their_order():
    data_set = class_sorted()
    pixels, labels = evaluation_images(data_set, config_of(0))
    np.testing.assert_array_equal(pixels, data_set.test.pixels())
    np.testing.assert_array_equal(labels, data_set.test.labels)


def test_results_of_first_images_are_continued_on_first_images():
    data_set = class_sorted()
    _, labels = evaluation_images(data_set, config_of(100), {"attack": {"num_images": 100}})
    np.testing.assert_array_equal(labels, data_set.test.labels[:100])
    _, labels = evaluation_images(data_set, config_of(100), {"attack": {"selection": "by class"}})
    assert len(set(labels.tolist())) == 10


def test_examples_are_of_many_classes_and_the_same_whatever_was_run_before(config):
    images, labels = evaluation_images(class_sorted(), config_of(100))
    model = tiny_network()
    first = attack_examples({"pruned": model}, images, labels, config)
    model(images[:3])  # draws noise, as scoring does before the examples in a run that was not stopped
    assert len(set(first["labels"])) >= 6
    assert attack_examples({"pruned": model}, images, labels, config) == first
