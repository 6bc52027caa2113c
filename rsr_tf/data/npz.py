"""A data set of the user in one .npz file."""

import zipfile
from pathlib import Path

import numpy as np

from rsr_tf.data.base import Split
from rsr_tf.errors import first_line

MAX_CLASSES = 100_000
"""Larger labels are taken for a mistake, as they would build a network of that many logits."""


def load(directory):
    """Load and validate the arrays of an .npz file.

    Args:
        directory: path of a file with the arrays `x_train`, `y_train`, `x_test` and `y_test`: images `(n, h, w, c)`,
            uint8 or float in [0,1], and integer labels `(n,)`.

    Returns:
        A tuple `(title, train, test, class_names)`: the title is the name of the file, class names are numbers; images
        are uint8 or float32.

    Raises:
        FileNotFoundError: if `directory` is not a file.
        ValueError: if it is not an .npz file with these arrays.
    """
    path = Path(directory or "").expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"`directory` must be the path of an .npz file with x_train, y_train, x_test, y_test. "
            f"Received: {str(directory)!r}"
        )
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            x_train, y_train, x_test, y_test = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    except (KeyError, ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`{path}` must be an .npz file with the arrays x_train, y_train, x_test, y_test. "
            f"Received: {first_line(error)}"
        ) from error
    train, test = (_checked(*pair, path) for pair in ((x_train, y_train), (x_test, y_test)))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"`{path}` must hold training and test images of one shape. "
            f"Received: {train.images.shape[1:]} and {test.images.shape[1:]}"
        )
    return path.stem, train, test, [str(index) for index in range(int(train.labels.max()) + 1)]


def _checked(images, labels, path):
    """Return images and labels as a `Split`; raise `ValueError` for wrong shapes, dtypes or labels."""
    if not (images.ndim == 4 and labels.ndim == 1 and len(images) == len(labels) > 0):
        raise ValueError(
            f"`{path}` must hold images (n, h, w, c) and as many labels (n,), at least one. "
            f"Received: images {images.shape} and labels {labels.shape}"
        )
    if not (images.dtype == np.uint8 or images.dtype.kind == "f") or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`{path}` must hold images of uint8 or float and labels of integers. "
            f"Received: {images.dtype} and {labels.dtype}"
        )
    if not (labels.min() >= 0 and labels.max() < MAX_CLASSES):
        raise ValueError(
            f"`{path}`: labels must be in [0, {MAX_CLASSES}). Received: labels from {labels.min()} to {labels.max()}"
        )
    return Split(images if images.dtype == np.uint8 else images.astype(np.float32), labels.astype(np.int32))
