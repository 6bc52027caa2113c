"""Train a model with the settings of a config, starting from its last checkpoint."""

import contextlib
import logging
import sys

import keras

from rsr_tf import data, progress
from rsr_tf.errors import UserError, disk_errors, user_errors
from rsr_tf.experiment.builders import build_overfitting_watch, build_training_batches, compile_model
from rsr_tf.experiment.epoch_progress import EpochProgress
from rsr_tf.files import replacing
from rsr_tf.pruning.callback import SparsityLogger
from rsr_tf.training.averaging import AveragedValidation
from rsr_tf.training.callbacks import Checkpoint, CSVHistory, NotFiniteError, TerminateOnNonFinite

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
        UserError: if the checkpoint cannot be read, the loss is not finite, or the disk is full.
    """
    compile_model(model, config, learning_rate, averaged=stage == "train")
    checkpoint = Checkpoint(folder.checkpoints, stage, epochs)
    pruner = pruner or SparsityLogger()
    with user_errors():
        rows = folder.read_history()
        if checkpoint.epochs_done < epochs:
            pruner.set_model(model)  # before the checkpoint, which may hold variables that it adds
        epoch = checkpoint.restore(model)
    if epoch:
        log.info("resuming after epoch %d of %d", epoch, epochs)
    history = [row for row in rows if row["stage"] == stage][:epoch]
    callbacks = [
        TerminateOnNonFinite(),
        AveragedValidation(),
        *build_overfitting_watch(config, data_set, model, history),
        pruner,
        CSVHistory(folder.history, stage),
        checkpoint,
        keras.callbacks.TensorBoard(folder.logs / stage, histogram_freq=1, write_graph=False),  # no epoch twice
    ]
    if epoch < epochs:
        with _errors_of_training(folder), progress.task("epoch", epochs, done=epoch, title=stage) as task:
            callbacks.append(EpochProgress(task))  # last, so that a counted epoch is one that is saved
            _fit_epochs(model, config, data_set, epoch, epochs, callbacks)
    model.optimizer.finalize_variable_values(model.trainable_weights)  # `fit` did, but it may not have been called
    save(model, path, folder)


def _fit_epochs(model, config, data_set, epoch, epochs, callbacks):
    """Train a compiled model after its first epochs."""
    section, steps = config.training, data.steps_per_epoch(data_set.train, config.training.batch_size)
    batches = build_training_batches(config, data_set, start_step=epoch * steps)
    model.fit(
        batches,
        validation_data=data.batches(data_set.validation, batch_size=section.batch_size),
        initial_epoch=epoch,
        epochs=epochs,
        steps_per_epoch=steps,
        shuffle=False,  # `training_batches` shuffles already
        verbose=verbosity(),
        callbacks=callbacks,
    )


def save(model, path, folder):
    """Save a Keras model atomically.

    Args:
        model: a Keras model.
        path: `Path` of the `.keras` file.
        folder: a `RunFolder`, for messages.

    Raises:
        UserError: if the disk is full.
    """
    with disk_errors(folder.path), replacing(path) as temporary:
        model.save(temporary)


def verbosity():
    """Return what Keras prints: nothing if somebody shows the epochs or wants none, else what suits the output."""
    if progress.is_shown():
        return 0
    return 1 if sys.stdout.isatty() else 2


@contextlib.contextmanager
def _errors_of_training(folder):
    try:
        with disk_errors(folder.path), data.reading_errors():
            yield
    except NotFiniteError as error:
        raise UserError(
            f"training stopped: {error}. The checkpoint of the last complete epoch is intact; try a lower learning rate"
        ) from error
