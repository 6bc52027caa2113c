"""Training callbacks: atomic checkpoints, a check for NaN, the history as CSV, TensorBoard with images of masks."""

import csv
import io
import time
import warnings
import zipfile

import keras
import numpy as np

from rsr_tf.errors import UserError, first_line
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

    `StepCheckpoint` also saves within an epoch. Its file, `STAGE-EPOCHS-STEPS.keras`, also holds the state of the
    metrics, so that those of a resumed epoch cover all its steps.

    Args:
        folder: `Path` of the folder for the file, `STAGE-EPOCHS.keras`.
        stage: name of the training, such as `"train"`.
        epochs: number of epochs of the whole training, which no checkpoint can exceed. Defaults to `None`.
        writes: `False` for a process that only reads what the chief of its cluster writes. Defaults to `True`.
    """

    def __init__(self, folder, stage, epochs=None, *, writes=True):
        super().__init__()
        self.folder = folder
        self.stage = stage
        self.epochs = epochs
        self.writes = writes
        self._metrics = None

    @property
    def epochs_done(self):
        """Number of finished epochs of the last saved state; 0 without a file."""
        return self._last[0]

    @property
    def steps_done(self):
        """Number of steps of the last saved state after its finished epochs; 0 at the end of an epoch."""
        return self._last[1]

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
        epochs, steps = _position(saved[-1])
        if self.epochs is not None and epochs + (steps > 0) > self.epochs:
            raise ValueError(f"the checkpoint {saved[-1]} is of epoch {epochs}, but the training has {self.epochs}")
        scope = model.distribute_strategy.scope()  # variables of several devices are created and loaded in it
        try:
            with zipfile.ZipFile(saved[-1]) as archive:
                check_expansion(archive)
                self._metrics = _read_metrics(archive) if steps else None
            skipping = warnings.catch_warnings(record=True, action="always", category=UserWarning)
            with scope, skipping as skipped:
                model.optimizer.build(model.trainable_variables)
                model.load_weights(saved[-1])
            if skipped:  # of an optimizer that differs Keras restores nothing
                raise ValueError(skipped[0].message)
        except Exception as error:  # zipfile, h5py and Keras raise many kinds for a broken file
            raise ValueError(f"cannot read the checkpoint {saved[-1]}: {first_line(error)}") from error
        if self.writes:
            for path in saved[:-1]:  # a kill came between writing the last one and removing the one before
                path.unlink()
        return epochs

    def on_epoch_begin(self, epoch, logs=None):
        if self._metrics is not None:  # `fit` has just reset them
            _assign_metrics(self.model, self._metrics)
        self._metrics = None

    def on_epoch_end(self, epoch, logs=None):
        self._save(epoch + 1)

    def _save(self, epochs, steps=0):
        metrics = [variable.numpy() for variable in _metric_variables(self.model)] if steps else None  # a sum over all
        if self.writes:
            self._write(epochs, steps, metrics)

    def _write(self, epochs, steps, metrics):
        earlier = self._files()
        path = self.folder / f"{self.stage}-{epochs:04d}{f'-{steps:06d}' if steps else ''}.keras"
        with replacing(path) as temporary:
            self.model.save(temporary)
            if steps:
                _add_metrics(temporary, metrics)
        for each in earlier:
            if each != path:
                each.unlink()

    @property
    def _last(self):
        return max(map(_position, self._files()), default=(0, 0))

    def _files(self):
        return sorted(self.folder.glob(f"{self.stage}-*.keras"), key=_position)


class StepCheckpoint(Checkpoint):
    """A `Checkpoint` that also saves within an epoch, for epochs that take long.

    To go on, `fit` the rest of the epoch alone, with fewer steps. The model is an `RSRModel`, whose metrics have their
    variables before the first step.

    Args:
        folder, stage, epochs, writes: as for `Checkpoint`.
        frequency: number of steps between two files. Defaults to 0, which counts none.
        minutes: minutes between two files, those of other reasons included. Defaults to 0, which counts none. They are
            measured after each step; when a file was written changes nothing of what is trained. Not for several
            processes, whose clocks differ: all have to save after the same step.
        clock: function to seconds. Defaults to `time.monotonic`.
    """

    def __init__(self, folder, stage, epochs=None, *, frequency=0, minutes=0, clock=time.monotonic, writes=True):
        super().__init__(folder, stage, epochs, writes=writes)
        self.frequency, self.minutes, self._clock = frequency, minutes, clock
        self._saved_at = None

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        if self._saved_at is None:
            self._saved_at = self._clock()
        self._epochs, self._before = epoch, self.steps_done if self.epochs_done == epoch else 0

    def on_train_batch_end(self, batch, logs=None):
        steps = self._before + batch + 1
        is_due = self.frequency and steps % self.frequency == 0
        is_due = is_due or (self.minutes and self._clock() - self._saved_at >= 60 * self.minutes)
        if is_due and batch + 1 < self.params["steps"]:  # the end of the epoch saves its last step
            self._save(self._epochs, steps)

    def _save(self, epochs, steps=0):
        super()._save(epochs, steps)
        self._saved_at = self._clock()


METRICS = "metrics.npz"
"""Name of the file in a checkpoint of `StepCheckpoint` that holds the state of the metrics."""


def _metric_variables(model):
    return [variable for metric in model.metrics for variable in metric.variables]


def _assign_metrics(model, values):
    variables = _metric_variables(model)
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        raise UserError("the metrics in the checkpoint are not those of this training. Remove it to start again")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _add_metrics(path, values):
    """Add arrays to a `.keras` file, which Keras ignores."""
    buffer = io.BytesIO()
    np.savez(buffer, *values)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METRICS, buffer.getvalue())


def _read_metrics(archive):
    with np.load(io.BytesIO(archive.read(METRICS)), allow_pickle=False) as stored:
        return [stored[f"arr_{number}"] for number in range(len(stored.files))]


def _position(path):
    """Return the numbers of finished epochs, and of steps after them, from the name of a checkpoint."""
    numbers = path.stem.partition("-")[2]
    counts = [int(number) for number in numbers.split("-") if number.isascii() and number.isdigit()]
    if len(counts) != numbers.count("-") + 1 or len(counts) > 2 or counts[-1] == 0:
        raise ValueError(f"the name of the checkpoint {path} must end with a number of epochs. Received: {numbers!r}")
    return (*counts, 0)[:2]


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
