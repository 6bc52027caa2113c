"""Trainings that a kill stops, and that go on; the command's own tests see the rest of them."""

import contextlib
import dataclasses
import shutil

import keras
import numpy as np
import pytest
from helpers import TINY, parse
from image_folders import write_classes

from rsr_tf import data, progress
from rsr_tf.errors import UserError
from rsr_tf.experiment import builders
from rsr_tf.experiment.fit import fit, verbosity
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.files import read_text
from rsr_tf.keras_internals import weight_averages
from rsr_tf.pruning import ADMMPruning
from rsr_tf.training.best_epoch import BestEpoch
from rsr_tf.training.callbacks import Checkpoint, StepCheckpoint, read_history

pytestmark = [pytest.mark.integration, pytest.mark.slow]


class KilledError(Exception):
    pass


class KilledPruning(ADMMPruning):
    """ADMM that a kill stops at the start of epoch 2, after one update."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KilledError
        super().on_epoch_begin(epoch, logs)


@pytest.fixture(scope="module")
def config():
    return parse("", *(line for line in overrides()))


def overrides():
    section = ""
    for line in TINY.strip().splitlines():
        if line.startswith("["):
            section = line[1:-1]
        elif section in ("model", "attack", "training"):
            yield f"{section}.{line.replace(' ', '')}"


@pytest.fixture(scope="module")
def digits(config):
    return builders.load_data(config)


def train(config, digits, path, kind=ADMMPruning):
    """Train with ADMM from the last checkpoint of a folder; return the model, and the callback, whose state remains."""
    folder, pruner = RunFolder(path), kind(0.8, frequency=1, rho=0.1)
    folder.checkpoints.mkdir(parents=True, exist_ok=True)
    model = builders.build_rsr_model(config, builders.build_network(config, digits), warmup_steps=0)
    options = {"epochs": 3, "learning_rate": 0.05, "pruner": pruner}
    fit(model, "train", folder.model, config=config, data_set=digits, folder=folder, **options)
    return model, pruner


def state_of(model, pruner):
    return [np.array(variable) for variable in (*model.weights, *model.optimizer.variables, *pruner.state.variables)]


def test_killed_training_resumes_bitwise(config, digits, tmp_path):
    whole = state_of(*train(config, digits, tmp_path / "whole"))
    with pytest.raises(KilledError):
        train(config, digits, tmp_path / "killed", KilledPruning)
    resumed = state_of(*train(config, digits, tmp_path / "killed"))
    for first, second in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(first, second)
    assert read_text(tmp_path / "killed" / "history.csv") == read_text(tmp_path / "whole" / "history.csv")
    assert "admm_distance" in read_text(tmp_path / "whole" / "history.csv")

    # a kill after the last checkpoint, before the network was saved
    saved = (tmp_path / "whole" / "model.keras").stat().st_size
    (tmp_path / "whole" / "model.keras").unlink()
    model, pruner = train(config, digits, tmp_path / "whole")
    assert pruner.state is None
    assert not hasattr(model, "admm")
    assert (tmp_path / "whole" / "model.keras").stat().st_size == pytest.approx(saved, rel=0.01)


@pytest.fixture(scope="module")
def killed_once(config, digits, tmp_path_factory):
    """The folder of a training that was killed after two epochs."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    with pytest.raises(KilledError):
        train(config, digits, folder, KilledPruning)
    return folder


def test_killed_training_does_not_go_on_without_its_history(config, digits, killed_once, tmp_path):
    """Its rows tell which epoch was the best; the network of that epoch would be removed."""
    shutil.copytree(killed_once, tmp_path, dirs_exist_ok=True)
    before = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    (tmp_path / "history.csv").unlink()
    with pytest.raises(UserError, match=r"history.csv must have the 2 epochs of the checkpoint.* Received: 0 epochs"):
        train(config, digits, tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == before


def test_killed_training_does_not_go_on_with_other_images(config, digits, killed_once, tmp_path):
    shutil.copytree(killed_once, tmp_path, dirs_exist_ok=True)
    fewer = dataclasses.replace(digits, train=digits.train.first(len(digits.train) - 1))
    with pytest.raises(UserError, match=r"the training images have changed since the run .* began with "):
        train(config, fewer, tmp_path)


@pytest.fixture(scope="module")
def whole_runs(digits, tmp_path_factory):
    """Trainings that nothing stops, by their settings: what killed ones are compared with."""
    found = {}

    def whole_run(overrides):
        key = tuple(overrides)
        if key not in found:
            folder = RunFolder(tmp_path_factory.mktemp("whole") / "run")
            fit_stage(digits, folder, overrides)
            found[key] = networks_and_history(folder)
        return found[key]

    return whole_run


def weights_after(monkeypatch, digits, path, overrides, kill, whole_run):
    """Train with an error in a callback, and again to the end, and compare with a whole training of these settings."""
    folder = RunFolder(path)
    with monkeypatch.context() as patch:
        kill(patch)
        with pytest.raises(KilledError):
            fit_stage(digits, folder, overrides)
    assert not folder.model.exists()
    fit_stage(digits, folder, overrides)
    (resumed, rows_of_resumed), (whole, rows) = networks_and_history(folder), whole_run(overrides)
    assert set(whole) == set(resumed)
    for name, network in whole.items():
        for ours, theirs in zip(resumed[name].weights, network.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert rows_of_resumed == rows
    return whole, read_history(folder.history)


def networks_and_history(folder):
    networks = {file.name: keras.models.load_model(file) for file in sorted(folder.path.glob("*.keras"))}
    return networks, read_text(folder.history)


def overrides_of_tiny():
    return [line for line in overrides() if "epochs" not in line]


def fit_stage(digits, folder, overrides):
    config = parse("", *overrides_of_tiny(), *overrides)
    folder.checkpoints.mkdir(parents=True, exist_ok=True)
    steps = data.steps_per_epoch(digits.train, config.training.batch_size)
    model = builders.build_rsr_model(config, builders.build_network(config, digits), warmup_steps=0)
    pruner = builders.build_pruner(config, config.training.epochs * steps)
    options = {"epochs": config.training.epochs, "learning_rate": 0.05, "pruner": pruner}
    fit(model, "train", folder.model, config=config, data_set=digits, folder=folder, **options)


def kill_after(method, epoch):
    """Return a function that makes a method of `Checkpoint` the last thing that happens in an epoch."""

    def kill(patch):
        original = getattr(Checkpoint, method)

        def killed(self, number, logs=None):
            original(self, number, logs)
            if number == epoch:
                raise KilledError

        patch.setattr(Checkpoint, method, killed)

    return kill


@pytest.mark.parametrize("epoch", [0, 2], ids=["after the first epoch", "between the last epoch and the network"])
def test_training_with_averaged_weights_resumes_bitwise(monkeypatch, digits, whole_runs, tmp_path, epoch):
    overrides = ["training.epochs=3", "training.ema_momentum=0.8", "model.noise=none"]
    networks, rows = weights_after(
        monkeypatch, digits, tmp_path, overrides, kill_after("on_epoch_end", epoch), whole_runs
    )
    model = networks["model.keras"]
    for weight, average in weight_averages(model.optimizer):
        np.testing.assert_array_equal(weight, average)
    x, y = digits.validation.pixels(), digits.validation.labels
    accuracy = np.mean(np.argmax(model(x), axis=-1) == y)
    assert accuracy == pytest.approx(float(rows[-1]["val_accuracy"]), abs=1e-6)


@pytest.mark.parametrize(
    ("shown", "terminal", "expected"), [(False, False, 2), (False, True, 1), (True, True, 0), (True, False, 0)]
)
def test_keras_prints_only_where_nobody_shows_the_epochs(monkeypatch, shown, terminal, expected):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    with progress.shown_by(progress.Display()) if shown else contextlib.nullcontext():
        assert verbosity() == expected


def test_training_tells_of_its_epochs(config, digits, tmp_path):
    class Shown(progress.Display):
        def add(self, task):
            tasks.append(task)

    tasks = []
    with progress.shown_by(Shown()):
        train(config, digits, tmp_path)
    (task,) = tasks
    assert (task.title, task.unit, task.total, task.done) == ("train", "epoch", 3, 3)


DATA = [
    "data.name=folder",
    'data.augment=["crop_and_flip", "RandomErasing"]',
    "data.class_weights=balanced",
    "training.batch_size=32",
]


def folder_run(folder, path, cache, kind=ADMMPruning):
    """Train on a folder of images; return all that training has changed."""
    config = parse("", *overrides(), *DATA, f"data.directory={folder}", f"data.cache={cache}")
    return state_of(*train(config, builders.load_data(config), path, kind))


def test_run_killed_while_it_read_image_files_ends_as_one_from_memory(tmp_path):
    write_classes(tmp_path / "images", {"a": 60, "b": 120})
    expected = folder_run(tmp_path / "images", tmp_path / "memory", "memory")
    with pytest.raises(KilledError):
        folder_run(tmp_path / "images", tmp_path / "run", "stream", KilledPruning)
    for found, wanted in zip(folder_run(tmp_path / "images", tmp_path / "run", "stream"), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_image_that_breaks_during_training_is_one_line(tmp_path):
    write_classes(tmp_path / "images", {"a": 60, "b": 120})
    config = parse("", *overrides(), *DATA, f"data.directory={tmp_path / 'images'}", "data.cache=stream")
    data_set = builders.load_data(config)
    network = builders.build_network(config, data_set)
    for path in (tmp_path / "images" / "b").iterdir():
        path.write_bytes(b"")
    model, folder = builders.build_rsr_model(config, network, warmup_steps=0), RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    options = {"config": config, "data_set": data_set, "folder": folder, "epochs": 1, "learning_rate": 0.05}
    with pytest.raises(UserError, match=r"\Acannot read the image .*/images/b/\d+.png: .*\Z"):
        fit(model, "train", folder.model, **options)


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.ema_momentum=0.8"],
        ["pruning.schedule=polynomial", "pruning.frequency=2", "training.optimizer=adam"],
    ],
    ids=["average", "pruning in training"],
)
def test_training_resumes_bitwise_in_the_middle_of_an_epoch(monkeypatch, digits, whole_runs, tmp_path, overrides):
    """Epochs of 4 steps, saved after 2; the kill comes after 3 steps of the second epoch."""
    options = ["training.epochs=3", "training.checkpoint_steps=2", *overrides]
    seen = []

    def kill(patch):
        original = StepCheckpoint.on_train_batch_end

        def killed(self, batch, logs=None):
            original(self, batch, logs)
            seen.append(checkpoints_in(self.folder))
            if len(seen) == 7:
                raise KilledError

        patch.setattr(StepCheckpoint, "on_train_batch_end", killed)

    weights_after(monkeypatch, digits, tmp_path, options, kill, whole_runs)
    first = ["train-0000-000002.keras"]
    assert seen == [[], first, first, first, ["train-0001.keras"], *[["train-0001-000002.keras"]] * 2]
    assert checkpoints_in(tmp_path / "checkpoints") == ["train-0003.keras"]


def test_training_saved_by_the_clock_resumes_bitwise(monkeypatch, digits, whole_runs, tmp_path):
    """Steps of 40 seconds and a file a minute: one after step 2 of an epoch, and one at its end after step 4."""
    seconds, seen = [0], []

    def kill(patch):
        original, build = StepCheckpoint.on_train_batch_end, StepCheckpoint.__init__

        def built(self, *arguments, **options):
            build(self, *arguments, **options, clock=lambda: seconds[0])

        def killed(self, batch, logs=None):
            seconds[0] += 40
            original(self, batch, logs)
            seen.append(checkpoints_in(self.folder))
            if len(seen) == 7:
                raise KilledError

        patch.setattr(StepCheckpoint, "__init__", built)
        patch.setattr(StepCheckpoint, "on_train_batch_end", killed)

    weights_after(
        monkeypatch, digits, tmp_path, ["training.epochs=3", "training.checkpoint_minutes=1"], kill, whole_runs
    )
    first = ["train-0000-000002.keras"]
    assert seen == [[], first, first, first, ["train-0001.keras"], *[["train-0001-000002.keras"]] * 2]


def checkpoints_in(folder):
    """Return the names of the checkpoints, without that of the best epoch."""
    return sorted(path.name for path in folder.glob("train-*.keras"))


ACCURACIES = (0.2, 0.5, 0.4, 0.3, 0.6)
"""Adversarial validation accuracies by epoch, in place of the measured ones."""


@pytest.mark.parametrize(
    ("method", "epoch", "keep"),
    [("before", 1, "last"), ("on_epoch_end", 1, "best"), ("on_epoch_end", 3, "last"), ("on_epoch_end", 3, "best")],
    ids=[
        "between best network and checkpoint",
        "after the best epoch",
        "after the last one",
        "after the last, best kept",
    ],
)
def test_killed_training_ends_with_the_same_best_and_last_network(
    monkeypatch, digits, whole_runs, tmp_path, method, epoch, keep
):
    """Epoch 2 is the best, and with a patience of 2 epoch 4 is the last."""
    remember = BestEpoch._remember
    monkeypatch.setattr(BestEpoch, "_remember", lambda self, epoch, _: remember(self, epoch, ACCURACIES[epoch]))

    def kill(patch):
        if method != "before":
            return kill_after(method, epoch)(patch)
        save = Checkpoint.on_epoch_end

        def killed(self, number, logs=None):
            if number == epoch:
                assert {path.name for path in self.folder.glob("best-*")} == {
                    "best-train-0001.keras",
                    "best-train-0002.keras",
                }
                raise KilledError
            save(self, number, logs)

        return patch.setattr(Checkpoint, "on_epoch_end", killed)

    overrides = ["training.epochs=5", "training.patience=2", f"training.keep={keep}", "training.ema_momentum=0.5"]
    networks, rows = weights_after(monkeypatch, digits, tmp_path, overrides, kill, whole_runs)
    assert [float(row["best_epoch"]) for row in rows] == [1, 2, 2, 2]
    assert set(networks) == {"model.keras", "model_last.keras" if keep == "best" else "model_best.keras"}
    steps = {name: int(network.optimizer.iterations) for name, network in networks.items()}
    best = "model.keras" if keep == "best" else "model_best.keras"
    assert steps == {name: 8 if name == best else 16 for name in networks}
