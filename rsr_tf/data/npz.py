"""A data set of the user in one .npz file."""

import numpy as np

from rsr_tf.data.base import DataSet, Split
from rsr_tf.files import expanded
from rsr_tf.files.arrays import array_headers, read_arrays

NAMES = ("x_train", "y_train", "x_test", "y_test")
MAX_CLASSES = 100_000
"""Larger labels are taken for a mistake, as they would build a network of that many logits."""


def load(directory):
    """Load and validate the arrays of an .npz file.

    Args:
        directory: path of a file with the arrays `x_train`, `y_train`, `x_test` and `y_test`: images `(n, h, w, c)`,
            uint8 or float in [0,1], and integer labels `(n,)`.

    Returns:
        A `DataSet` without validation images: the title is the name of the file, class names are numbers; images are
        uint8 or float32.

    Raises:
        FileNotFoundError: if `directory` is not a file.
        ValueError: if it is not an .npz file with these arrays.
    """
    path = expanded(directory or "")
    if not path.is_file():
        raise FileNotFoundError(
            f"`directory` must be the path of an .npz file with x_train, y_train, x_test, y_test. "
            f"Received: {str(directory)!r}"
        )
    try:
        headers = array_headers(path, NAMES)
    except ValueError as error:
        raise ValueError(
            f"`{path}` must be an .npz file with the arrays x_train, y_train, x_test, y_test. Received: {error}"
        ) from error
    _check_headers(headers, path)
    arrays = read_arrays(path, NAMES)
    train, test = (_checked(arrays[f"x_{name}"], arrays[f"y_{name}"], path) for name in ("train", "test"))
    class_names = tuple(str(index) for index in range(int(train.labels.max()) + 1))
    return DataSet(path.stem, train, None, test, class_names)


def _check_headers(headers, path):
    """Raise `ValueError` for wrong shapes or dtypes, before the arrays are unpacked."""
    for name in ("train", "test"):
        images, labels = headers[f"x_{name}"], headers[f"y_{name}"]
        is_one_each = len(images.shape) == 4 and labels.shape == images.shape[:1]
        if not (is_one_each and min(images.shape) > 0):
            raise ValueError(
                f"`{path}` must hold images (n, h, w, c) and as many labels (n,), at least one. "
                f"Received: images {images.shape} and labels {labels.shape}"
            )
        if not (images.dtype == np.uint8 or images.dtype.kind == "f") or labels.dtype.kind not in "iu":
            raise ValueError(
                f"`{path}` must hold images of uint8 or float and labels of integers. "
                f"Received: {images.dtype} and {labels.dtype}"
            )
    train, test = headers["x_train"].shape[1:], headers["x_test"].shape[1:]
    if train != test:
        raise ValueError(f"`{path}` must hold training and test images of one shape. Received: {train} and {test}")


def _checked(images, labels, path):
    """Return images and labels as a `Split`; raise `ValueError` for wrong labels, or images in another range."""
    if not (labels.min() >= 0 and labels.max() < MAX_CLASSES):
        raise ValueError(
            f"`{path}`: labels must be in [0, {MAX_CLASSES}). Received: labels from {labels.min()} to {labels.max()}"
        )
    if images.dtype == np.uint8 and images.max() <= 1:
        raise ValueError(
            f"`{path}`: images of uint8 are pixels from 0 to 255; save images in [0, 1] as floats. Received: no pixel "
            "above 1"
        )
    if images.dtype.kind == "f" and images.max() <= (1 + 1e-6) / 255:
        raise ValueError(
            f"`{path}`: images of floats are pixels from 0 to 1. Received: none above 1/255; divide by 255 only once"
        )
    return Split(images if images.dtype == np.uint8 else images.astype(np.float32), labels.astype(np.int32))
