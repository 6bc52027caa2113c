"""Checks of arguments, images and labels. NumPy only."""

import functools
import warnings
import zlib

import numpy as np

LARGEST_COUNT = 2**31 - 2
"""Largest number that the loop of a graph counts to; some attacks take one step more than they are told."""


def checked(images, labels):
    """Check test images and labels, and return them in the types that evaluations use.

    Args:
        images: numbers `(n, h, w, c)` in [0,1], n at least 1.
        labels: class numbers `(n,)` of any type, or `(n, 1)` as in `keras.datasets`.

    Returns:
        `(images, labels)` as float32 `(n, h, w, c)` and int32 `(n,)`.

    Raises:
        ValueError: for pixels outside [0,1], labels that are not class numbers, or unequal numbers of both.
    """
    images, labels = np.asarray(images, np.float32), np.asarray(labels)
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(
            f"`images` and `labels` must be equal in number, at least one. Received: {len(images)} and {len(labels)}"
        )
    if images.ndim != 4:
        raise ValueError(f"`images` must be of shape (n, h, w, c). Received: shape {images.shape}")
    _check_pixels(images)
    if labels.shape not in ((len(labels),), (len(labels), 1)) or not _are_whole(labels) or labels.min() < 0:
        raise ValueError(
            "`labels` must be class numbers, whole numbers of at least 0 and of shape (n,). "
            f"Received: {_described(labels)}"
        )
    return images, labels.reshape(-1).astype(np.int32)


def check_batch(images, labels, *, classes, where=" in the first batch"):
    """Check a batch for two errors that training would not notice: wrong pixel range, and labels without a logit.

    Args:
        images: array `(n, h, w, c)`.
        labels: class numbers `(n,)` or `(n, 1)` of any type, or probabilities `(n, classes)`.
        classes: number of logits.
        where: where the images are, for messages. Defaults to `" in the first batch"`.

    Raises:
        ValueError: for pixels outside [0,1], or class numbers that are fractions or outside [0, classes).
    """
    images, labels = np.asarray(images), np.asarray(labels)
    _check_pixels(images, where)
    if labels.ndim == 2 and labels.shape[-1] == classes:
        return
    if not _are_whole(labels):
        raise ValueError(
            "`labels` must be class numbers, whole numbers of shape (n,) or (n, 1), or probabilities of shape "
            f"(n, {classes}). Received: {_described(labels)}"
        )
    if not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"`labels` must be in [0, {classes - 1}], as the network has {classes} logits. "
            f"Received: labels from {labels.min()} to {labels.max()}{where}"
        )


def _are_whole(labels):
    return labels.dtype.kind in "biu" or (labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all()))


def _described(labels):
    ordered = np.sort(labels, axis=None)  # unlike `min`, also for words
    return f"{labels.dtype} of shape {labels.shape}, from {ordered[0]} to {ordered[-1]}"


def _check_pixels(images, where=""):
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise ValueError(f"`images` must be in [0, 1]. Received: pixels from {low:g} to {high:g}{where}")


def check_integers(least, **values):
    """Check that arguments are integers, not below a bound, and can be counted to within a graph.

    Args:
        least: smallest allowed value.
        **values: the arguments by name.

    Raises:
        ValueError: for the first one that is not.
    """
    for name, value in values.items():
        if not (isinstance(value, int) and value >= least):
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
