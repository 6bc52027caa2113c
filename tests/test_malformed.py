"""What the command makes of odd paths and damaged files: one line, exit code 2, nothing written."""

import json
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from helpers import TINY

import rsr_tf
from rsr_tf.cli import main
from rsr_tf.config import load_config
from rsr_tf.experiment.run_folder import WRITING, RunFolder

pytestmark = pytest.mark.integration


def refused(*arguments):
    """Return the one line of a command that must exit with code 2."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert len(line) < 1200
    return line


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY.replace("[undefended]\nepochs = 1", ""))
    return path


@pytest.fixture
def odd(tmp_path):
    """Return a function from a name to a path that no folder can have."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    paths = {"file": "file", "under a file": "file/x", "loop": "loop", "under a loop": "loop/x", "long": "x" * 5000}
    return lambda name: tmp_path / paths.get(name, name)


@pytest.mark.parametrize("name", ["under a file", "loop", "under a loop", "dangling", "long", "/dev/null/x", "/proc/x"])
@pytest.mark.parametrize("stage", ["train", "report"])
def test_output_that_cannot_be_a_folder_is_named(config, odd, name, stage):
    assert str(odd(name))[:100] in refused(stage, config, "--output", odd(name))


@pytest.mark.parametrize("name", ["long", "loop", "under a loop", "under a file", "/dev/zero", "/proc/self/mem"])
@pytest.mark.parametrize("command", [["train"], ["evaluate"], ["zoo"], ["transfer"]])
def test_config_that_cannot_be_read_is_named(odd, name, command, tmp_path):
    assert str(odd(name))[:100] in refused(*command, odd(name), "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["long", "loop", "under a file", "/dev/zero", "~nosuchuser123/x"])
@pytest.mark.parametrize("data", ["npz", "cifar10", "folder"])
def test_directory_of_data_that_cannot_be_read_is_named(config, odd, name, data, tmp_path):
    directory = name if name.startswith("~") else odd(name)
    line = refused("train", config, "--set", f"data.name={data}", "--set", f"data.directory={directory}")
    assert str(directory)[:100] in line


def test_many_numbers_of_the_command_are_refused_at_once(config):
    for number in ("1e999999999", "1e-999999999/7", "9" * 5000, "1/" + "9" * 1000):
        assert "`--gammas` expected a number" in refused("sweep", config, "--gammas", number)
        assert "`model.lasso` expected a number" in refused("train", config, "--set", f'model.lasso="{number}"')


class Halved:
    """A run folder with networks that are trained by nobody."""

    def __init__(self, path, network):
        config = load_config(path.parent / "tiny.toml")
        self.folder = RunFolder(path)
        self.folder.claim(config.model_dump(), {})
        self.folder.release()
        for file in (self.folder.model, self.folder.pruned):
            network.save(file)

    def names(self):
        paths = [path for path in self.folder.path.rglob("*") if path.name != WRITING]
        return sorted(path.relative_to(self.folder.path).as_posix() for path in paths)


def network(shape=(8, 8, 1), classes=10, outputs=1):
    inputs = keras.Input(shape)
    x = keras.layers.Flatten()(inputs)
    logits = [rsr_tf.NoisyDense(classes)(x) for _ in range(outputs)]
    return keras.Model(inputs, logits[0] if outputs == 1 else logits)


def image_to_image():
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, rsr_tf.NoisyConv2D(10, 3, padding="same")(inputs))


def not_finite():
    model = network()
    model.layers[-1].bias.assign(np.full(10, np.nan))
    return model


OTHERS = {
    "three classes": lambda: network(classes=3),
    "eleven classes": lambda: network(classes=11),
    "small images": lambda: network(shape=(4, 4, 3)),
    "any images": lambda: network(shape=(8, 8, 3)),
    "two outputs": lambda: network(outputs=2),
    "image as output": image_to_image,
    "nothing to prune": lambda: keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.ReLU()]),
    "not finite": not_finite,
}
STAGES = {
    "prune": ["prune"],
    "evaluate": ["evaluate"],
    "export": ["export"],
    "suite": ["evaluate", "--suite", "quick", "--images", "5"],
    "sweep": ["sweep", "--sparsities", "0.5"],
    "artefacts": ["artefacts"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_network_that_is_not_of_the_run_is_refused_by_every_stage(config, tmp_path, name):
    run = Halved(tmp_path / "run", OTHERS[name]())
    for stage, (command, *options) in STAGES.items():
        if stage == "prune":
            run.folder.pruned.rename(tmp_path / "aside")
        before = run.names()
        line = refused(command, run.folder.path, *options)
        assert ".keras is not a network of this run" in line or "is damaged: its weight" in line
        assert run.names() == before
        if stage == "prune":
            (tmp_path / "aside").rename(run.folder.pruned)


def test_network_that_was_never_trained_is_not_pruned(config, tmp_path):
    run = Halved(tmp_path / "run", network())
    run.folder.pruned.unlink()
    assert "model.keras is not a network of this run: it is no RSRModel" in refused("prune", run.folder.path)


@pytest.mark.parametrize("name", ["evaluation.json", "history.csv", "verdict_quick.json", "artefacts.json"])
@pytest.mark.parametrize("content", [None, b"[" * 100_000, b"5", b"\xff\xfe\x00", b'{"networks": 3, "curve": []}'])
def test_damaged_result_is_one_line_of_the_report(config, tmp_path, name, content):
    run = Halved(tmp_path / "run", network())
    path = run.folder.path / name
    path.mkdir() if content is None else path.write_bytes(content)
    before = run.names()
    assert str(path) in refused("report", run.folder.path)
    assert run.names() == before


@pytest.mark.parametrize("place", ["sweep", "suites"])
@pytest.mark.parametrize("kind", ["file", "loop"])
def test_file_in_the_place_of_a_folder_of_results_is_named(config, tmp_path, odd, place, kind):
    run = Halved(tmp_path / "run", network())
    shutil.copy(odd("file"), run.folder.path / place) if kind == "file" else (run.folder.path / place).symlink_to(
        run.folder.path / place
    )
    line = refused(*(STAGES["suite"] if place == "suites" else STAGES["sweep"]), run.folder.path)
    assert str(run.folder.path) in line


def test_state_of_another_kind_is_named_and_left(config, tmp_path):
    run = Halved(tmp_path / "run", network())
    state = run.folder.suite_state("quick_5")
    state.mkdir(parents=True)
    (state / "identity.json").write_text("[]")
    assert "identity.json" in refused(*STAGES["suite"], run.folder.path)
    assert (state / "identity.json").read_text() == "[]"


def test_metadata_of_a_saved_model_is_checked_first(config, tmp_path):
    rsr_tf.export_saved_model(network(), tmp_path / "served", metadata={"sparsity": "<script>"})
    line = refused("evaluate", tmp_path / "served", "--config", config, "--suite", "quick", "--images", 5)
    assert "rsr_tf.json: `sparsity` should be a valid number. Received: '<script>'" in line
    assert json.loads((tmp_path / "served" / "rsr_tf.json").read_text())["sparsity"] == "<script>"
