"""The digits of scikit-learn, an undefended network for them, and its evaluation: what planted fakes are made of."""

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

from rsr_tf.evaluation import run_suite

EPSILON = 0.2
DIGITS = load_digits()
IMAGES = (DIGITS.images / 16).astype("float32")[..., np.newaxis]
LABELS = DIGITS.target.astype("int32")
TRAIN, TEST = slice(0, 1400), slice(1400, 1500)
PIXELS = IMAGES.reshape(len(IMAGES), -1)

RIDGE = PIXELS[TRAIN].T @ PIXELS[TRAIN] + 3 * np.eye(64)
LEAST_SQUARES = np.linalg.solve(RIDGE, PIXELS[TRAIN].T @ np.eye(10)[LABELS[TRAIN]]).astype("float32")
CENTROIDS = np.stack([PIXELS[TRAIN][LABELS[TRAIN] == label].mean(0) for label in range(10)]).astype("float32")


def undefended(x):
    """Classify digits by least squares: accurate without an attack, and not robust."""
    return 10 * (tf.reshape(x, (-1, 64)) @ LEAST_SQUARES)


def nearest_centroid(x):
    """Classify digits by the nearest centroid, which is robust."""
    return tf.reshape(x, (-1, 64)) @ CENTROIDS.T - 0.5 * np.sum(CENTROIDS**2, axis=1)


def per_image_normal(x, size):
    return tf.random.normal((tf.shape(x)[0], size))


def evaluate(model_fn, epsilon=EPSILON, **options):
    return run_suite(model_fn, IMAGES[TEST], LABELS[TEST], epsilon=epsilon, **options)


def failed(verdict):
    return {check["name"] for check in verdict["checks"] if not check["passed"]}


def linear_network():
    """A linear network of stock layers that knows the digits."""
    dense = keras.layers.Dense(10)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense])
    dense.set_weights([30 * LEAST_SQUARES, np.zeros(10)])
    return model
