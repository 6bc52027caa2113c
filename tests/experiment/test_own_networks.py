"""Networks of Keras and of the user in a run: built, identified, refused in one line."""

import hashlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from helpers import silence

from rsr_tf.cli import main
from rsr_tf.config import UserError, parse_config
from rsr_tf.experiment import builders
from rsr_tf.experiment.own_networks import identified

pytestmark = pytest.mark.integration

SHORT = """
data.name = "digits"
model.file = "{file}"
attack.steps = 1
training.epochs = 1
training.batch_size = 256
training.learning_rate = 1e-3
evaluation.steps = 1
evaluation.images = 20
evaluation.draws = 1
"""


def stock(units=10, activation="softmax", extra=()):
    layers = [keras.layers.Conv2D(3, 3, strides=2, activation="relu"), *extra, keras.layers.Flatten()]
    head = keras.layers.Dense(units, activation=activation, name="head")
    return keras.Sequential([keras.Input((8, 8, 1)), *layers, head])


def config_of(**model):
    return parse_config({"data": {"name": "digits"}, "model": model}, source="run.toml")


@pytest.fixture(scope="module")
def digits():
    return builders.load_data(config_of(name="small_cnn"))


def rsr(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def stopped_with_one_line(*arguments):
    result = rsr(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a network and a config that names it; the folder with both is the current one."""
    monkeypatch.chdir(tmp_path)
    stock().save("own.keras")
    (tmp_path / "run.toml").write_text(SHORT.format(file="own.keras"))
    return tmp_path


def test_hash_of_the_file_becomes_part_of_the_config(own):
    config = identified(config_of(file="own.keras"))
    assert config.model.sha256 == hashlib.sha256((own / "own.keras").read_bytes()).hexdigest()
    (own / "own.keras").unlink()
    assert identified(config) is config


@pytest.mark.parametrize("model", [{"name": "small_cnn"}, {"name": "keras:VGG16", "weights": "imagenet"}])
def test_network_without_a_file_has_no_hash(model):
    assert identified(config_of(**model)).model.sha256 is None


def test_network_of_a_file_keeps_its_weights_and_gets_logits(own, digits):
    network = silence(builders.build_network(config_of(file="own.keras", rescale=16), digits))
    stored = keras.models.load_model("own.keras")
    x = digits.test.first(5).pixels()
    np.testing.assert_allclose(tf.nn.softmax(network(x)), stored(16 * x), atol=1e-5)


def test_proximal_lasso_is_no_penalty_of_the_network(own, digits):
    assert builders.build_network(config_of(file="own.keras", lasso_step="proximal"), digits).losses == []
    assert len(builders.build_network(config_of(file="own.keras"), digits).losses) == 2


def test_built_in_network_gets_resized_images_and_noise_on_the_pixels_of_the_data(digits):
    network = builders.build_network(config_of(name="vgg16", width=0.125, resize=[32, 32], image_noise=0.25), digits)
    assert network.input_shape == (None, 8, 8, 1)
    assert [layer.name for layer in network.layers].count("image_noise") == 1
    assert network.get_layer("image_noise").output.shape == (None, 8, 8, 1)
    assert network.get_layer("normalize").output.shape == (None, 32, 32, 1)


def test_hidden_softmax_is_found_by_its_outputs(own, digits):
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, stock()(inputs)).save("own.keras")
    with pytest.raises(UserError, match=r"own.keras must return logits: .* Received: probabilities"):
        builders.build_network(config_of(file="own.keras"), digits)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "[model] cannot read own.keras: no such file"),
        (["model.file=~nobody-at-all/own.keras"], "names the home directory of an unknown user"),
        ([f"model.sha256={64 * '0'}"], "[model] cannot read own.keras: no such file"),
    ],
)
def test_missing_file_is_one_line(own, overrides, message):
    (own / "own.keras").unlink()
    options = [part for override in overrides for part in ("--set", override)]
    assert message in stopped_with_one_line("train", "run.toml", *options)
    assert not (own / "runs").exists()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"PK"), "cannot read the model own.keras: File is not a zip file"),
        (lambda path: stock(units=3).save(path), "output for each of the 10 classes of the data. Received: 1 inputs"),
        (lambda path: stock(activation="sigmoid").save(path), "must end with logits or a softmax. Received: a sigmoid"),
    ],
)
def test_file_of_no_such_network_is_one_line(own, write, message):
    write(own / "own.keras")
    assert message in stopped_with_one_line("train", "run.toml")
    assert not (own / "runs").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "keras:MobilNet",
            "keras:MobilNet is no network of keras.applications. Expected one such as MobileNet",
        ),
        ("keras:VGG16", "keras:VGG16 does not take these images (see `resize`): Input size must be at least 32x32"),
    ],
)
def test_network_of_keras_that_does_not_exist_or_fit_is_one_line(own, name, message):
    (own / "run.toml").write_text(SHORT.format(file="").replace("model.file", "model.name").replace('""', f'"{name}"'))
    assert message in stopped_with_one_line("train", "run.toml")
    assert not (own / "runs").exists()


@pytest.mark.slow
def test_run_goes_on_with_the_same_file_alone(own):
    assert rsr("train", "run.toml").exit_code == 0
    assert rsr("train", "run.toml").exit_code == 0
    stock().save("own.keras")
    line = stopped_with_one_line("train", "run.toml")
    assert "the run folder runs/run belongs to another config: `model.sha256` is " in line
    (own / "own.keras").unlink()
    for command in ("train", "prune"):
        result = rsr(command, "runs/run")
        assert result.exit_code == 0, result.output
    (own / "runs" / "run" / "model.keras").unlink()
    stock().save("own.keras")
    assert "is not the file that `model.sha256` names: it has changed" in stopped_with_one_line("train", "runs/run")


LAYER = """
import keras

@keras.saving.register_keras_serializable("garden")
class Double{number}(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["of the group", "of the command"])
def test_layers_of_the_user_are_imported_from_the_folder_of_the_command(own, before, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    number = int(before)
    name = f"garden{number}"
    (own / f"{name}.py").write_text(LAYER.format(number=number))
    scope = {}
    exec((own / f"{name}.py").read_text(), scope)
    stock(extra=[scope[f"Double{number}"]()]).save("own.keras")
    del keras.saving.get_custom_objects()[f"garden>Double{number}"]
    message = f"Could not locate class 'Double{number}'. If it is yours, import its module: rsr --import MODULE ..."
    assert message in stopped_with_one_line("train", "run.toml")
    option = ("--import", name)
    result = rsr(*option, "train", "run.toml") if before else rsr("train", "run.toml", *option)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", ["no_such_package", "no.such.package", "", ".relative"])
def test_module_that_cannot_be_imported_is_one_line(own, name, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    assert stopped_with_one_line("--import", name, "train", "run.toml").startswith(f"rsr: --import {name}: ")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("broken_garden", "1 / 0", "ZeroDivisionError: division by zero"),
        ("leaving_garden", "import sys; sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_error_in_a_module_of_the_user_is_one_line(own, monkeypatch, name, code, message):
    monkeypatch.setattr(sys, "path", sys.path[:])
    (own / f"{name}.py").write_text(code)
    line = stopped_with_one_line("train", "run.toml", "--import", name)
    assert line == f"rsr: --import {name}: {message}"
