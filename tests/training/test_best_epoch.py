from pathlib import Path

import keras
import pytest

from rsr_tf.training.best_epoch import MONITOR, BestEpoch
from rsr_tf.training.callbacks import CSVHistory, read_history

ACCURACIES = (0.1, 0.4, 0.3, 0.4, 0.5, 0.2, 0.2, 0.1)


@pytest.fixture
def model(monkeypatch):
    """A model whose file says which of its epochs it is of."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    monkeypatch.setattr(keras.Model, "save", lambda self, path: Path(path).write_text(str(self.epoch)))
    return network


def run(folder, model, accuracies, first=0, rows=(), **options):
    """Run some epochs; the callback, and the rows that it left."""
    callback = BestEpoch(folder, "train", **options)
    callback.set_model(model)
    callback.restore(list(rows))
    history = CSVHistory(folder / "history.csv", "train")
    model.stop_training = False
    for epoch, accuracy in enumerate(accuracies[first:], first):
        model.epoch, logs = epoch + 1, {MONITOR: accuracy}
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, logs)
        history.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    return callback, read_history(folder / "history.csv")


def files(folder):
    return {path.name: path.read_text() for path in folder.glob("*.keras")}


def test_network_of_the_first_of_the_best_epochs_is_kept(model, tmp_path):
    callback, rows = run(tmp_path, model, ACCURACIES)
    assert (callback.best, callback.accuracy) == (5, 0.5)
    assert files(tmp_path) == {"best-train-0005.keras": "5"}
    assert [float(row["best_epoch"]) for row in rows] == [1, 2, 2, 2, 5, 5, 5, 5]


def test_epoch_without_validation_is_not_the_best(tmp_path):
    callback = BestEpoch(tmp_path, "train")
    logs = {"loss": 1.0}
    callback.on_epoch_end(0, logs)
    assert logs["best_epoch"] == 0


def test_epochs_at_the_start_do_not_count(model, tmp_path):
    _, rows = run(tmp_path, model, (0.9, 0.8, 0.3, 0.4), first_epoch=2)
    assert [float(row["best_epoch"]) for row in rows] == [0, 0, 3, 4]
    assert files(tmp_path) == {"best-train-0003.keras": "3", "best-train-0004.keras": "4"}  # the next epoch removes it


@pytest.mark.parametrize("stopped", range(1, 8))
def test_resumed_training_keeps_the_same_epoch(model, tmp_path, stopped):
    run(tmp_path, model, ACCURACIES[:stopped])
    rows = read_history(tmp_path / "history.csv")
    callback, _ = run(tmp_path, model, ACCURACIES, first=stopped, rows=rows)
    assert (callback.best, files(tmp_path)) == (5, {"best-train-0005.keras": "5"})


def test_kill_before_the_checkpoint_leaves_the_network_that_belongs_to_it(model, tmp_path):
    """Epoch 5 is the best, and its row is written, but the last checkpoint is of epoch 4."""
    _, rows = run(tmp_path, model, ACCURACIES[:5])
    assert set(files(tmp_path)) == {"best-train-0002.keras", "best-train-0005.keras"}
    callback = BestEpoch(tmp_path, "train")
    callback.restore(rows[:4])
    assert (callback.best, files(tmp_path)) == (2, {"best-train-0002.keras": "2"})


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 2])
def test_training_stops_when_early_stopping_of_keras_does(model, tmp_path, patience, start):
    _, rows = run(tmp_path, model, ACCURACIES, first_epoch=start, patience=patience)
    theirs = keras.callbacks.EarlyStopping(MONITOR, mode="max", patience=patience, start_from_epoch=start)
    theirs.set_model(model)
    model.stop_training = False
    theirs.on_train_begin()
    for epoch, accuracy in enumerate(ACCURACIES):
        theirs.on_epoch_end(epoch, {MONITOR: accuracy})
        if model.stop_training:
            break
    assert len(rows) == epoch + 1


@pytest.mark.parametrize("stopped", range(1, 7))
def test_patience_goes_on_where_it_was(model, tmp_path, stopped):
    """Epoch 5 is the best, so with a patience of 2 epoch 7 is the last, whenever a kill came."""
    accuracies = (0.1, 0.4, 0.3, 0.45, 0.5, 0.2, 0.2, 0.1)
    _, rows = run(tmp_path, model, accuracies[:stopped], patience=2)
    callback, rows = run(tmp_path, model, accuracies, first=stopped, rows=rows, patience=2)
    assert len(rows) == 7
    assert not callback.is_over(6)
    assert callback.is_over(7)


def test_without_patience_training_never_stops(model, tmp_path):
    callback, rows = run(tmp_path, model, ACCURACIES)
    assert len(rows) == len(ACCURACIES)
    assert not callback.is_over(1000)


def test_missing_network_is_refused_and_one_of_an_earlier_version_forgotten(model, tmp_path):
    callback = BestEpoch(tmp_path, "train")
    with pytest.raises(ValueError, match=r"best-train-0001.keras not found. It is the network of the best epoch so"):
        callback.restore([{MONITOR: "0.5", "best_epoch": "1.0"}])
    callback.restore([{MONITOR: "0.5"}])
    assert callback.best == 0
