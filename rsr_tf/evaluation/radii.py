"""The radii at which a suite attacks: that of its claim, and those of the curve of accuracy by epsilon."""

import math

from rsr_tf.attacks.norms import check_norm

EPSILON_FACTORS = (0.25, 0.5, 2, 4)
"""Factors of epsilon in the sweep, besides 0 and 1: from 2/255 to 32/255 for an epsilon of 8/255."""
WIDE_RADII = (64 / 255, 0.5)
"""Radii in every sweep, in units of the largest distance of two images. At 0.5 every image can become a uniform grey
one, so no network can be correct there."""


def largest_distance(norm, shape):
    """Return the largest distance of two images of a shape `(h, w, c)`: 1 in linf, the root of h w c in l2."""
    return 1.0 if norm == "linf" else math.sqrt(math.prod(shape))


def check_radius(epsilon, norm, shape):
    """Check the radius of an evaluation, and return the largest distance of two images of a shape `(h, w, c)`.

    Raises:
        ValueError: for an unknown norm, or an `epsilon` that is not positive or above this distance.
    """
    check_norm(norm, epsilon=epsilon)
    largest = largest_distance(norm, shape)
    if epsilon > largest:
        raise ValueError(
            f"`epsilon` must be at most {largest:.4g}, the largest {norm} distance of two images of {shape}. "
            f"Received: epsilon={epsilon}"
        )
    return largest


def other_radii(epsilon, largest=1.0):
    """Return the radii of the sweep besides 0 and `epsilon` itself, in ascending order and none above `largest`."""
    near = {min(largest, factor * epsilon) for factor in EPSILON_FACTORS}
    return sorted((near | {largest * radius for radius in WIDE_RADII}) - {epsilon})
