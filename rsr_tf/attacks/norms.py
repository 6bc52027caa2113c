"""Random starts, steps and projections in the linf and the l2 ball: the parts of an attack that depend on the norm."""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf


class Norm(NamedTuple):
    """The functions of an attack that depend on the norm.

    Args:
        start: `(x, epsilon, seed) -> x_adv`, a random point of the ball around `x`, clipped to [0,1].
        step: `(x_adv, gradient, step_size) -> x_adv`, the step of steepest ascent, not projected.
        project: `(x_adv, x, epsilon) -> x_adv`, projection onto the ball around `x` and onto [0,1].
        distance: `(x_adv, x) -> (n, 1, ...)`, the distance of each image from the clean one.
    """

    start: Callable
    step: Callable
    project: Callable
    distance: Callable


def random_start(x, epsilon, seed=None):
    """Draw a uniform random point of the linf ball around each image, clipped to [0,1].

    Args:
        x: float32 `(n, h, w, c)` in [0,1].
        epsilon: radius of the ball, in units of pixels in [0,1].
        seed: as for `keras.random.uniform`. Defaults to `None`.

    Returns:
        float32 of the shape of `x`.

    Example:
        >>> start = rsr_tf.attacks.random_start(x, 8 / 255, seed=0)
        >>> bool(tf.reduce_max(tf.abs(start - x)) <= 8 / 255 + 1e-6)
        True
    """
    noise = keras.random.uniform(tf.shape(x), -epsilon, epsilon, dtype="float32", seed=seed)
    return tf.clip_by_value(x + noise, 0.0, 1.0)


def sign_step(x, gradient, step_size):
    """Move every pixel by the same length in the direction of the gradient's sign (Eq. 1 and 2).

    Args:
        x: float32 `(n, h, w, c)`.
        gradient: gradient of the loss, of the same shape.
        step_size: length, in units of pixels in [0,1].

    Returns:
        float32 of the same shape, not projected.

    Example:
        >>> rsr_tf.attacks.sign_step(tf.constant([0.5, 0.5]), tf.constant([3.0, -0.1]), 0.25).numpy()
        array([0.75, 0.25], dtype=float32)
    """
    return x + step_size * tf.sign(gradient)


def project_linf(x_adv, x, epsilon):
    """Project onto the linf ball around the clean images and onto [0,1] (the projection of Eq. 2).

    Args:
        x_adv: float32 `(n, h, w, c)`.
        x: the clean images, of the same shape.
        epsilon: radius of the ball, in units of pixels in [0,1].

    Returns:
        float32 of the same shape.

    Example:
        >>> rsr_tf.attacks.project_linf(tf.constant([0.9, 0.5]), tf.constant([0.5, 0.5]), 0.25).numpy()
        array([0.75, 0.5 ], dtype=float32)
    """
    return tf.clip_by_value(x + tf.clip_by_value(x_adv - x, -epsilon, epsilon), 0.0, 1.0)


def l2_start(x, epsilon, seed=None):
    """Draw a uniform random point of the l2 ball around each image, clipped to [0,1].

    A uniform point of the sphere in two more dimensions, without its last two coordinates, is uniform in the ball
    (Voelker et al. 2017).

    Args:
        x: float32 `(n, h, w, c)` in [0,1].
        epsilon: radius of the ball.
        seed: as for `keras.random.normal`. Defaults to `None`.

    Returns:
        float32 of the shape of `x`.
    """
    size = math.prod(x.shape[1:])
    numbers = keras.random.normal(tf.stack([tf.shape(x)[0], size + 2]), dtype="float32", seed=seed)
    sphere = numbers / tf.norm(numbers, axis=1, keepdims=True)
    return tf.clip_by_value(x + epsilon * tf.reshape(sphere[:, :size], tf.shape(x)), 0.0, 1.0)


def l2_step(x, gradient, step_size):
    """Move each image by an l2 length along its gradient; an image with a zero gradient does not move.

    Args:
        x: float32 `(n, h, w, c)`.
        gradient: gradient of the loss, of the same shape.
        step_size: l2 length of the step.

    Returns:
        float32 of the same shape, not projected.
    """
    return x + step_size * _unit(gradient)


def project_l2(x_adv, x, epsilon):
    """Project onto the l2 ball around the clean images, then onto [0,1].

    Clipping to [0,1] only moves towards `x`, so the result is still in the ball.

    Args:
        x_adv: float32 `(n, h, w, c)`.
        x: the clean images, of the same shape.
        epsilon: radius of the ball.

    Returns:
        float32 of the same shape.
    """
    difference = x_adv - x
    length = l2_norm(difference)
    return tf.clip_by_value(x + difference * tf.minimum(1.0, epsilon / tf.maximum(length, 1e-12)), 0.0, 1.0)


def l2_norm(images):
    """Compute the l2 norm of each image `(n, h, w, c)` or other input `(n, ...)`, as `(n, 1, ...)` of the same rank."""
    return tf.sqrt(tf.reduce_sum(tf.square(images), axis=image_axes(images), keepdims=True))


def linf_distance(x_adv, x):
    """Compute the linf distance of each image `(n, ...)` from the clean one, as `(n, 1, ...)` of the same rank."""
    return tf.reduce_max(tf.abs(x_adv - x), axis=image_axes(x), keepdims=True)


def l2_distance(x_adv, x):
    """Compute the l2 distance of each image `(n, ...)` from the clean one, as `(n, 1, ...)` of the same rank."""
    return l2_norm(x_adv - x)


def image_axes(images):
    """Return all axes of images `(n, ...)` but the first, as a tuple."""
    return tuple(range(1, len(images.shape)))


def per_image(values, images):
    """Reshape `(n,)` to `(n, 1, ...)`, to broadcast over images `(n, ...)` of any rank."""
    return tf.reshape(values, (-1, *(1 for _ in image_axes(images))))


def _unit(vectors):
    """Scale each image to l2 norm 1; zero stays zero.

    Dividing by the maximum first keeps the squares of very small gradients (of a saturated loss) from becoming zero.
    """
    largest = tf.reduce_max(tf.abs(vectors), axis=image_axes(vectors), keepdims=True)
    scaled = tf.math.divide_no_nan(vectors, largest)
    return tf.math.divide_no_nan(scaled, l2_norm(scaled))


NORMS = {
    "linf": Norm(random_start, sign_step, project_linf, linf_distance),
    "l2": Norm(l2_start, l2_step, project_l2, l2_distance),
}
"""The norms by the name used for the argument `norm` of an attack."""


def check_norm(norm, **lengths):
    """Check the name of a norm, and lengths measured in it.

    Args:
        norm: a key of `NORMS`.
        **lengths: numbers by argument name, such as `epsilon=8 / 255`: positive, and in linf at most 1.

    Raises:
        ValueError: for an unknown norm, or a length out of range.
    """
    if norm not in NORMS:
        raise ValueError(f"`norm` must be one of {tuple(NORMS)}. Received: norm={norm!r}")
    for name, value in lengths.items():
        if norm == "linf" and not 0 < value <= 1:
            raise ValueError(f"`{name}` must be in (0, 1]. Received: {name}={value}")
        if not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
