"""Thresholds on the magnitude of weights (Eq. 7 and 8, Section 3.4), as pure functions of NumPy arrays."""

import math

import numpy as np


def threshold_mask(kernel, gamma):
    """Return the mask of the weights that a threshold keeps (Eq. 7, 8).

    Args:
        kernel: array of any shape.
        gamma: number. Weights with a magnitude below it are pruned, and so are weights that are zero already (Section
            3.4: "we remove the noise injection term for zero-value weights").

    Returns:
        A boolean array of the kernel's shape, `False` for pruned weights. At least one entry is `True`: the weight with
        the largest magnitude is always kept.
    """
    mask = kernel >= gamma
    mask |= kernel <= -gamma
    mask &= kernel != 0
    if not mask.any():
        mask.flat[np.argmax(np.abs(kernel))] = True
    return mask


def gamma_for_sparsity(magnitudes, sparsity):
    """Return the threshold that prunes a given share of weights: the smallest magnitude that is kept.

    Ties are kept together, so sparsity may fall below the target, never above.

    Args:
        magnitudes: non-negative array of any shape.
        sparsity: float in [0, 1], share of weights to prune.

    Returns:
        A float; infinity if all weights are to be pruned.
    """
    return _smallest_kept(np.array(magnitudes).ravel(), round(sparsity * np.size(magnitudes)))


def gamma_for_cap(magnitudes, max_sparsity):
    """Return the largest threshold that respects a layer's maximum sparsity; the number of weights is rounded down.

    Args:
        magnitudes: non-negative array of any shape.
        max_sparsity: float in [0, 1], largest share of weights to prune; `None` for no limit.

    Returns:
        A float; infinity without a limit.
    """
    if max_sparsity is None:
        return math.inf
    return _smallest_kept(np.array(magnitudes).ravel(), math.floor(max_sparsity * np.size(magnitudes) + 1e-9))


def global_gammas(layers, sparsity, max_layer_sparsity=None):
    """Return a threshold for each of several layers that are pruned to a share of all their weights.

    All layers have the same threshold, except those that are limited by `max_layer_sparsity`. Weights kept by that
    limit count as infinitely large, so the other layers are pruned further until the share is reached or every layer is
    at its limit. Ties are kept together. Memory: one float32 number for each weight, and one layer at a time.

    Args:
        layers: list of `(size, function)`. The function takes no arguments and returns the kernel of a layer, an array
            with `size` entries.
        sparsity: float in [0, 1], share of all weights to prune.
        max_layer_sparsity: see `max_sparsity` of `gamma_for_cap`.

    Returns:
        A list of floats, one for each layer.
    """
    magnitudes = np.empty(sum(size for size, _ in layers), np.float32)
    caps, start = [], 0
    for size, kernel in layers:
        part = magnitudes[start : start + size]
        np.abs(kernel().ravel(), out=part)
        caps.append(gamma_for_cap(part, max_layer_sparsity))
        if caps[-1] < math.inf:
            part[part >= caps[-1]] = math.inf
        start += size
    gamma = _smallest_kept(magnitudes, round(sparsity * magnitudes.size))
    return [min(gamma, cap) for cap in caps]


def _smallest_kept(magnitudes, pruned):
    """Return the smallest magnitude that is kept when `pruned` weights are removed; reorders the array."""
    if pruned >= magnitudes.size:
        return math.inf
    magnitudes.partition(pruned)
    return float(magnitudes[pruned])
