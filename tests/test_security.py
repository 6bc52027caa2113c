"""What SECURITY.md and the help of the commands say about files from strangers and about the served noise is so."""

import re
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from click.testing import CliRunner

from rsr_tf.cli import main
from rsr_tf.errors import UserError
from rsr_tf.experiment.load import load_network, open_saved_model
from rsr_tf.export.saved_model import NOISE_POLICY
from rsr_tf.layers import noise

REPOSITORY = Path(__file__).resolve().parent.parent


def text_of(name):
    return " ".join((REPOSITORY / name).read_text().split())


@pytest.mark.parametrize("command", ["evaluate", "transfer", "zoo"])
def test_help_of_a_command_that_runs_saved_models_says_to_trust_them(command):
    text = CliRunner().invoke(main, [command, "--help"]).output
    assert re.search(r"SavedModels? that you trust", " ".join(text.split()))


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/cli.md", "docs/evaluation.md"])
def test_pages_on_evaluation_say_to_trust_saved_models(page):
    assert "only SavedModels that you trust" in text_of(page).replace("Only", "only")


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/cli.md"])
def test_bits_of_the_noise_are_those_of_the_code(page):
    assert f"{int(noise.SECRET_BITS)} bits" in text_of(page)
    assert f"{int(noise.SECRET_BITS)} bits" in NOISE_POLICY


@pytest.mark.slow
def test_saved_model_can_write_files(tmp_path):
    """The reason for the warning: neither loading nor calling asks before."""

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
    def serve(pixels):
        tf.io.write_file(str(tmp_path / "written"), "by the graph")
        return pixels

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": serve, "serve": serve})
    endpoints, _ = open_saved_model(str(tmp_path / "model"))
    endpoints["serve"](tf.zeros((1, 4)))
    assert (tmp_path / "written").read_text() == "by the graph"


def test_keras_file_with_code_is_refused_and_runs_nothing(tmp_path):
    target = str(tmp_path / "written")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: [Path(target).touch(), x][1])])
    Path(target).unlink()  # building the network here has run it
    model.save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="cannot read the model"):
        load_network(tmp_path / "model.keras")
    assert not Path(target).exists()
