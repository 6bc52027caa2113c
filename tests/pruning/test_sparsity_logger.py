import pytest
from helpers import compiled

import rsr_tf
from rsr_tf.pruning.callback import SparsityLogger
from rsr_tf.training.callbacks import CSVHistory, read_history


def test_sparsity_is_added_to_the_logs_of_the_epoch(noisy_model):
    rsr_tf.prune(noisy_model, sparsity=0.5)
    callback, logs = SparsityLogger(), {"loss": 1.0}
    callback.set_model(noisy_model)
    callback.on_epoch_end(0, logs)
    assert logs == {"loss": 1.0, "sparsity": rsr_tf.sparsity(noisy_model)}
    assert logs["sparsity"] == pytest.approx(0.5, abs=0.01)


def test_sparsity_reaches_the_callbacks_after_it(noisy_model, images, labels, tmp_path):
    model = compiled(noisy_model)
    model.fit(images, labels, verbose=0, callbacks=[SparsityLogger(), CSVHistory(tmp_path / "history.csv", "train")])
    (row,) = read_history(tmp_path / "history.csv")
    assert float(row["sparsity"]) == 0
    assert set(row) == {"stage", "epoch", "accuracy", "loss", "sparsity"}
