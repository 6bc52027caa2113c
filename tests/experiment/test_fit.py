"""What a pruner does in the training of a run; the command's own tests see the rest of it."""

import contextlib

import numpy as np
import pytest
from helpers import TINY, parse

from rsr_tf import progress
from rsr_tf.experiment import builders
from rsr_tf.experiment.fit import fit, verbosity
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.files import read_text
from rsr_tf.pruning import ADMMPruning

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
