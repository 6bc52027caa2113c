"""Starts and moves of the Square attack in the l2 ball (Andriushchenko et al. 2020, Section 3.4 and Algorithm 3).

In l2, a large change of few pixels costs as much as a small change of many. A move therefore empties one square window
of the change and spends what this frees, and what was not spent before, in another one.
"""

import numpy as np
import tensorflow as tf

from rsr_tf.attacks.norms import l2_norm, project_l2
from rsr_tf.attacks.selection import select

SMALLEST_SIDE = 3
"""Side of the smallest window: a smaller one has no centre."""
TILES = 5
"""Windows along each side of an image at the start."""


def tiled_start(x, epsilon, key):
    """Return starts on the sphere: the image in five by five tiles, each with one bump up and one down.

    Args:
        x: float32 `(n, h, w, c)` in [0,1].
        epsilon: l2 radius of the ball.
        key: int32 `(2,)`, the random seed: for the signs of each tile and channel, and where the bumps lie.

    Returns:
        float32 of the same shape, in the ball and in [0,1].
    """
    n, height, width, channels = x.shape
    side = max(1, min(height, width) // TILES)
    sign_key, turn_key = tf.unstack(tf.random.split(key))
    turned = tf.random.stateless_uniform((n, 1, 1), turn_key) < 0.5
    shape = bumps(_tiled(height, side)[:, :, tf.newaxis], _tiled(width, side)[:, tf.newaxis], side, turned)
    signs = random_signs((n, -(-height // side), -(-width // side), channels), sign_key)
    signs = tf.repeat(tf.repeat(signs, side, axis=1), side, axis=2)[:, :height, :width]
    change = shape[..., tf.newaxis] * signs
    return project_l2(x + epsilon * change / l2_norm(change), x, epsilon)


def move_window(kept, x, epsilon, side, key):
    """Move the change of one window of each image into another one, at random places.

    Args:
        kept: float32 `(n, h, w, c)`, images in the ball.
        x: the clean images, of the same shape.
        epsilon: l2 radius of the ball.
        side: side of both windows, an integer scalar.
        key: int32 `(2,)`, the random seed.

    Returns:
        float32 `(n, h, w, c)`, in the ball and in [0,1].
    """
    n, height, width, channels = x.shape
    row, column, old_row, old_column, turn, sign = tf.unstack(tf.random.split(key, 6))
    rows, columns = _place(n, height, side, row)[:, :, tf.newaxis], _place(n, width, side, column)[:, tf.newaxis]
    old_rows = _place(n, height, side, old_row)[:, :, tf.newaxis]
    old_columns = _place(n, width, side, old_column)[:, tf.newaxis]
    new = (_inside(rows, side) & _inside(columns, side))[..., tf.newaxis]
    both = new | (_inside(old_rows, side) & _inside(old_columns, side))[..., tf.newaxis]

    change = kept - x
    turned = tf.random.stateless_uniform((n, 1, 1), turn) < 0.5
    shape = tf.where(new, bumps(rows, columns, side, turned)[..., tf.newaxis], 0.0)
    shape = shape / _length(shape) * random_signs((n, 1, 1, channels), sign)
    inside = select(new, change, tf.zeros_like(change))
    shape += tf.math.divide_no_nan(inside, _length(inside))
    unspent = tf.maximum(epsilon**2 - l2_norm(change) ** 2, 0.0) / channels
    available = tf.sqrt(_length(select(both, change, tf.zeros_like(change))) ** 2 + unspent)
    moved = select(both, tf.zeros_like(change), change) + tf.math.divide_no_nan(shape, _length(shape)) * available
    return project_l2(x + moved, x, epsilon)


def bumps(row, column, side, turned):
    """Return the shape of a window: one bump up in one half and one down in the other (Eq. 2).

    A bump of a rectangle falls from its centre, in a ring of pixels after the other, as the tail of the sum of 1 / k^2.

    Args:
        row, column: integers `(n, h, 1)` and `(n, 1, w)`, or less, from 0 to `side - 1` in the window.
        side: side of the window, an integer scalar.
        turned: boolean `(n, 1, 1)`, whether the halves are above each other instead of side by side.

    Returns:
        float32 `(n, h, w)`; it means nothing outside of the window.
    """
    row, column = tf.broadcast_to(row, _shape(row, column)), tf.broadcast_to(column, _shape(row, column))
    along, across = tf.where(turned, column, row), tf.where(turned, row, column)
    first = side // 2
    in_first = across < first
    across = tf.where(in_first, across, across - first)
    centre = tf.where(in_first, first // 2, (side - first) // 2)
    ring = tf.maximum(tf.abs(along - first), tf.abs(across - centre))
    heights = tf.constant(np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, 2**12) ** 2)]), tf.float32)
    height = tf.gather(heights, tf.fill(tf.shape(ring), first + 1)) - tf.gather(heights, tf.minimum(ring, first))
    return tf.where(in_first, height, -height)


def random_signs(shape, key):
    """Draw plus or minus one, float32 of a shape."""
    return 2 * tf.cast(tf.random.stateless_uniform(shape, key, maxval=2, dtype=tf.int32), tf.float32) - 1


def _shape(row, column):
    return tf.broadcast_dynamic_shape(tf.shape(row), tf.shape(column))


def _tiled(length, side):
    return tf.range(length)[tf.newaxis] % side


def _place(n, length, side, key):
    """Return how far each pixel of a row is from the start of a window at a random place, integers `(n, length)`."""
    start = tf.random.stateless_uniform((n, 1), key, maxval=length - side + 1, dtype=tf.int32)
    return tf.range(length)[tf.newaxis] - start


def _inside(distance, side):
    return (distance >= 0) & (distance < side)


def _length(change):
    """Return the l2 norm of each image and channel, `(n, 1, 1, c)`."""
    return tf.sqrt(tf.reduce_sum(tf.square(change), axis=(1, 2), keepdims=True))
