"""Linear networks, whose worst case under attack is known exactly."""

import numpy as np
import tensorflow as tf

SHAPE = (6, 6, 1)


def linear_classifier(classes, seed=0):
    """A linear network for which no class is likelier than another, its weights `(36, classes)` and biases."""
    weights = np.random.default_rng(seed).normal(size=(36, classes)).astype("float32")
    bias = -0.5 * weights.sum(0)
    return lambda x: tf.reshape(x, (-1, 36)) @ weights + bias, weights, bias


def random_images(n, seed=1):
    return np.random.default_rng(seed).uniform(size=(n, *SHAPE)).astype("float32")


def exact_robust(x, labels, weights, bias, epsilon):
    """Which images no point of the linf ball and the box breaks: the worst pixel is known for every other class."""
    x, robust = x.reshape(-1, 36), np.ones(len(x), bool)
    for other in range(weights.shape[1]):
        direction = (weights[:, [other]] - weights[:, labels]).T
        worst = np.clip(x + epsilon * np.sign(direction), 0, 1)
        robust &= (labels == other) | ((worst * direction).sum(1) + bias[other] - bias[labels] < 0)
    return robust


def exact_robust_in_l2(x, labels, weights, bias, epsilon):
    """Which images no point of the l2 ball breaks, for images so far from 0 and 1 that the ball is in the box."""
    x = x.reshape(len(x), -1)
    assert np.abs(x - 0.5).max() + epsilon <= 0.5
    scores = x @ weights + bias
    robust = np.ones(len(x), bool)
    for other in range(weights.shape[1]):
        steepness = np.linalg.norm(weights[:, [other]] - weights[:, labels], axis=0)
        ahead = scores[np.arange(len(x)), labels] - scores[:, other]
        robust &= (labels == other) | (ahead > epsilon * steepness)
    return robust


def rooted_classifier(guarded):
    """A linear network of two classes that reads the first pixel as the root of a ReLU alone, which is 0 below 0.5.

    Unless `guarded`, its gradient there is infinity times 0, which is no number.
    """
    model_fn, _, _ = linear_classifier(2)
    others = np.ones((1, *SHAPE), "float32")
    others[0, 0, 0] = 0

    def rooted(x):
        first = tf.nn.relu(x[:, 0, 0] - 0.5)
        return model_fn(x * others) + tf.sqrt(tf.maximum(first, 1e-12) if guarded else first) * [1.0, -1.0]

    return rooted
