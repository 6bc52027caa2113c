"""Certified radii of networks with noise on pixels or features, and the confidence bounds that they need.

A network with a noise layer is robust, with a proof, where its mean prediction over the noise is clear enough: PixelDP
(Lecuyer et al. 2019) by differential privacy, randomized smoothing (Cohen et al. 2019) by a tighter argument for the
same network. `rsr_tf.evaluation.certification.certify` measures the mean predictions.

In all functions `sensitivity` is a bound on how much the input of the noise layer changes for a change of the image of
norm 1: 1 for noise on the pixels themselves; see `convolution_sensitivity` for noise after a first convolution.
"""

import math

import numpy as np
import scipy.stats
import tensorflow as tf

LARGEST_DELTA = 0.3
"""Largest delta that is tried for a certified radius, as in PixelDP's implementation."""


def gaussian_std(radius, *, epsilon=1.0, delta=0.05, sensitivity=1.0):
    """Return the standard deviation of Gaussian noise that is differentially private for changes of an l2 norm.

        sigma = sensitivity * radius * sqrt(2 ln(1.25 / delta)) / epsilon

    (Lecuyer et al. 2019; Dwork and Roth 2014, Theorem A.1, for `epsilon` of at most 1.)

    Args:
        radius: positive number, l2 norm L of the changes in units of pixels: PixelDP's construction attack bound.
        epsilon, delta: numbers in (0, 1], parameters of differential privacy. Default to 1 and 0.05, as in PixelDP.
        sensitivity: positive number, see above. Defaults to 1.

    Returns:
        A float, the `std` for `rsr_tf.layers.FeatureNoise`.

    Raises:
        ValueError: for an argument outside its range.

    Example:
        >>> round(rsr_tf.evaluation.gaussian_std(0.1), 6)
        0.253727
    """
    _check_positive(radius=radius, epsilon=epsilon, delta=delta, sensitivity=sensitivity)
    _check_at_most_one(epsilon=epsilon, delta=delta)
    return sensitivity * radius * math.sqrt(2 * math.log(1.25 / delta)) / epsilon


def laplace_scale(radius, *, epsilon=1.0, sensitivity=1.0):
    """Return the scale of Laplace noise that is differentially private for changes of an l1 norm.

        b = sensitivity * radius / epsilon

    (Lecuyer et al. 2019.) The standard deviation of this noise is `sqrt(2) * b`.

    Args:
        radius: positive number, l1 norm L of the changes in units of pixels.
        epsilon: positive number, parameter of differential privacy. Defaults to 1.
        sensitivity: positive number, see above, for the l1 norm. Defaults to 1.

    Returns:
        A float.

    Raises:
        ValueError: for an argument that is not positive.

    Example:
        >>> rsr_tf.evaluation.laplace_scale(0.5)
        0.5
    """
    _check_positive(radius=radius, epsilon=epsilon, sensitivity=sensitivity)
    return sensitivity * radius / epsilon


def convolution_sensitivity(kernel, strides=1):
    """Bound the l2 sensitivity of a convolution without bias, for images of any size and either padding.

        sqrt(product over the axes of ceil(size / stride)) * largest singular value of the reshaped kernel

    A pixel is in at most `ceil(size / stride)` patches along each axis, so the sum of the squared norms of all patches
    is at most their product times the squared norm of the image; each patch meets the kernel as a matrix
    `(size * ... * channels, filters)`. The second factor is what `rsr_tf.layers.Parseval` holds at 1.

    Args:
        kernel: array `(size, ..., channels, filters)`, or `(channels, filters)` of a dense layer.
        strides: integer, for all axes. Defaults to 1.

    Returns:
        A float.

    Example:
        >>> rsr_tf.evaluation.convolution_sensitivity(2 * np.ones((3, 3, 1, 1)))  # 3 * 6
        18.0
    """
    kernel = np.asarray(kernel, np.float64)
    patches = math.prod(-(-size // strides) for size in kernel.shape[:-2])
    return float(math.sqrt(patches) * np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2))


def clopper_pearson(hits, trials, error):
    """Return one-sided bounds of a probability from independent trials (Clopper and Pearson 1934).

    Args:
        hits: integers of any shape, number of successes.
        trials: positive integer.
        error: number in (0, 1), probability with which each of the two bounds may be wrong.

    Returns:
        `(low, high)`, float64 arrays of the shape of `hits`.

    Example:
        >>> low, high = rsr_tf.evaluation.clopper_pearson([0, 2000], 2000, 0.005)
        >>> low.round(6), high.round(6)
        (array([0.      , 0.997354]), array([0.002646, 1.      ]))
    """
    hits = np.asarray(hits, np.float64)
    low = scipy.stats.beta.ppf(error, hits, trials - hits + 1)
    high = scipy.stats.beta.ppf(1 - error, hits + 1, trials - hits)
    return np.where(hits == 0, 0.0, low), np.where(hits == trials, 1.0, high)


def hoeffding(means, trials, error):
    """Return one-sided bounds of the expectation of numbers in [0, 1] from their mean (Hoeffding 1963, Theorem 1).

        mean -+ sqrt(ln(1 / error) / (2 trials))

    Args:
        means: numbers in [0, 1] of any shape, means over independent trials.
        trials: positive integer.
        error: number in (0, 1), probability with which each of the two bounds may be wrong.

    Returns:
        `(low, high)`, float64 arrays of the shape of `means`, within [0, 1].

    Example:
        >>> low, high = rsr_tf.evaluation.hoeffding([0.5], 2000, 0.05 / 10)
        >>> low.round(5), high.round(5)
        (array([0.46361]), array([0.53639]))
    """
    means = np.asarray(means, np.float64)
    width = math.sqrt(math.log(1 / error) / (2 * trials))
    return np.clip(means - width, 0, 1), np.clip(means + width, 0, 1)


def dp_radius(low, high, std, *, sensitivity=1.0, grid=500):
    """Return the l2 radius that PixelDP certifies for a mean prediction under Gaussian noise.

        max over delta in (0, 0.3], epsilon in (0, 1] of  std * epsilon / (sensitivity * sqrt(2 ln(1.25 / delta)))
        where  low >= exp(2 epsilon) high + (1 + exp(epsilon)) delta

    (Lecuyer et al. 2019, Proposition 2.) For each delta of a grid the largest epsilon comes from a quadratic equation
    in exp(epsilon). Every point of the grid is valid, so a coarser one gives a smaller radius.

    Args:
        low: numbers in [0, 1] of any shape, lower bounds of the expected score of the predicted class.
        high: numbers in [0, 1] of the same shape, upper bounds of the expected score of any other class.
        std: positive number, standard deviation of the noise.
        sensitivity: positive number, see above. Defaults to 1.
        grid: positive integer, number of values of delta. Defaults to 500.

    Returns:
        A float64 array of the shape of `low`; 0 where nothing is certified.

    Raises:
        ValueError: if `std` or `sensitivity` is not positive.

    Example:
        >>> rsr_tf.evaluation.dp_radius([0.9, 0.4], [0.05, 0.5], 0.253727).round(5)
        array([0.12179, 0.     ])
    """
    _check_positive(std=std, sensitivity=sensitivity)
    low, high = (np.asarray(bound, np.float64)[..., np.newaxis] for bound in (low, high))
    high = np.maximum(high, 1e-12)  # makes the equation quadratic; the radius becomes smaller, if anything
    kink = np.clip((low - math.exp(2) * high) / (1 + math.e), 1e-12, LARGEST_DELTA)  # the delta for epsilon = 1
    delta = np.concatenate(
        [np.broadcast_to(np.geomspace(1e-12, LARGEST_DELTA, grid), (*kink.shape[:-1], grid)), kink], -1
    )
    root = delta**2 + 4 * high * (low - delta)  # of high t^2 + delta t + delta - low = 0, t = exp(epsilon)
    t = 2 * (low - delta) / (delta + np.sqrt(np.maximum(root, 0)))  # the larger root, without cancellation
    epsilon = np.clip(np.log(np.maximum(t, 1)), 0, 1)
    return (std * epsilon / (sensitivity * np.sqrt(2 * np.log(1.25 / delta)))).max(axis=-1)


def smoothing_radius(low, high, std, *, sensitivity=1.0):
    """Return the l2 radius that randomized smoothing certifies for a mean prediction under Gaussian noise.

        std / (2 sensitivity) * (Phi^-1(low) - Phi^-1(high))

    (Cohen et al. 2019, Theorem 1; for means of probabilities in place of votes, Salman et al. 2019.)

    Args:
        low, high, std, sensitivity: as for `dp_radius`.

    Returns:
        A float64 array of the shape of `low`; 0 where nothing is certified.

    Raises:
        ValueError: if `std` or `sensitivity` is not positive.

    Example:
        >>> rsr_tf.evaluation.smoothing_radius([0.9, 0.4], [0.05, 0.5], 0.253727).round(5)
        array([0.37125, 0.     ])
    """
    _check_positive(std=std, sensitivity=sensitivity)
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    certified = low > high
    quantiles = [tf.math.ndtri(tf.constant(np.where(certified, bound, 0.5))).numpy() for bound in (low, high)]
    return std / (2 * sensitivity) * (quantiles[0] - quantiles[1])


def laplace_radius(low, high, scale, *, sensitivity=1.0):
    """Return the l1 radius that PixelDP certifies for a mean prediction under Laplace noise.

        scale / (2 sensitivity) * ln(low / high)

    (Lecuyer et al. 2019, Proposition 2 with delta = 0: low > exp(2 epsilon) high.)

    Args:
        low, high: as for `dp_radius`.
        scale: positive number, the scale b of the noise, which is its standard deviation divided by sqrt(2).
        sensitivity: positive number, see above, for the l1 norm. Defaults to 1.

    Returns:
        A float64 array of the shape of `low`; 0 where nothing is certified.

    Raises:
        ValueError: if `scale` or `sensitivity` is not positive.

    Example:
        >>> rsr_tf.evaluation.laplace_radius([0.9, 0.4], [0.1, 0.5], 2.0).round(5)  # ln 9, 0
        array([2.19722, 0.     ])
    """
    _check_positive(scale=scale, sensitivity=sensitivity)
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    ratio = np.where(low > high, low / np.maximum(high, np.finfo(np.float64).tiny), 1.0)
    return scale / (2 * sensitivity) * np.log(ratio)


def _check_positive(**values):
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"`{name}` must be a positive finite number. Received: {name}={value}")


def _check_at_most_one(**values):
    for name, value in values.items():
        if value > 1:
            raise ValueError(f"`{name}` must be at most 1. Received: {name}={value}")
