"""Threshold pruning (Eq. 7 and 8, Section 3.4): pure functions over arrays, then their use on a network.

A pruned weight is zero, stays zero through further training, and carries no noise. Pruning only ever adds zeros.
"""

from dataclasses import dataclass

import keras
import numpy as np

from rsr_tf.layers import by_path, noisy_layers

SCOPES = ("global", "layer")


def threshold_mask(kernel, gamma):
    """Which weights survive a threshold (Eq. 7, 8).

    Args:
        kernel: array of any shape.
        gamma: a weight with magnitude below this number goes; so does one that is zero already (Section 3.4: "we remove
            the noise injection term for zero-value weights").

    Returns:
        A boolean array of the kernel's shape. At least one entry is `True`: the largest weight always survives.
    """
    magnitude = np.abs(kernel)
    mask = (magnitude >= gamma) & (magnitude > 0)
    if not mask.any():
        mask.flat[np.argmax(magnitude)] = True
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
    magnitudes = np.ravel(magnitudes)
    pruned = round(sparsity * magnitudes.size)
    if pruned >= magnitudes.size:
        return float("inf")
    return float(np.partition(magnitudes, pruned)[pruned])


def prune(model, *, sparsity=None, gamma=None, scope="global"):
    """Prune a network in place, by threshold or to a wanted sparsity (Eq. 7, 8).

    Args:
        model: a model with noisy layers; see `rsr_tf.add_noise` for any other.
        sparsity: share of conv and dense weights to prune, in [0, 1]. With ties among the weights it may be less;
            weights that are zero already always go, should they be more.
        gamma: threshold on the magnitude of a weight, instead of `sparsity`.
        scope: with `sparsity`, `"global"` (default) finds one threshold for the network, `"layer"` one for each layer.

    Returns:
        A dict from the path of each layer to its threshold.

    Raises:
        ValueError: unless exactly one of `sparsity` and `gamma` is given and valid, for an unknown `scope`, for a
            model without noisy layers, or for a weight that is not a number.

    Example:
        >>> rsr_tf.prune(model, sparsity=0.6)
        >>> round(rsr_tf.sparsity(model), 2)
        0.6
    """
    check_target(sparsity, gamma, scope)
    layers = by_path(noisy_layers(model))
    if not layers:
        raise ValueError(
            "`model` must have noisy layers to prune; `rsr_tf.add_noise(model, kind='none')` gives it some without "
            f"noise. Received: model={model.name!r}"
        )
    kernels = {path: _surviving_kernel(layer) for path, layer in layers.items()}
    gammas = _thresholds(kernels, sparsity, gamma, scope)
    for path, layer in layers.items():
        mask = threshold_mask(kernels[path], gammas[path])
        layer.mask.assign(mask)
        layer.kernel.assign(kernels[path] * mask)
    return gammas


def check_target(sparsity, gamma, scope):
    """Raise `ValueError` for an impossible pruning target; see `prune`."""
    if (sparsity is None) == (gamma is None):
        raise ValueError(f"Give exactly one of `sparsity` and `gamma`. Received: sparsity={sparsity}, gamma={gamma}")
    if sparsity is not None and not 0 <= sparsity <= 1:
        raise ValueError(f"`sparsity` must be in [0, 1]. Received: sparsity={sparsity}")
    if gamma is not None and not gamma >= 0:
        raise ValueError(f"`gamma` must not be negative. Received: gamma={gamma}")
    if scope not in SCOPES:
        raise ValueError(f"`scope` must be one of {SCOPES}. Received: scope={scope!r}")


def _surviving_kernel(layer):
    kernel = np.where(layer.mask, layer.kernel, 0)
    if np.isnan(kernel).any():
        raise ValueError(f"The weights of layer `{layer.path}` must be numbers to be pruned. Received: NaN")
    return kernel


def _thresholds(kernels, sparsity, gamma, scope):
    if gamma is not None:
        return dict.fromkeys(kernels, float(gamma))
    if scope == "layer":
        return {path: gamma_for_sparsity(np.abs(kernel), sparsity) for path, kernel in kernels.items()}
    magnitudes = np.concatenate([np.abs(kernel).ravel() for kernel in kernels.values()])
    return dict.fromkeys(kernels, gamma_for_sparsity(magnitudes, sparsity))


@dataclass(frozen=True)
class LayerSparsity:
    """One line of the sparsity table: a kernel, its number of weights, and how many of them are exactly zero."""

    path: str
    shape: tuple
    weights: int
    zeros: int

    @property
    def sparsity(self):
        return self.zeros / self.weights


class SparsityTable(list):
    """A list of `LayerSparsity`, in the order of the network; prints as a table, the last line being the total."""

    @property
    def weights(self):
        return sum(row.weights for row in self)

    @property
    def zeros(self):
        return sum(row.zeros for row in self)

    @property
    def sparsity(self):
        return self.zeros / self.weights if self else 0.0

    def __str__(self):
        rows = [(row.path, str(row.shape), row.weights, row.zeros, row.sparsity) for row in self]
        rows.append(("total", "", self.weights, self.zeros, self.sparsity))
        width = max(len(row[0]) for row in rows)
        lines = [f"{'kernel':<{width}} {'shape':>18} {'weights':>11} {'zeros':>11} {'sparsity':>9}"]
        lines += [
            f"{path:<{width}} {shape:>18} {n:>11,} {zeros:>11,} {share:>9.2%}" for path, shape, n, zeros, share in rows
        ]
        return "\n".join(lines)


def sparsity_table(model):
    """Count the weights of every conv and dense kernel that are exactly zero.

    Args:
        model: a noisy, pruned or stripped Keras model.

    Returns:
        A `SparsityTable`.
    """
    return SparsityTable(
        LayerSparsity(path, kernel.shape, kernel.size, int(np.count_nonzero(kernel == 0)))
        for path, kernel in effective_kernels(model).items()
    )


def sparsity(model):
    """Share of exact zeros among the conv and dense weights of a model, in [0, 1] (Table 1)."""
    return sparsity_table(model).sparsity


def effective_kernels(model):
    """The conv and dense kernels of a model as NumPy arrays by layer path, pruned weights at zero."""
    with_kernel = [
        layer for layer in model._flatten_layers() if isinstance(getattr(layer, "kernel", None), keras.Variable)
    ]
    return {
        path: np.where(getattr(layer, "mask", True), layer.kernel, 0) for path, layer in by_path(with_kernel).items()
    }
