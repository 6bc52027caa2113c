"""Checks of arguments, images and labels. NumPy only."""

import functools
import numbers
import warnings
import zlib

import numpy as np

REMEDY = "; divide them by 255, or put `keras.layers.Rescaling(255)` first in a network that takes 0 to 255"
LARGEST_COUNT = 2**31 - 2
"""Largest number that the loop of a graph counts to; some attacks take one step more than they are told."""


def checked(images, labels):
    """Check test images and labels, and return them in the types that evaluations use.

    Args:
        images: numbers `(n, ...)` in [0,1], such as `(n, h, w, c)`; n at least 1.
        labels: class numbers `(n,)` of any type, or `(n, 1)` as in `keras.datasets`.

    Returns:
        `(images, labels)` as float32 `(n, ...)` and int32 `(n,)`.

    Raises:
        ValueError: for pixels outside [0,1], labels that are not class numbers, or unequal numbers of both.
    """
    images, labels = np.asarray(images, np.float32), np.asarray(labels)
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(
            f"`images` and `labels` must be equal in number, at least one. Received: {len(images)} and {len(labels)}"
        )
    if images.ndim < 2 or images.size == 0:
        raise ValueError(f"`images` must be of shape (n, ...), such as (n, h, w, c). Received: shape {images.shape}")
    _check_pixels(images)
    if labels.shape not in ((len(labels),), (len(labels), 1)) or not _are_whole(labels) or labels.min() < 0:
        raise ValueError(
            "`labels` must be class numbers, whole numbers of at least 0 and of shape (n,). "
            f"Received: {_described(labels)}"
        )
    return images, labels.reshape(-1).astype(np.int32)


def check_batch(images, labels, *, classes, independent=False, where=" in the first batch"):
    """Check a batch for two errors that training would not notice: wrong pixel range, and labels without an output.

    Args:
        images: array `(n, ...)`.
        labels: class numbers `(n,)` or `(n, 1)` of any type, or probabilities `(n, classes)`; if `independent`, answers
            `(n, classes)`, or `(n,)` for one output.
        classes: number of outputs.
        independent: whether each output answers a yes-or-no question. Defaults to `False`.
        where: where the images are, for messages. Defaults to `" in the first batch"`.

    Raises:
        ValueError: for pixels outside [0,1]; class numbers that are fractions or outside [0, classes); probabilities
            that do not sum to 1; answers outside [-1, 1] or of another shape.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    _check_pixels(images, where)
    if independent:
        _check_answers(labels, classes)
    elif labels.ndim == 2 and labels.shape[-1] == classes:
        _check_probabilities(labels)
    else:
        _check_class_numbers(labels, classes, where)


def _check_class_numbers(labels, classes, where):
    if not _are_whole(labels) or labels.size != len(labels):
        raise ValueError(
            "`labels` must be class numbers, whole numbers of shape (n,) or (n, 1), or probabilities of shape "
            f"(n, {classes}). Received: {_described(labels)}"
        )
    if not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"`labels` must be in [0, {classes - 1}], as the network has {classes} logits. "
            f"Received: labels from {labels.min()} to {labels.max()}{where}"
        )


def _check_probabilities(labels):
    sums = labels.sum(axis=-1)
    if not np.allclose(sums, 1, atol=1e-2):
        raise ValueError(
            "`labels` of shape (n, classes) must be probabilities that sum to 1; for several labels at once, compile "
            f"with `keras.losses.BinaryCrossentropy`. Received: sums from {sums.min():g} to {sums.max():g}"
        )


def _check_answers(labels, outputs):
    fits = labels.shape == (len(labels), outputs) or (outputs == 1 and labels.ndim == 1)
    if not (fits and labels.dtype.kind in "biuf" and labels.min() >= -1 and labels.max() <= 1):  # also for NaN
        raise ValueError(
            f"`labels` must be of shape (n, {outputs}) and from 0 to 1, or -1 to 1 for hinge losses. "
            f"Received: {_described(labels)}"
        )


def _are_whole(labels):
    return labels.dtype.kind in "biu" or (labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all()))


def _described(labels):
    ordered = np.sort(labels, axis=None)  # unlike `min`, also for words
    return f"{labels.dtype} of shape {labels.shape}, from {ordered[0]} to {ordered[-1]}"


def _check_pixels(images, where=""):
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise ValueError(
            f"`images` must be in [0, 1]. Received: pixels from {low:g} to {high:g}{where}{REMEDY if high > 1 else ''}"
        )


def check_integers(least, **values):
    """Check that arguments are integers (also those of NumPy), not below a bound, and can be counted to within a graph.

    Args:
        least: smallest allowed value.
        **values: the arguments by name.

    Raises:
        ValueError: for the first one that is not.
    """
    for name, value in values.items():
        if not (isinstance(value, numbers.Integral) and value >= least):
            raise ValueError(f"`{name}` must be an integer of at least {least}. Received: {name}={value}")
        if value > LARGEST_COUNT:  # a loop to such a number ends at once
            raise ValueError(f"`{name}` must be at most {LARGEST_COUNT}, as a graph counts in int32. Received: {value}")


def fingerprint(images, labels):
    """Compute a checksum that identifies the images and labels of an evaluation.

    Args:
        images, labels: as returned by `checked`.

    Returns:
        An integer.
    """
    return zlib.crc32(np.ascontiguousarray(labels), zlib.crc32(np.ascontiguousarray(images)))


def renamed_argument(old, new):
    """Return a decorator that accepts an old keyword of a function or constructor, with a `DeprecationWarning`.

    Args:
        old: former name of the argument.
        new: its present name.

    Example:
        >>> @renamed_argument("draws", "eot_samples")
        ... class Attack:
        ...     def __init__(self, *, eot_samples=20): ...
    """

    def accepting_old_name(function):
        @functools.wraps(function)
        def function_with_old_name(*args, **kwargs):
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"`{old}` is the former name of `{new}`: pass only `{new}`")
                warnings.warn(f"`{old}` is now called `{new}`", DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return function_with_old_name

    def decorate(function_or_class):
        if not isinstance(function_or_class, type):
            return accepting_old_name(function_or_class)
        function_or_class.__init__ = accepting_old_name(function_or_class.__init__)
        return function_or_class

    return decorate
