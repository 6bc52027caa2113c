"""scikit-learn's digits: 1,797 gray images of 8x8, part of scikit-learn."""

import numpy as np

from rsr_tf.data.base import DataSet, Split
from rsr_tf.errors import require


def load(directory=None):
    """Load the digits. They have no test split; a quarter of each class is taken.

    Args:
        directory: not used.

    Returns:
        A `DataSet` without validation images; images are float32 `(n, 8, 8, 1)`.
    """
    train_test_split = require("sklearn.model_selection", extra="data").train_test_split
    digits = require("sklearn.datasets", extra="data").load_digits()
    images = (digits.images[..., np.newaxis] / 16).astype(np.float32)
    labels = digits.target.astype(np.int32)
    x_train, x_test, y_train, y_test = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    class_names = tuple(str(name) for name in digits.target_names)
    return DataSet("scikit-learn digits", Split(x_train, y_train), None, Split(x_test, y_test), class_names)
