"""Data sets as arrays, and arrays as `tf.data` pipelines.

To add a source, write a loader in a new module, and add it to `LOADERS`, and its name to `rsr_tf.choices`.
"""

import functools

import numpy as np

from rsr_tf.data import cifar, digits, npz
from rsr_tf.data.base import DataSet, Split, as_pixels, channel_statistics
from rsr_tf.data.pipeline import batches, steps_per_epoch, training_batches

LOADERS = {
    "digits": digits.load,
    **{name: functools.partial(cifar.load, name) for name in cifar.DATA_SETS},
    "npz": npz.load,
}
"""Name in a config (`data.name`) -> function of `directory` that returns `(title, train, test, class_names)`."""

__all__ = [
    "LOADERS",
    "DataSet",
    "Split",
    "as_pixels",
    "batches",
    "channel_statistics",
    "load",
    "steps_per_epoch",
    "training_batches",
]


def load(name, *, directory=None, validation=0.1, seed=0):
    """Load a data set by name, and hold out part of its training images for validation.

    Args:
        name: string, a key of `LOADERS`: `"digits"` (part of scikit-learn), `"cifar10"` (from TFDS), or `"npz"` (a file
            of the user).
        directory: for `"cifar10"`, path of a folder with a copy prepared by TFDS; without it TFDS downloads. For
            `"npz"`, path of a file with the arrays `x_train`, `y_train`, `x_test`, `y_test`: images `(n, h, w, c)`,
            uint8 or float in [0,1], and integer labels `(n,)`. Defaults to `None`.
        validation: number in (0, 1), share of the training images that is held out. Defaults to 0.1.
        seed: integer that selects the held-out images. Defaults to 0.

    Returns:
        A `DataSet`.

    Raises:
        ValueError: if `name` is unknown, `validation` is outside (0, 1), or a file has invalid arrays.
        FileNotFoundError: if the data is missing; the message says how to get it.

    Example:
        >>> digits = rsr_tf.data.load("digits")
        >>> digits.title, len(digits.train), len(digits.validation), len(digits.test)
        ('scikit-learn digits', 1212, 135, 450)
    """
    if name not in LOADERS:
        raise ValueError(f"`name` must be one of {tuple(LOADERS)}. Received: name={name!r}")
    if not 0 < validation < 1:
        raise ValueError(f"`validation` must be in (0, 1). Received: validation={validation}")
    title, train, test, class_names = LOADERS[name](directory)
    order = np.random.default_rng(seed).permutation(len(train))
    held_out = max(1, round(validation * len(train)))
    validation_split = Split(train.images[order[:held_out]], train.labels[order[:held_out]])
    train_split = Split(train.images[order[held_out:]], train.labels[order[held_out:]])
    return DataSet(title, train_split, validation_split, test, tuple(class_names))
