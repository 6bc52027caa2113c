"""`.keras` files that no run made."""

import functools
import json
import logging

import keras
import numpy as np
import pytest
from digit_networks import linear_network
from helpers import HEAD, noisy_verdict, tiny_network, whole_line

import rsr_tf
from rsr_tf.config import UserError
from rsr_tf.experiment.given import (
    evaluate_given,
    export_given,
    given_config,
    is_given,
    measure_given,
    prune_given,
)
from rsr_tf.experiment.load import open_finished
from rsr_tf.export import benchmark

pytestmark = pytest.mark.integration

QUICK = ("evaluation.images=40", "evaluation.draws=1", "evaluation.epsilon=0.05", "evaluation.step_size=0.02")


@pytest.fixture
def config():
    return given_config("digits", overrides=QUICK)


@pytest.fixture
def stock(tmp_path):
    """The file of a linear network of stock layers that knows the digits."""
    linear_network().save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


@pytest.fixture
def noisy(tmp_path):
    tiny_network().save(tmp_path / "noisy.keras")
    return tmp_path / "noisy.keras"


def test_config_has_the_data_and_the_overrides():
    found = given_config("npz", "my.npz", ["seed=3", "data.validation=0.2", "evaluation.epsilon=8/255"])
    assert (found.data.name, found.data.directory, found.data.validation) == ("npz", "my.npz", 0.2)
    assert (found.seed, found.evaluation.epsilon) == (3, 8 / 255)


def test_wrong_data_is_one_line():
    with pytest.raises(UserError, match=r"\A--data: `data\.name` should be .* Received: 'mnist'\Z"):
        given_config("mnist")


@pytest.mark.parametrize("override", ["training.epochs=3", "model.lasso=1", "epochs=2"])
def test_override_of_what_only_a_run_has_is_refused(override):
    message = f"--set {override}: a network that no run made has keys of seed, data, evaluation only"
    with pytest.raises(UserError, match=whole_line(message)):
        given_config("digits", overrides=[override])


def test_file_in_a_run_folder_is_not_given(tmp_path):
    assert is_given(tmp_path / "my.keras")
    assert not is_given(tmp_path)
    (tmp_path / "config.toml").touch()
    assert not is_given(tmp_path / "my.keras")


@pytest.mark.slow
def test_scores_are_those_of_the_network(stock, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = evaluate_given(stock, config)
    assert list(found) == ["noise_off"]
    images, labels = rsr_tf.data.load("digits").test.pixels(), rsr_tf.data.load("digits").test.labels
    predicted = np.argmax(keras.models.load_model(stock).predict(images, verbose=0), axis=-1)
    assert found["noise_off"]["clean"]["mean"] == pytest.approx(np.mean(predicted == labels), abs=0.1)
    assert found["noise_off"]["pgd"]["mean"] < found["noise_off"]["clean"]["mean"]
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def suite(monkeypatch):
    """Stands in for the suite, which takes long; the calls."""
    calls = []

    def run_suite(model_fn, images, labels, **options):
        calls.append(options)
        verdict = noisy_verdict(suite=options["suite"])
        return {key: value for key, value in verdict.items() if key not in {**HEAD, "versions": None}}

    monkeypatch.setattr("rsr_tf.evaluation.run_suite", run_suite)
    return calls


@pytest.mark.slow
def test_suite_leaves_verdict_and_page_in_a_folder_of_the_name_of_the_file(noisy, config, suite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verdict = evaluate_given("noisy.keras", config, "quick", 30)
    folder = tmp_path / "runs" / "noisy"
    stored = json.loads((folder / "verdict_quick_30.json").read_text())
    assert stored == {"schema": stored["schema"], **json.loads(json.dumps(verdict))}
    assert (verdict["network"], verdict["model"], verdict["scheme"], verdict["sparsity"]) == (
        *("given", "noisy", "Keras file"),
        0.0,
    )
    page = (folder / "report.html").read_text()
    assert "<title>Keras file: noisy on scikit-learn digits" in page
    assert "Verdict: the given network, quick suite" in page
    assert "small_cnn" not in page
    (call,) = suite
    assert {"reseed", "stripped_fn", "identity"} <= set(call)
    assert call["stripped_fn"] is not None
    evaluate_given("noisy.keras", config, "quick", 30)  # the folder is its own


@pytest.mark.slow
@pytest.mark.usefixtures("suite")
def test_folder_of_another_file_is_refused(noisy, stock, config, tmp_path):
    evaluate_given(noisy, config, "quick", output=tmp_path / "out")
    with pytest.raises(UserError, match=r"belongs to another config: `network\.file` is noisy\.keras there"):
        evaluate_given(stock, config, "quick", output=tmp_path / "out")


@pytest.mark.slow
def test_network_for_other_images_is_one_line(config, tmp_path):
    layers = [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(tmp_path / "wide.keras")
    with pytest.raises(UserError, match=r"wide\.keras does not take images of shape \(2, 8, 8, 1\)"):
        evaluate_given(tmp_path / "wide.keras", config)


@pytest.mark.slow
def test_network_with_too_few_outputs_is_one_line(config, tmp_path):
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    keras.Sequential(layers).save(tmp_path / "few.keras")
    with pytest.raises(UserError, match="must return logits of at least the 10 classes of the data"):
        evaluate_given(tmp_path / "few.keras", config)


@keras.saving.register_keras_serializable("test")
class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.dense = keras.layers.Dense(10)

    def call(self, x):
        return self.dense(keras.ops.reshape(x, (-1, 64)))


@pytest.mark.slow
def test_subclassed_network_is_one_line(config, tmp_path):
    model = Subclassed()
    model(np.zeros((1, 8, 8, 1)))
    model.save(tmp_path / "own.keras")
    with pytest.raises(UserError, match=r"\A`model` must be "):
        evaluate_given(tmp_path / "own.keras", config)


@pytest.mark.slow
def test_stock_network_is_pruned_into_a_new_file(stock, tmp_path):
    prune_given(stock, tmp_path / "pruned.keras", 0.75)
    assert rsr_tf.sparsity(keras.models.load_model(tmp_path / "pruned.keras")) == pytest.approx(0.75, abs=0.01)
    assert rsr_tf.sparsity(keras.models.load_model(stock)) < 0.2
    with pytest.raises(UserError, match=r"must be a new file that ends with \.keras. Received: .*pruned\.keras\Z"):
        prune_given(stock, tmp_path / "pruned.keras", 0.5)


@pytest.mark.slow
def test_network_is_exported_with_its_sparsity(noisy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_given(noisy)
    folder = tmp_path / "runs" / "noisy" / "saved_model"
    assert json.loads((folder / "rsr_tf.json").read_text())["sparsity"] == 0.0
    with pytest.raises(UserError, match=r"--output must be a new folder\. Received: runs/noisy/saved_model"):
        export_given(noisy)


@pytest.mark.slow
def test_artefacts_of_a_file_are_measured(stock, config, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(benchmark, "latencies", functools.partial(benchmark.latencies, seconds=0.05))
    with caplog.at_level(logging.INFO, "rsr_tf"):
        measure_given(stock, config, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "artefacts.json").read_text())
    assert list(content["networks"]) == ["given"]
    assert content["model"] == "mine"
    assert "given, " in caplog.text
    measure_given(stock, config, tmp_path / "out")  # reads it again


@pytest.mark.slow
def test_file_is_a_finished_network_for_zoo_and_transfer(stock, config):
    found = open_finished(stock, given=config)
    assert (found.name, found.folder.as_posix(), list(found.networks)) == ("mine", "runs/mine", ["noise_off"])
    assert found.config == config
    with pytest.raises(UserError, match="is neither a run folder"):
        open_finished(stock)
