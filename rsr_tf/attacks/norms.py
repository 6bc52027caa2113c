"""Steps, starts and projections in the linf and in the l2 ball."""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from rsr_tf.attacks.pgd import project_linf, random_start, sign_step

PER_IMAGE = (1, 2, 3)
"""Axes of a batch of images over which a norm is taken."""


class Geometry(NamedTuple):
    """The three parts of an attack that depend on the norm.

    Args:
        start: `(x, epsilon, seed) -> x_adv`, a random point of the ball round `x`.
        step: `(x_adv, gradient, step_size) -> x_adv`, the steepest ascent of a length, before projection.
        project: `(x_adv, x, epsilon) -> x_adv`, into the ball round `x` and into [0,1].
    """

    start: Callable
    step: Callable
    project: Callable


def l2_step(x, gradient, step_size):
    """A step of an l2 length along the gradient of each image; none where the gradient is zero."""
    return x + step_size * _unit(gradient)


def project_l2(x_adv, x, epsilon):
    """Projection onto the l2 ball of radius `epsilon` round `x`, and from there onto [0,1], which leaves no ball."""
    difference = x_adv - x
    length = l2_norm(difference)
    return tf.clip_by_value(x + difference * tf.minimum(1.0, epsilon / tf.maximum(length, 1e-12)), 0.0, 1.0)


def l2_start(x, epsilon, seed=None):
    """A point drawn evenly from the l2 ball round `x`, cut to [0,1]; `seed` as for `keras.random.uniform`.

    It is a point of the sphere in two more dimensions without its last two coordinates (Voelker et al. 2017).
    """
    size = math.prod(x.shape[1:])
    numbers = keras.random.normal(tf.stack([tf.shape(x)[0], size + 2]), dtype="float32", seed=seed)
    sphere = numbers / tf.norm(numbers, axis=1, keepdims=True)
    return tf.clip_by_value(x + epsilon * tf.reshape(sphere[:, :size], tf.shape(x)), 0.0, 1.0)


def l2_norm(images):
    """Length of each image `(n, h, w, c)` as `(n, 1, 1, 1)`."""
    return tf.sqrt(tf.reduce_sum(tf.square(images), axis=PER_IMAGE, keepdims=True))


def _unit(vectors):
    """Each image at length 1, zero at zero; scaled first, as the squares of a saturated loss's gradient would be 0."""
    largest = tf.reduce_max(tf.abs(vectors), axis=PER_IMAGE, keepdims=True)
    scaled = tf.math.divide_no_nan(vectors, largest)
    return tf.math.divide_no_nan(scaled, l2_norm(scaled))


GEOMETRIES = {
    "linf": Geometry(random_start, sign_step, project_linf),
    "l2": Geometry(l2_start, l2_step, project_l2),
}
