"""Thresholds on the magnitude of weights (Eq. 7 and 8, Section 3.4), as pure functions over NumPy arrays."""

import math

import numpy as np


def threshold_mask(kernel, gamma):
    """Which weights survive a threshold (Eq. 7, 8).

    Args:
        kernel: array of any shape.
        gamma: a weight with magnitude below this number goes; so does one that is zero already (Section 3.4: "we remove
            the noise injection term for zero-value weights").

    Returns:
        A boolean array of the kernel's shape. At least one entry is `True`: the largest weight always survives.
    """
    mask = kernel >= gamma
    mask |= kernel <= -gamma
    mask &= kernel != 0
    if not mask.any():
        mask.flat[np.argmax(np.abs(kernel))] = True
    return mask


def gamma_for_sparsity(magnitudes, sparsity):
    """The threshold under which a wanted share of weights lies: the smallest magnitude that survives.

    Weights of equal magnitude live or die together, so with ties fewer than the wanted share lie under it, never more.

    Args:
        magnitudes: non-negative array of any shape.
        sparsity: share of weights to prune, in [0, 1].

    Returns:
        A float; infinite when everything is to go.
    """
    return _smallest_survivor(np.array(magnitudes).ravel(), round(sparsity * np.size(magnitudes)))


def gamma_for_cap(magnitudes, max_sparsity):
    """The largest threshold of a layer with a cap on its sparsity; the number of weights under it is rounded down.

    Args:
        magnitudes: non-negative array of any shape.
        max_sparsity: largest share of weights to prune, in [0, 1]; `None` for no cap.

    Returns:
        A float; infinite without a cap.
    """
    if max_sparsity is None:
        return math.inf
    return _smallest_survivor(np.array(magnitudes).ravel(), math.floor(max_sparsity * np.size(magnitudes) + 1e-9))


def global_gammas(layers, sparsity, max_layer_sparsity=None):
    """The thresholds of several layers that are pruned to a share of all their weights.

    They are one number, but where a layer is at its cap. What a cap spares counts as larger than any threshold, so the
    other layers are pruned further, until the share is met or every layer is at its cap. Ties as above. It takes a
    float32 number for each weight and a layer at a time, whatever the size of the network.

    Args:
        layers: list of `(size, function)`; the function returns the kernel of a layer, an array of that size.
        sparsity: share of all weights to prune, in [0, 1].
        max_layer_sparsity: see `gamma_for_cap`.

    Returns:
        A list of floats, one for each layer.
    """
    everything = np.empty(sum(size for size, _ in layers), np.float32)
    caps, start = [], 0
    for size, kernel in layers:
        part = everything[start : start + size]
        np.abs(kernel().ravel(), out=part)
        caps.append(gamma_for_cap(part, max_layer_sparsity))
        if caps[-1] < math.inf:
            part[part >= caps[-1]] = math.inf
        start += size
    gamma = _smallest_survivor(everything, round(sparsity * everything.size))
    return [min(gamma, cap) for cap in caps]


def _smallest_survivor(magnitudes, pruned):
    """The magnitude with `pruned` others before it in their order; the array is put in another order."""
    if pruned >= magnitudes.size:
        return math.inf
    magnitudes.partition(pruned)
    return float(magnitudes[pruned])
