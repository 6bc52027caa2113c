"""What TensorBoard shows of a training first: adversarial accuracy, sparsity, noise; settings; images under attack."""

import contextlib

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api

from rsr_tf.layers import prunable_kernels
from rsr_tf.training.shown_images import as_shown

FIRST = "1_overview"
"""Group of the scalars that TensorBoard lists before those of Keras, which sorts groups by name."""
BY_LAYER = "2_noise_of_layers"
HISTOGRAMS = "weights"


class Overview(keras.callbacks.Callback):
    """Writes what matters of an `RSRModel` for TensorBoard, beside `keras.callbacks.TensorBoard`.

    - Scalars of each epoch, before all others: adversarial accuracy (of the validation images if there are any),
      sparsity, and the mean |alpha| of Eq. 4; the last one of each layer, too.
    - Histograms of kernels and noise scales, except constant ones.
    - The settings, for the tab "HParams".
    - At the end a few images and what the attack makes of them.

    Args:
        folder: path of the folder for the file of events.
        settings: dict of names and values, of which those that are no numbers or booleans are shown as text. Defaults
            to none.
        images, labels: a few images, float32 `(n, h, w, c)` in [0,1], and their labels, to be shown. Default to `None`,
            which shows none.

    Example:
        >>> from rsr_tf.training.tensorboard import Overview
        >>> model = rsr_tf.RSRModel.from_network(rsr_tf.models.small_cnn())  # doctest: +SKIP
        >>> model.fit(x, y, callbacks=[Overview("logs", {"seed": 0}, x[:4], y[:4])])  # doctest: +SKIP
    """

    def __init__(self, folder, settings=None, images=None, labels=None):
        super().__init__()
        self.folder = folder
        self.settings = settings or {}
        self.images, self.labels = images, labels
        self._epochs = 0

    def on_train_begin(self, logs=None):
        self._writer = tf.summary.create_file_writer(str(self.folder))
        if self.settings:
            with self._writer.as_default():
                api.hparams({name: _shown(value) for name, value in self.settings.items()})

    def on_epoch_end(self, epoch, logs=None):
        self._epochs, kernels = epoch + 1, prunable_kernels(self.model)
        scales = {path: np.abs(kernel.alpha) for path, kernel in kernels.items() if kernel.alpha is not None}
        scalars = {
            "adversarial_accuracy": logs.get("val_adversarial_accuracy", logs.get("adversarial_accuracy")),
            "sparsity": logs.get("sparsity"),
            "mean_alpha": np.mean(np.concatenate([np.ravel(scale) for scale in scales.values()])) if scales else None,
        }
        with self._writer.as_default(step=epoch):
            for name, value in scalars.items():
                if value is not None:
                    tf.summary.scalar(f"{FIRST}/{name}", value)
            for path, scale in scales.items():
                tf.summary.scalar(f"{BY_LAYER}/{path}", np.mean(scale))
            for path, kernel in kernels.items():
                _write_histogram(f"{HISTOGRAMS}/{path}/kernel", kernel.kernel)
                _write_histogram(f"{HISTOGRAMS}/{path}/alpha", kernel.alpha)

    def on_train_end(self, logs=None):
        if self.images is not None and self._epochs:
            with self._writer.as_default(step=self._epochs - 1):
                tf.summary.image("images/clean", as_shown(self.images), max_outputs=len(self.images))
                adversarial = attacked_images(self.model, self.images, self.labels)
                if adversarial is not None:
                    tf.summary.image("images/adversarial", as_shown(adversarial), max_outputs=len(self.images))
        self._writer.close()


def attacked_images(model, images, labels):
    """Return images under the attack of an `RSRModel`, and leave its generators of random numbers as they were.

    Args:
        model: a compiled `RSRModel`.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: their labels.

    Returns:
        A tensor like `images`; `None` without an attack, or for a model on several devices.
    """
    if model.attack is None or model.distribute_strategy.num_replicas_in_sync > 1:
        return None
    x, y = tf.constant(images), tf.constant(labels)
    with _same_random_numbers(model):
        return model.attacked(lambda pixels: model(pixels, training=False), x, y, y)


@contextlib.contextmanager
def _same_random_numbers(model):
    """Restore the integer variables of a model, so that a training goes on as if nothing had been drawn."""
    kept = [(variable, variable.numpy()) for variable in model.variables if "int" in variable.dtype]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)


def _write_histogram(name, variable):
    if variable is not None:
        values = np.asarray(variable)
        if np.min(values) < np.max(values):
            tf.summary.histogram(name, values)


def _shown(value):
    return value if isinstance(value, bool | int | float | str) else str(value)
