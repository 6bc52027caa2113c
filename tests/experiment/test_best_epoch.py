"""Which epochs can be the best, and what is saved at the end; `test_fit.py` has the trainings."""

import logging
from types import SimpleNamespace

import pytest
from helpers import parse

from rsr_tf.experiment import builders
from rsr_tf.experiment.best_epoch import build_best_epoch, save_best_and_last
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.pruning.callback import SparsityLogger
from rsr_tf.training.best_epoch import MONITOR, BestEpoch
from rsr_tf.training.callbacks import CSVHistory

ATTACKED, PLAIN = SimpleNamespace(attack=object()), SimpleNamespace(attack=None)


def built(folder, *overrides, stage="train", model=ATTACKED):
    """The callback of a training of 10 epochs of 8 steps."""
    config = parse("", "training.epochs=10", *overrides)
    pruner = builders.build_pruner(config, 80) or SparsityLogger()
    return build_best_epoch(config, RunFolder(folder), stage, model, pruner, steps_per_epoch=8)


@pytest.mark.parametrize(
    ("overrides", "first"),
    [
        ([], 0),
        (["training.warmup_epochs=3"], 3),
        (["pruning.schedule=polynomial", "pruning.frequency=10"], 7),  # from step 20 to 60, which is in epoch 8
        (["pruning.schedule=polynomial", "pruning.frequency=36"], 6),  # at 20 and 56, the last step of epoch 7
        (["pruning.schedule=constant", "pruning.frequency=10"], 2),  # at 20, in epoch 3
        (["pruning.schedule=constant", "pruning.begin=0", "training.warmup_epochs=1"], 1),
    ],
)
def test_epochs_of_warmup_and_before_the_final_sparsity_do_not_count(tmp_path, overrides, first):
    (callback,) = built(tmp_path, *overrides, "training.patience=4")
    assert (callback.first_epoch, callback.patience) == (first, 4)


@pytest.mark.parametrize("options", [{"stage": "finetune"}, {"stage": "undefended"}, {"model": PLAIN}])
def test_other_trainings_have_no_best_epoch(tmp_path, options):
    assert built(tmp_path, **options) == []


@pytest.mark.parametrize(
    ("keep", "texts"),
    [
        ("last", {"model.keras": "of epoch 2", "model_best.keras": "of epoch 1"}),
        ("best", {"model.keras": "of epoch 1", "model_last.keras": "of epoch 2"}),
    ],
)
def test_both_networks_are_saved_and_the_gap_is_logged(tmp_path, caplog, keep, texts):
    folder, best = RunFolder(tmp_path), BestEpoch(tmp_path, "train")
    best.best, best.accuracy = 1, 0.521
    best.path.write_text("of epoch 1")
    for epoch, accuracy in enumerate((0.521, 0.452)):
        CSVHistory(folder.history, "train").on_epoch_end(epoch, {MONITOR: accuracy, "adversarial_loss": 1.0})
    written = []

    def save_last(path):
        written.append(path.name)
        path.write_text("of epoch 2")

    with caplog.at_level(logging.INFO):
        save_best_and_last(save_last, best, folder.model, folder, keep)
    assert {path.name: path.read_text() for path in tmp_path.glob("model*")} == texts
    assert "52.1 % in the best epoch, 1, and 45.2 % in the last, 2: a gap of 6.9 points" in caplog.text
    assert f"The network is that of the {keep} epoch" in caplog.text


@pytest.mark.parametrize("keep", ["last", "best"])
def test_network_of_the_run_comes_last_as_it_ends_the_stage(tmp_path, keep):
    folder, best = RunFolder(tmp_path), BestEpoch(tmp_path, "train")
    best.best = 1
    best.path.write_text("of epoch 1")
    CSVHistory(folder.history, "train").on_epoch_end(0, {MONITOR: 0.5, "adversarial_loss": 1.0})

    def full_disk(path):
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        save_best_and_last(full_disk, best, folder.model, folder, keep)
    assert not folder.model.exists()
