"""The best epoch of an adversarial training, which is often not the last one (Rice et al. 2020), and early stopping."""

import keras

from rsr_tf.files import replacing
from rsr_tf.training.averaging import averaged_weights

MONITOR = "val_adversarial_accuracy"
"""What the best epoch has most of."""


class BestEpoch(keras.callbacks.Callback):
    """Callback that saves the network of the epoch with the highest adversarial validation accuracy so far.

    Of equal epochs the first is the best. It adds the number of the best epoch, counted from 1, to the logs of every
    epoch, as `best_epoch`; 0 says that no epoch has counted yet. List it before callbacks that use the logs, and before
    the checkpoint: the file of the epoch before is removed only when the next epoch begins, so after a kill there is
    always the one that belongs to the checkpoint. With `use_ema` the average of the weights is saved.

    Args:
        folder: `Path` of the folder for the file, `best-STAGE-EPOCH.keras`.
        stage: name of the training, such as `"train"`.
        first_epoch: number of epochs at the start that do not count. Defaults to 0.
        patience: number of epochs without a better one after which training stops, as in
            `keras.callbacks.EarlyStopping`. Defaults to 0, which never stops.
        writes: `False` for a process that only reads what the chief of its cluster writes. Defaults to `True`.

    Attributes:
        best: number of the best epoch so far, counted from 1; 0 if there is none.
        accuracy: its adversarial validation accuracy.

    Example:
        >>> import pathlib
        >>> callback = rsr_tf.training.best_epoch.BestEpoch(pathlib.Path("checkpoints"), "train", patience=2)
        >>> rsr = rsr_tf.RSRModel(model.inputs, model.outputs, attack=rsr_tf.attacks.PGD(steps=1))
        >>> rsr.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = rsr.fit(images, labels, validation_data=(images, labels), callbacks=[callback], verbose=0)
        >>> callback.path.name
        'best-train-0001.keras'
    """

    def __init__(self, folder, stage, *, first_epoch=0, patience=0, writes=True):
        super().__init__()
        self.folder = folder
        self.stage = stage
        self.first_epoch = first_epoch
        self.patience = patience
        self.writes = writes
        self._is_kept = True
        self._forget()

    @property
    def path(self):
        """`Path` of the file of the best epoch so far."""
        return self.folder / f"best-{self.stage}-{self.best:04d}.keras"

    def restore(self, rows):
        """Continue after the epochs of a history, and remove the files of epochs that are not the best of them.

        Args:
            rows: rows of the finished epochs, see `rsr_tf.training.callbacks.read_history`.

        Raises:
            ValueError: if the file of the best epoch is missing.
        """
        self._forget()
        self._is_kept = not rows or bool(rows[-1].get("best_epoch"))
        if not self._is_kept:  # an earlier version began this training
            return
        for epoch, row in enumerate(rows):
            self._remember(epoch, float(row.get(MONITOR) or "nan"))  # NaN is never better
        if self.best and not self.path.exists():
            raise ValueError(f"{self.path} not found. It is the network of the best epoch so far")
        self._remove_others()

    def is_over(self, epochs_done):
        """Return whether the patience is at its end after a number of epochs."""
        return bool(self.patience and self.best) and epochs_done - self.best >= self.patience

    def on_epoch_begin(self, epoch, logs=None):
        self._remove_others()

    def on_epoch_end(self, epoch, logs=None):
        if not self._is_kept:
            return
        accuracy = float(logs.get(MONITOR, "nan"))  # an epoch without validation is never better
        if self._remember(epoch, accuracy) and self.writes:
            with averaged_weights(self.model), replacing(self.path) as temporary:
                self.model.save(temporary)
        logs["best_epoch"] = float(self.best)
        if self.is_over(epoch + 1):
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self._remove_others()

    def _forget(self):
        self.best, self.accuracy = 0, float("-inf")

    def _remember(self, epoch, accuracy):
        """Record the accuracy of an epoch, and return whether it is the best so far."""
        is_better = epoch >= self.first_epoch and accuracy > self.accuracy
        if is_better:
            self.best, self.accuracy = epoch + 1, accuracy
        return is_better

    def _remove_others(self):
        for path in self.folder.glob(f"best-{self.stage}-*.keras") if self.writes else ():
            if path != self.path:
                path.unlink()
