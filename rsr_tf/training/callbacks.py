"""What happens beside the training: checkpoints that survive anything, a stop at NaN, numbers for the logs."""

import csv
import functools
import logging
import zipfile

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.attacks.pgd import FGSM, PGD
from rsr_tf.errors import first_line
from rsr_tf.files import replacing

log = logging.getLogger(__name__)


class Checkpoint(keras.callbacks.Callback):
    """Keeps the whole state of training at the end of the last epoch, in one file that is replaced in one step.

    The state is that of weights, optimizer, noise and attack; the name of the file holds the number of epochs done, so
    that no second file can disagree. `keras.callbacks.BackupAndRestore` writes two files, and over the old ones.
    The format is `.keras`, which Keras puts together in memory: HDF5 writing to a full disk kills the process.

    Args:
        folder: `Path` of the folder for the file, `STAGE-EPOCHS.keras`.
        stage: name of the training, such as `"train"`.
    """

    def __init__(self, folder, stage):
        super().__init__()
        self.folder = folder
        self.stage = stage

    def restore(self, model):
        """Bring a compiled model to the saved state, if there is one.

        Returns:
            The number of epochs that are done; 0 without a file.

        Raises:
            ValueError: for a file that cannot be read, or whose weights do not fit the model.
        """
        saved = self._files()
        if not saved:
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(saved[-1])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"cannot read the checkpoint {saved[-1]}: {first_line(error)}") from error
        return _epochs_done(saved[-1])

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
    return int(path.stem.rpartition("-")[2])


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


class StopAtNaN(keras.callbacks.Callback):
    """Ends training at once when the loss or a weight is no number; to be listed before the checkpoint.

    Raises:
        NotFiniteError: from within `fit`; `keras.callbacks.TerminateOnNaN` would let the epoch end and be saved.
    """

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise NotFiniteError(f"the loss became {logs['loss']} at step {batch}")

    def on_epoch_end(self, epoch, logs=None):
        """The last update of an epoch has no loss after it: look at what it left."""
        for weight in self.model.weights:
            if not np.all(np.isfinite(weight.numpy())):
                raise NotFiniteError(f"the weight {weight.path} is no longer finite after epoch {epoch + 1}")


class OverfittingWatch(keras.callbacks.Callback):
    """Watches for catastrophic overfitting, which one-step training is prone to (Wong et al. 2020).

    The network learns to mask the single step: accuracy under FGSM rises while accuracy under PGD collapses. At the end
    of every epoch both are measured on held-out images and logged as `watch_fgsm_accuracy` and `watch_pgd_accuracy`. It
    counts as collapse when the latter falls below half of the best so far while the former does not fall.

    Args:
        images: float32 `(n, h, w, c)` in [0,1], held out; a batch is enough.
        labels: integers `(n,)`.
        epsilon: radius of the linf ball, in units of pixels in [0,1].
        fallback: attack that takes over the training of an `RSRModel` after a collapse, such as `PGD()`; from then on
            the log has `multi_step` = 1. `None`, the default, only warns.
    """

    def __init__(self, images, labels, *, epsilon, fallback=None):
        super().__init__()
        self.images = tf.constant(images, tf.float32)
        self.labels = tf.constant(labels, tf.int32)
        self.attacks = {
            "watch_fgsm_accuracy": FGSM(epsilon=epsilon),
            "watch_pgd_accuracy": PGD(epsilon=epsilon, step_size=epsilon / 4, steps=10),
        }
        self.fallback = fallback
        self.best_pgd = self.last_fgsm = 0.0

    def on_train_begin(self, logs=None):
        model_fn = functools.partial(self.model, training=False)

        @tf.function
        def measure():
            attacked = {
                name: attack(model_fn, self.images, self.labels, seed=0) for name, attack in self.attacks.items()
            }
            hits = {name: tf.argmax(model_fn(x), -1, tf.int32) == self.labels for name, x in attacked.items()}
            return {name: tf.reduce_mean(tf.cast(hit, tf.float32)) for name, hit in hits.items()}

        self._measure = measure

    def on_epoch_end(self, epoch, logs=None):
        accuracies = {name: float(accuracy) for name, accuracy in self._measure().items()}
        logs.update(accuracies)
        fgsm, pgd = accuracies.values()
        if pgd < 0.5 * self.best_pgd and fgsm >= self.last_fgsm:
            self._report_collapse(epoch, fgsm, pgd)
        self.remember(fgsm, pgd)
        if self.fallback is not None:
            logs["multi_step"] = float(self.model.attack is self.fallback)

    def remember(self, fgsm, pgd):
        """Take the accuracies of an epoch as those that the next is held against; for a run that goes on, too."""
        self.best_pgd, self.last_fgsm = max(self.best_pgd, pgd), fgsm

    def _report_collapse(self, epoch, fgsm, pgd):
        log.warning(
            "catastrophic overfitting in epoch %d: PGD accuracy fell from %.1f to %.1f %%, FGSM accuracy is %.1f %%",
            epoch + 1,
            100 * self.best_pgd,
            100 * pgd,
            100 * fgsm,
        )
        if self.fallback is not None and self.model.attack is not self.fallback:
            log.warning("training goes on with %d attack steps", self.fallback.steps)
            self.model.attack = self.fallback
            self.model.make_train_function(force=True)


class HistoryFile(keras.callbacks.Callback):
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
