"""How far adversarial images are from the clean ones, and how exactly float32 knows it."""

import numpy as np

ROUNDING = 1e-6
"""Allowance for the rounding of float32 in a pixel, or in a distance of at most 1; see `rounding`."""


def distances(x_adv, x, norm):
    """Return the distances of images from the clean ones, summed in float64.

    Args:
        x_adv: float32 `(n, ...)`.
        x: the clean images, of the same shape.
        norm: `"linf"` or `"l2"`.

    Returns:
        float64 `(n,)`.
    """
    difference = (x_adv - x).reshape(len(x), -1)
    return np.linalg.norm(difference.astype(np.float64), 2 if norm == "l2" else np.inf, axis=1)


def rounding(epsilon):
    """Return the allowance for the rounding of float32 in a distance of `epsilon`, a number."""
    return ROUNDING * max(1.0, epsilon)
