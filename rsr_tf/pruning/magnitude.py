"""Pruning by magnitude (Eq. 7 and 8, Section 3.4) of functional and Sequential Keras models, in place.

A pruned weight is zero, stays zero through further training, and has no noise. Pruning only ever adds zeros.
"""

import fnmatch
import functools
import numbers

import keras
import numpy as np

from rsr_tf.choices import SCOPES
from rsr_tf.layers import make_prunable, prunable_kernels
from rsr_tf.layers.registry import check_functional, is_functional, stock_class
from rsr_tf.pruning.masks import put_mask
from rsr_tf.pruning.thresholds import gamma_for_cap, gamma_for_sparsity, global_gammas, threshold_mask

ENDS = ("first", "last")


def prune(model, *, sparsity=None, gamma=None, scope="global", exclude=(), max_layer_sparsity=None):
    """Prune a model in place, by a threshold or to a target sparsity (Eq. 7, 8).

    The model may be compiled and trained before and after. Pruned weights are exactly zero in the variables, in the
    forward pass and in the state of the optimizer. A stock model gets masks first: see `rsr_tf.make_prunable`, also for
    other models that share its layers. Layers that cannot be pruned are not changed: see `rsr_tf.unpruned_layers`.

    Args:
        model: a built functional or Sequential model, noisy or stock.
        sparsity: float in [0, 1], share of conv and dense weights to prune, of the layers that are not excluded. Ties
            are kept together, so the result may be lower. Weights that are zero already are always pruned, so it may
            also be higher.
        gamma: non-negative number, threshold on the magnitude of a weight; an alternative to `sparsity`.
        scope: `"global"` for one threshold for the model, `"layer"` for one for each layer; with `sparsity` only.
            Defaults to `"global"`.
        exclude: list of layers that are not pruned. Each entry is `"first"`, `"last"`, the name of a layer, a pattern
            such as `"stage1_*"`, or the name of a layer class, such as `"Dense"`, which includes its noisy version.
            Defaults to no layers.
        max_layer_sparsity: float in [0, 1], largest share of the weights of any one layer to prune; the largest weights
            are kept. With `sparsity` and the global scope, the other layers are pruned further to compensate. Defaults
            to `None`: all weights of a layer but one may be pruned.

    Returns:
        A dict from the path of each pruned kernel to its threshold, a float.

    Raises:
        ValueError: unless exactly one of `sparsity` and `gamma` is given; for an invalid `sparsity`, `gamma`, `scope`
            or `max_layer_sparsity`; for an `exclude` that matches no layer or all layers; for a subclassed model or one
            without conv and dense layers; for weights that are NaN. The model is not changed then.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(10), keras.layers.Dense(5)])
        >>> gammas = rsr_tf.prune(model, sparsity=0.6, exclude=["last"])
        >>> [row.sparsity for row in rsr_tf.sparsity_table(model)]
        [0.6, 0.0]
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(np.ones((16, 8)), np.ones((16, 5)), verbose=0)
        >>> [row.sparsity for row in rsr_tf.sparsity_table(model)]
        [0.6, 0.0]
    """
    check_target(sparsity, gamma, scope, max_layer_sparsity)
    kernels = select_kernels(model, exclude)
    gammas = _layer_gammas(kernels, sparsity, gamma, scope, max_layer_sparsity)
    if is_functional(model):
        make_prunable(model)
    for path, kernel in kernels.items():
        put_mask(model, kernel, threshold_mask(kernel.value(), gammas[path]))
        kernel.threshold.assign(gammas[path])
    return gammas


def check_target(sparsity, gamma, scope, max_layer_sparsity=None):
    """Check a pruning target; the arguments are those of `prune`.

    Raises:
        ValueError: as `prune` for these arguments.
    """
    if (sparsity is None) == (gamma is None):
        raise ValueError(f"Give exactly one of `sparsity` and `gamma`. Received: sparsity={sparsity}, gamma={gamma}")
    if sparsity is not None and not (_is_number(sparsity) and 0 <= sparsity <= 1):
        raise ValueError(f"`sparsity` must be in [0, 1]. Received: sparsity={sparsity!r}")
    if gamma is not None and not (_is_number(gamma) and gamma >= 0):
        raise ValueError(f"`gamma` must not be negative. Received: gamma={gamma!r}")
    if scope not in SCOPES:
        raise ValueError(f"`scope` must be one of {SCOPES}. Received: scope={scope!r}")
    if max_layer_sparsity is not None and not (_is_number(max_layer_sparsity) and 0 <= max_layer_sparsity <= 1):
        raise ValueError(f"`max_layer_sparsity` must be in [0, 1]. Received: max_layer_sparsity={max_layer_sparsity!r}")


def select_kernels(model, exclude=()):
    """Return the kernels of a model that `prune` would prune.

    Args:
        model, exclude: as for `prune`.

    Returns:
        A dict from path to `rsr_tf.layers.PrunableKernel`, in the order of the model.

    Raises:
        ValueError: as `prune` for an invalid `model` or `exclude`.
    """
    kernels = prunable_kernels(model) if isinstance(model, keras.layers.Layer) else {}
    if not kernels:
        check_functional(model)
        raise ValueError(f"`model` must have conv or dense layers to prune. Received: model={model.name!r}")
    if not (isinstance(exclude, list | tuple | set) and all(isinstance(pattern, str) for pattern in exclude)):
        raise ValueError(f"`exclude` must be a list of strings. Received: exclude={exclude!r}")
    excluded = set()
    for pattern in exclude:
        matches = _matching_paths(kernels, pattern)
        if not matches:
            raise ValueError(
                f"`exclude` must name layers of the model, layer classes, or one of {ENDS}. Received: {pattern!r}; "
                f"the layers are {', '.join(kernels)}"
            )
        excluded |= matches
    if len(excluded) == len(kernels):
        raise ValueError(f"`exclude` must not match every layer. Received: exclude={list(exclude)}")
    return {path: kernel for path, kernel in kernels.items() if path not in excluded}


def _is_number(value):
    return isinstance(value, numbers.Real)


def _matching_paths(kernels, pattern):
    """Return the paths of the kernels that one entry of `exclude` matches, as a set."""
    paths = {path for path, kernel in kernels.items() if _is_match(kernel, pattern)}
    if pattern in ENDS:
        end = list(kernels.values())[0 if pattern == "first" else -1].layer
        paths |= {path for path, kernel in kernels.items() if kernel.layer is end}
    return paths


def _is_match(kernel, pattern):
    """Return whether a pattern matches the path of a kernel, a part of it, or the class of its layer."""
    classes = (type(kernel.layer).__name__, stock_class(kernel.layer).__name__)
    return pattern in classes or any(
        fnmatch.fnmatchcase(name, pattern) for name in (kernel.path, *kernel.path.split("/"))
    )


def _layer_gammas(kernels, sparsity, gamma, scope, max_layer_sparsity):
    """Return the threshold of each kernel as a dict by path."""
    if gamma is None and scope == "global":
        layers = [(kernel.size, functools.partial(_checked_value, kernel)) for kernel in kernels.values()]
        return dict(zip(kernels, global_gammas(layers, sparsity, max_layer_sparsity), strict=True))
    gammas = {}
    for path, kernel in kernels.items():
        magnitudes = np.abs(_checked_value(kernel))
        target = gamma_for_sparsity(magnitudes, sparsity) if gamma is None else float(gamma)
        gammas[path] = min(target, gamma_for_cap(magnitudes, max_layer_sparsity))
    return gammas


def _checked_value(kernel):
    """Return the value of a kernel; raise `ValueError` if it contains NaN."""
    value = kernel.value()
    if np.isnan(value.min()):
        raise ValueError(f"The weights of layer `{kernel.path}` must be numbers to be pruned. Received: NaN")
    return value
