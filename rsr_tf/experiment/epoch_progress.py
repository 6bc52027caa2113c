"""The callback that tells how far a training is."""

import logging
import time

import keras

log = logging.getLogger(__name__)

SHOWN = {
    "accuracy": ("clean", "{:.0%}"),
    "adversarial_accuracy": ("adversarial", "{:.0%}"),
    "loss": ("loss", "{:.3f}"),
}
"""Keys of the logs of Keras, and the words and formats for them."""
INTERVAL = 0.1
"""Seconds between two looks at the numbers, each of which waits for the device."""


class EpochProgress(keras.callbacks.Callback):
    """Tells a task of steps, loss and accuracies.

    Args:
        task: a `rsr_tf.progress.Task` whose units are epochs.
    """

    def __init__(self, task):
        super().__init__()
        self.task = task
        self._next = 0.0

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() < self._next:
            return
        steps = self.params["steps"]
        self.task.within((batch + 1) / steps, f"step {batch + 1} of {steps}, {describe_logs(logs)}")
        self._next = time.monotonic() + INTERVAL

    def on_epoch_end(self, epoch, logs=None):
        log.debug("%s %s: %s", self.task.title, self.task.position, describe_logs(logs))
        self.task.advance()


def describe_logs(logs):
    """Return clean and adversarial accuracy and loss as text.

    Args:
        logs: dict of the logs that Keras gives to a callback.

    Example:
        >>> from rsr_tf.experiment.epoch_progress import describe_logs
        >>> describe_logs({"loss": 1.25, "accuracy": 0.5, "adversarial_accuracy": 0.25, "lasso": 3.0})
        'clean 50%, adversarial 25%, loss 1.250'
    """
    return ", ".join(
        f"{word} {form.format(float(logs[key]))}" for key, (word, form) in SHOWN.items() if key in (logs or {})
    )
