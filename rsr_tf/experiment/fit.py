"""Train a model with the settings of a config, starting from its last checkpoint."""

import contextlib
import functools
import logging
import sys

import keras

from rsr_tf import data, progress
from rsr_tf.errors import UserError, disk_errors, user_errors
from rsr_tf.experiment.best_epoch import build_best_epoch, save_best_and_last
from rsr_tf.experiment.builders import build_overfitting_watch, build_training_batches, compile_model
from rsr_tf.experiment.epoch_progress import EpochProgress
from rsr_tf.experiment.run_folder import drop_none, flattened
from rsr_tf.experiment.training_checks import check_same_images
from rsr_tf.experiment.workers import agree, explained, written_by_chief
from rsr_tf.files import replacing
from rsr_tf.pruning.callback import SparsityLogger
from rsr_tf.training.averaging import AveragedValidation
from rsr_tf.training.callbacks import Checkpoint, CSVHistory, NotFiniteError, StepCheckpoint, TerminateOnNonFinite
from rsr_tf.training.distribution import peers
from rsr_tf.training.tensorboard import Overview

SHOWN_IMAGES = 6
"""Number of images in TensorBoard."""

log = logging.getLogger(__name__)


def fit(model, stage, path, *, config, data_set, folder, epochs, learning_rate, pruner=None):
    """Train a model from the last checkpoint of its stage, and save it.

    Args:
        model: an `RSRModel`; it is compiled here.
        stage: `"train"`, `"undefended"`, `"admm"` or `"finetune"`: the name of checkpoints, logs and rows of the
            history.
        path: `Path` of the `.keras` file.
        config: a `Config`.
        data_set: a `DataSet`.
        folder: a `RunFolder`.
        epochs: total number of epochs, those before the checkpoint included.
        learning_rate: number, or a Keras schedule.
        pruner: callback that prunes during this training and adds the sparsity to the logs. Defaults to one that adds
            the sparsity alone.

    Raises:
        UserError: if the checkpoint cannot be read, the training images have changed since, the loss is not finite, or
            the disk is full.
    """
    steps = data.steps_per_epoch(data_set.train, config.training.batch_size)
    compile_model(model, config, learning_rate, averaged=stage == "train")
    checkpoint = _checkpoint(folder, stage, epochs, config.training)
    pruner = pruner or SparsityLogger()
    best = build_best_epoch(config, folder, stage, model, pruner, steps)
    is_trained = False
    while not is_trained:
        position, history = _resume(model, stage, folder, checkpoint, pruner, best, epochs)
        epoch = position[0]
        is_trained = epoch >= epochs or any(callback.is_over(epoch) for callback in best)
        if not is_trained:
            check_same_images(data_set, folder)
            callbacks = [
                TerminateOnNonFinite(),
                AveragedValidation(),
                *build_overfitting_watch(config, data_set, model, history),
                pruner,
                *best,
                *([CSVHistory(folder.history, stage)] if folder.writes else []),
                checkpoint,
                *_boards(folder, stage, config, data_set),  # after the checkpoint: no epoch twice
            ]
            with _errors_of_training(folder), progress.task("epoch", epochs, done=epoch, title=stage) as task:
                callbacks.append(EpochProgress(task))  # last, so that a counted epoch is one that is saved
                _fit_epochs(model, config, data_set, position, epochs, callbacks)
            is_trained = not position[1]  # else `_fit_epochs` has trained to the end of one epoch
    model.optimizer.finalize_variable_values(model.trainable_weights)  # `fit` did, but it may not have been called
    if best and best[0].best:
        save_last = functools.partial(_write, model, folder=folder)
        written_by_chief(lambda: save_best_and_last(save_last, best[0], path, folder, config.training.keep))
    else:
        save(model, path, folder)


def _boards(folder, stage, config, data_set):
    """Return the callbacks of TensorBoard: that of Keras, and what matters, with a few validation images."""
    if not folder.writes:
        return []
    shown = data_set.validation.first(SHOWN_IMAGES)
    images = shown.pixels() if len(shown) else None
    settings = flattened(drop_none(config.model_dump()))
    logs = folder.logs / stage
    return [keras.callbacks.TensorBoard(logs, write_graph=False), Overview(logs, settings, images, shown.labels)]


def _resume(model, stage, folder, checkpoint, pruner, best, epochs):
    """Load the last checkpoint; return the number of finished epochs and of steps after them, and their history."""
    with user_errors():
        # first, as what follows creates variables, which all processes have to do at once
        agree([checkpoint.epochs_done, checkpoint.steps_done], "finished epochs and steps")
        rows = folder.read_history()
        if checkpoint.epochs_done < epochs:
            pruner.set_model(model)  # before the checkpoint, which may hold variables that it adds
        epoch = checkpoint.restore(model)
        history = [row for row in rows if row["stage"] == stage][:epoch]
        if best:
            _check_history(history, epoch, folder)
        for callback in best:
            callback.restore(history)
    if epoch or checkpoint.steps_done:
        log.info("resuming after epoch %d of %d%s", epoch, epochs, _and_steps(checkpoint))
    return (epoch, checkpoint.steps_done), history


def _check_history(history, epochs, folder):
    """Check that the history has every finished epoch: without its row, the best one would lose its file."""
    if [row["epoch"] for row in history] != [str(number) for number in range(epochs)]:
        raise UserError(
            f"{folder.history} must have the {epochs} epochs of the checkpoint. Restore it, or remove "
            f"{folder.checkpoints} to start again. Received: {len(history)} epochs"
        )


def _checkpoint(folder, stage, epochs, section):
    options = {"epochs": epochs, "writes": folder.writes}
    frequency, minutes = section.checkpoint_steps, section.checkpoint_minutes
    if frequency or minutes:
        return StepCheckpoint(folder.checkpoints, stage, frequency=frequency, minutes=minutes, **options)
    return Checkpoint(folder.checkpoints, stage, **options)


def _and_steps(checkpoint):
    return f" and {checkpoint.steps_done} steps" if checkpoint.steps_done else ""


def _fit_epochs(model, config, data_set, position, epochs, callbacks):
    """Train a compiled model after its first epochs; after some steps of an epoch, only to the end of this epoch.

    That is because `fit` gives all its epochs the same number of steps.
    """
    section, steps = config.training, data.steps_per_epoch(data_set.train, config.training.batch_size)
    epoch, steps_done = position
    if steps_done >= steps:
        raise UserError(
            f"the checkpoint of epoch {epoch} and {steps_done} steps is of another run: epochs have {steps}"
        )
    batches = build_training_batches(config, data_set, start_step=epoch * steps + steps_done)
    model.fit(
        batches,
        validation_data=data.batches(data_set.validation, batch_size=section.batch_size),
        initial_epoch=epoch,
        epochs=epoch + 1 if steps_done else epochs,
        steps_per_epoch=steps - steps_done,
        shuffle=False,  # `training_batches` shuffles already
        verbose=verbosity(),
        callbacks=callbacks,
    )


def save(model, path, folder):
    """Save a Keras model atomically. Of several processes the chief writes, and the others wait.

    Args:
        model: a Keras model.
        path: `Path` of the `.keras` file.
        folder: a `RunFolder`, for messages.

    Raises:
        UserError: if the disk is full.
    """
    written_by_chief(functools.partial(_write, model, path, folder=folder))


def _write(model, path, folder):
    with disk_errors(folder.path), replacing(path) as temporary:
        model.save(temporary)


def verbosity():
    """Return what Keras prints: nothing if somebody shows the epochs or nobody reads, else what suits the output."""
    if progress.is_shown() or not peers().cluster.is_chief or sys.stdout is None:
        return 0
    return 1 if sys.stdout.isatty() else 2


@contextlib.contextmanager
def _errors_of_training(folder):
    try:
        with disk_errors(folder.path), data.reading_errors(), explained():
            yield
    except NotFiniteError as error:
        raise UserError(
            f"training stopped: {error}. The checkpoint of the last complete epoch is intact; try a lower learning rate"
        ) from error
