"""What happens beside the training: checkpoints that survive anything, a stop at NaN, numbers for the logs."""

import csv
import zipfile

import keras
import numpy as np

from rsr_tf.pruning import sparsity
from rsr_tf.run_folder import replacing


class Checkpoint(keras.callbacks.Callback):
    """Keeps the whole state of training at the end of the last epoch in one file, replaced in one step.

    The state is that of weights, optimizer, noise and attack; the epoch follows from the optimizer's count of steps, so
    that no second file can disagree. `keras.callbacks.BackupAndRestore` writes two files, and over the old ones.
    The format is `.keras`, which Keras puts together in memory: HDF5 writing to a full disk kills the process.

    Args:
        path: `Path` of the file, ending in `.keras`.
        steps_per_epoch: optimizer steps in an epoch.
    """

    def __init__(self, path, steps_per_epoch):
        super().__init__()
        self.path = path
        self.steps_per_epoch = steps_per_epoch

    def restore(self, model):
        """Bring a compiled model to the saved state, if there is one.

        Returns:
            The number of the epoch to go on with; 0 without a file.

        Raises:
            ValueError: for a file that does not fit the model or cannot be read.
        """
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(self.path)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"cannot read the checkpoint {self.path}: {str(error).splitlines()[0]}") from error
        return int(model.optimizer.iterations) // self.steps_per_epoch

    def on_epoch_end(self, epoch, logs=None):
        with replacing(self.path) as temporary:
            self.model.save(temporary)


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


class StopAtNaN(keras.callbacks.Callback):
    """Ends training at once when the loss is no number, before a checkpoint could be replaced by a ruined one.

    Raises:
        NotFiniteError: from within `fit`; `keras.callbacks.TerminateOnNaN` would let the epoch end and be saved.
    """

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise NotFiniteError(f"the loss became {logs['loss']} at step {batch}")


class SparsityLog(keras.callbacks.Callback):
    """Adds the share of zero weights to what other callbacks log; to be listed before them."""

    def on_epoch_end(self, epoch, logs=None):
        logs["sparsity"] = sparsity(self.model)


class History(keras.callbacks.Callback):
    """One row for each epoch in a CSV file; a restarted run drops the rows of epochs that it does again.

    Args:
        path: `Path` of the file.
        stage: name that goes into the first column, such as `"train"`.
    """

    def __init__(self, path, stage):
        super().__init__()
        self.path = path
        self.stage = stage

    def on_epoch_end(self, epoch, logs=None):
        rows = [row for row in read_history(self.path) if row["stage"] != self.stage or int(row["epoch"]) < epoch]
        rows.append({"stage": self.stage, "epoch": epoch, **{key: float(value) for key, value in logs.items()}})
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with replacing(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


def read_history(path):
    """The rows of a history file as dicts of strings; none if there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
