"""Data sets as arrays, and arrays as `tf.data` pipelines.

To add a source, write a loader in a new module, and add it to `LOADERS`, and its name to `rsr_tf.choices`.
"""

import dataclasses
import functools
import inspect

import numpy as np

from rsr_tf.data import cifar, digits, folder, npz, tfds
from rsr_tf.data.augmentation import Augmentation
from rsr_tf.data.base import DataSet, Split, as_pixels, channel_statistics
from rsr_tf.data.pipeline import balanced_weights, batches, steps_per_epoch, training_batches
from rsr_tf.data.reading import reading_errors
from rsr_tf.data.stored import StoredImages

ANY_NAME = ":NAME"
"""End of a key of `LOADERS` that stands for any name, which is the first argument of the loader."""
LOADERS = {
    "digits": digits.load,
    **{name: functools.partial(cifar.load, name) for name in cifar.DATA_SETS},
    "npz": npz.load,
    "folder": folder.load,
    "tfds:NAME": tfds.load,
}
"""Name in a config (`data.name`) -> function of `directory` that returns a `DataSet`.

A source without validation images of its own returns `None` for them, and some training images are held out. The
keyword-only arguments of the function are the options of `load` that the source uses.
"""

__all__ = [
    "LOADERS",
    "Augmentation",
    "DataSet",
    "Split",
    "StoredImages",
    "as_pixels",
    "balanced_weights",
    "batches",
    "channel_statistics",
    "load",
    "reading_errors",
    "steps_per_epoch",
    "training_batches",
]


def load(name, *, directory=None, validation=0.1, seed=0, **options):
    """Load a data set by name, and hold out part of its training images for validation.

    Args:
        name: string, a key of `LOADERS`: `"digits"` (part of scikit-learn), `"cifar10"` (from TFDS), `"npz"` (a file of
            the user), `"folder"` (images of the user, a subfolder for each class), or `"tfds:mnist"` and the like (any
            classification data set of TFDS).
        directory: for `"cifar10"` and `"tfds:NAME"`, path of a folder with a copy prepared by TFDS; without it TFDS
            downloads. For `"npz"`, path of a file with the arrays `x_train`, `y_train`, `x_test`, `y_test`: images
            `(n, h, w, c)`, uint8 or float in [0,1], and integer labels `(n,)`. For `"folder"`, path of the folder.
            Defaults to `None`.
        validation: number in (0, 1), share of the training images that is held out, unless the source has validation
            images of its own. Defaults to 0.1.
        seed: integer that selects the held-out images. Defaults to 0.
        **options: `resize` (`(height, width)`), `cache` (`"auto"`, `"memory"`, `"stream"`) and `test` (share of each
            class) of `"folder"`, see `rsr_tf.data.folder.load`; `resize` and `cache` of `"tfds:NAME"`, too.

    Returns:
        A `DataSet`.

    Raises:
        ValueError: if `name` is unknown, `validation` is outside (0, 1) or leaves no training image, the source does
            not use an option, or a file has invalid arrays or a single class.
        FileNotFoundError: if the data is missing; the message says how to get it.

    Example:
        >>> digits = rsr_tf.data.load("digits")
        >>> digits.title, len(digits.train), len(digits.validation), len(digits.test)
        ('scikit-learn digits', 1212, 135, 450)
    """
    loader = _loader(name)
    if not 0 < validation < 1:
        raise ValueError(f"`validation` must be in (0, 1). Received: validation={validation}")
    for option, value in options.items():
        if option not in _used_options(loader):
            used = [key for key, each in LOADERS.items() if option in _used_options(each)]
            raise ValueError(f"`{option}` is used by {', '.join(used) or 'no source'}. Received: {value!r} with {name}")
    data_set = loader(directory, **options)
    if len(data_set.class_names) < 2:
        raise ValueError(f"`{name}` must have two classes or more. Received: {data_set.class_names}")
    if data_set.validation is None:
        order = np.random.default_rng(seed).permutation(len(data_set.train))
        held_out = max(1, round(validation * len(order)))
        if held_out == len(order):
            raise ValueError(
                f"`validation` must leave some of the {len(order)} training images. Received: validation={validation}"
            )
        splits = {"validation": order[:held_out], "train": order[held_out:]}
        splits = {split: data_set.train.take(chosen) for split, chosen in splits.items()}
        data_set = dataclasses.replace(data_set, **splits)
    return data_set


def _loader(name):
    """Return the function of `directory` that loads a data set."""
    kind, _, rest = name.partition(":")
    if rest and kind + ANY_NAME in LOADERS:
        return functools.partial(LOADERS[kind + ANY_NAME], rest)
    if name not in LOADERS or name.endswith(ANY_NAME):
        raise ValueError(f"`name` must be one of {tuple(LOADERS)}. Received: name={name!r}")
    return LOADERS[name]


def _used_options(loader):
    parameters = inspect.signature(loader).parameters.values()
    return [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
