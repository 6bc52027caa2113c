"""The networks that a training leaves: that of the last epoch and that of the best one."""

import logging
import math
import shutil

from rsr_tf.errors import disk_errors
from rsr_tf.files import replacing
from rsr_tf.training.best_epoch import MONITOR, BestEpoch

log = logging.getLogger(__name__)


def build_best_epoch(config, folder, stage, model, pruner, steps_per_epoch):
    """Build the callback that keeps the network of the best epoch of the first training.

    Epochs of the warm-up do not count, nor those before the final sparsity of a network that is pruned in training.

    Args:
        config: a `Config`.
        folder: a `RunFolder`.
        stage: as for `rsr_tf.experiment.fit.fit`; other stages than `"train"` have no best epoch.
        model: the `RSRModel`; without an attack it has no best epoch.
        pruner: the callback that prunes in training, or any other one.
        steps_per_epoch: number of steps in an epoch.

    Returns:
        A list of one callback, or an empty list.
    """
    section = config.training
    if stage != "train" or model.attack is None:
        return []
    schedule, last_pruning = getattr(pruner, "schedule", None), 0
    if schedule is not None:  # one of a constant sparsity has it from its first pruning on
        last_pruning = schedule.begin_step if config.pruning.schedule == "constant" else schedule.end_step
    first_epoch = max(section.warmup_epochs, math.ceil(last_pruning / steps_per_epoch) - 1)
    options = {"first_epoch": first_epoch, "patience": section.patience, "writes": folder.writes}
    return [BestEpoch(folder.checkpoints, stage, **options)]


def save_best_and_last(save_last, best, path, folder, keep):
    """Save the networks of the last and of the best epoch, at last the one that the run goes on with.

    Args:
        save_last: function of a `Path` that saves the network of the last epoch.
        best: the `BestEpoch` of the training, some epoch of which counted.
        path: `Path` of the network to go on with.
        folder: a `RunFolder`; the other network is `folder.best_epoch` or `folder.last_epoch`.
        keep: `"best"` or `"last"`.

    Raises:
        UserError: if the disk is full.
    """
    _log_accuracies(best, folder, keep)
    if keep == "best":
        save_last(folder.last_epoch)
    with disk_errors(folder.path), replacing(path if keep == "best" else folder.best_epoch) as temporary:
        shutil.copyfile(best.path, temporary)
    if keep == "last":
        save_last(path)


def _log_accuracies(best, folder, keep):
    last = [row for row in folder.read_history() if row["stage"] == best.stage][-1]
    accuracy = float(last[MONITOR])
    log.info(
        "adversarial validation accuracy: %.1f %% in the best epoch, %d, and %.1f %% in the last, %d: a gap of %.1f "
        "points. The network is that of the %s epoch",
        *(100 * best.accuracy, best.best, 100 * accuracy, int(last["epoch"]) + 1, 100 * (best.accuracy - accuracy)),
        keep,
    )
