"""Training callbacks: atomic checkpoints, a check for NaN, the history as CSV, TensorBoard with images of masks."""

import csv
import io
import warnings
import zipfile

import keras
import numpy as np

from rsr_tf.errors import first_line
from rsr_tf.files import read_text, replacing
from rsr_tf.files.arrays import check_expansion
from rsr_tf.keras_internals import ImagesOfMasks


class TensorBoard(ImagesOfMasks):
    """`keras.callbacks.TensorBoard`, with the same arguments, for models with pruning masks.

    With `write_images=True`, Keras' own fails at the end of the first epoch, because TensorFlow takes no boolean
    images. Here a mask is an image that is black where a weight is pruned.
    """


def check_callbacks(callbacks, model):
    """Check that no callback is one of Keras' that fails after the first epoch, on the masks of a model.

    Args:
        callbacks: as for `keras.Model.fit`.
        model: a Keras model.

    Raises:
        ValueError: for `keras.callbacks.TensorBoard(write_images=True)` and a model with boolean weights.
    """
    callbacks = getattr(callbacks, "callbacks", callbacks)  # of a `CallbackList`
    boards = [one for one in keras.tree.flatten(callbacks) if isinstance(one, keras.callbacks.TensorBoard)]
    with_images = [board for board in boards if board.write_images and board.histogram_freq]
    fails = not all(isinstance(board, ImagesOfMasks) for board in with_images)
    if fails and any(weight.dtype == "bool" for weight in model.weights):
        raise ValueError(
            "`write_images` must be False for a model with pruning masks, or use "
            "`rsr_tf.training.callbacks.TensorBoard`, which shows them. Received: "
            "keras.callbacks.TensorBoard(write_images=True)"
        )


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state of training at the end of each epoch, in one file that is replaced atomically.

    The state is that of weights, optimizer, noise and attack. The name of the file holds the number of finished epochs,
    so that no second file can disagree; `keras.callbacks.BackupAndRestore` writes two files, over the old ones.
    The format is `.keras`, which Keras assembles in memory: HDF5 on a full disk would kill the process.

    Args:
        folder: `Path` of the folder for the file, `STAGE-EPOCHS.keras`.
        stage: name of the training, such as `"train"`.
        epochs: number of epochs of the whole training, which no checkpoint can exceed. Defaults to `None`.
    """

    def __init__(self, folder, stage, epochs=None):
        super().__init__()
        self.folder = folder
        self.stage = stage
        self.epochs = epochs

    @property
    def epochs_done(self):
        """Number of finished epochs of the last saved state; 0 without a file."""
        return max(map(_epochs_done, self._files()), default=0)

    def restore(self, model):
        """Load the last saved state into a compiled model, if a file exists.

        Args:
            model: the compiled `keras.Model`.

        Returns:
            The number of finished epochs; 0 without a file.

        Raises:
            ValueError: for a file that cannot be read, whose name holds no possible number of epochs, or whose weights
                do not fit the model.
        """
        saved = self._files()
        if not saved:
            return 0
        epochs = _epochs_done(saved[-1])
        if self.epochs is not None and epochs > self.epochs:
            raise ValueError(f"the checkpoint {saved[-1]} is of epoch {epochs}, but the training has {self.epochs}")
        scope = model.distribute_strategy.scope()  # variables of several devices are created and loaded in it
        try:
            with zipfile.ZipFile(saved[-1]) as archive:
                check_expansion(archive)
            skipping = warnings.catch_warnings(record=True, action="always", category=UserWarning)
            with scope, skipping as skipped:
                model.optimizer.build(model.trainable_variables)
                model.load_weights(saved[-1])
            if skipped:  # of an optimizer that differs Keras restores nothing
                raise ValueError(skipped[0].message)
        except Exception as error:  # zipfile, h5py and Keras raise many kinds for a broken file
            raise ValueError(f"cannot read the checkpoint {saved[-1]}: {first_line(error)}") from error
        for path in saved[:-1]:  # a kill came between writing the last one and removing the one before
            path.unlink()
        return epochs

    def on_epoch_end(self, epoch, logs=None):
        earlier = self._files()
        with replacing(self.folder / f"{self.stage}-{epoch + 1:04d}.keras") as temporary:
            self.model.save(temporary)
        for path in earlier:
            if _epochs_done(path) != epoch + 1:
                path.unlink()

    def _files(self):
        return sorted(self.folder.glob(f"{self.stage}-*.keras"), key=_epochs_done)


def _epochs_done(path):
    number = path.stem.partition("-")[2]
    if not (number.isascii() and number.isdigit() and int(number)):
        raise ValueError(f"the name of the checkpoint {path} must end with a number of epochs. Received: {number!r}")
    return int(number)


class NotFiniteError(Exception):
    """The loss or a weight became NaN or infinite."""


class TerminateOnNonFinite(keras.callbacks.Callback):
    """Terminates training when the loss or a weight becomes NaN or infinite; list it before the checkpoint.

    Unlike `keras.callbacks.TerminateOnNaN` by default, it raises an error, so that the epoch does not end and is not
    saved; and it also checks the weights.

    Raises:
        NotFiniteError: from within `fit`.
    """

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise NotFiniteError(f"the loss became {logs['loss']} at step {batch}")

    def on_epoch_end(self, epoch, logs=None):
        """Check the weights: no later loss would reveal a NaN from the last update of an epoch."""
        for weight in self.model.weights:
            if not np.all(np.isfinite(weight.numpy())):
                raise NotFiniteError(f"the weight {weight.path} is no longer finite after epoch {epoch + 1}")


class CSVHistory(keras.callbacks.Callback):
    """Writes one row per epoch to a CSV file, in which several trainings and resumed ones share one table.

    Unlike `keras.callbacks.CSVLogger`, it replaces the file atomically, has a column for the stage, and drops the rows
    of epochs that a resumed run repeats.

    Args:
        path: `Path` of the file.
        stage: name in the first column, such as `"train"`.
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
    """Return the rows of a history file as dicts of strings; an empty list without a file.

    Args:
        path: `Path` of the file.

    Raises:
        ValueError: if the file cannot be read; the message names it.
    """
    if not path.exists():
        return []
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        if not {"stage", "epoch"} <= set(reader.fieldnames or ()):
            raise ValueError(f"cannot read {path}: it must have the columns stage and epoch")
        return list(reader)
    except csv.Error as error:
        raise ValueError(f"cannot read {path}: {error}") from error
