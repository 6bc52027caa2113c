"""Pruning (Eq. 7 and 8, Section 3.4) of any functional or Sequential Keras model, in place.

A pruned weight is zero, stays zero through further training, and carries no noise. Pruning only ever adds zeros.
"""

import fnmatch
import functools
import numbers
from dataclasses import dataclass

import keras
import numpy as np

from rsr_tf.keras_internals import optimizer_slots
from rsr_tf.layers import make_prunable, prunable_kernels, unpruned_layers
from rsr_tf.layers.noise import masked_kernel
from rsr_tf.layers.registry import check_functional, is_functional, stock_class
from rsr_tf.pruning.thresholds import gamma_for_cap, gamma_for_sparsity, global_gammas, threshold_mask

SCOPES = ("global", "layer")
ENDS = ("first", "last")


def prune(model, *, sparsity=None, gamma=None, scope="global", exclude=(), max_layer_sparsity=None):
    """Prune a network in place, by threshold or to a wanted sparsity (Eq. 7, 8).

    The model may be compiled or trained, or both; it goes on as before, with its pruned weights at exact zero in
    the variables, the forward pass and the memory of the optimizer. A stock model gets its masks first: see
    `rsr_tf.make_prunable`, also for other models that share its layers. Layers that cannot be pruned are left: see
    `rsr_tf.unpruned_layers`.

    Args:
        model: a built functional or Sequential model, noisy or stock.
        sparsity: share of conv and dense weights to prune, in [0, 1], of the layers that are not excluded. With ties
            among the weights it may be less; weights that are zero already always go, should they be more.
        gamma: threshold on the magnitude of a weight, instead of `sparsity`.
        scope: with `sparsity`, `"global"` (default) finds one threshold for the network, `"layer"` one for each layer.
        exclude: list of layers to leave: `"first"`, `"last"`, the name of a layer or a pattern such as `"stage1_*"`, or
            the class of layers, such as `"Dense"` (noisy ones are meant too).
        max_layer_sparsity: largest share of the weights of any one layer to prune, in [0, 1]; the largest weights stay.
            With a global `sparsity` the other layers make up for it, as far as they can. Defaults to `None`: all but
            one weight may go.

    Returns:
        A dict from the path of each pruned kernel to its threshold.

    Raises:
        ValueError: unless exactly one of `sparsity` and `gamma` is given and valid, for an unknown `scope`, an
            impossible `max_layer_sparsity`, an `exclude` that names no layer or leaves none, for a subclassed model or
            one without conv and dense layers, or for a weight that is not a number. Nothing is changed then.

    Example:
        >>> model = keras.applications.MobileNetV2()
        >>> rsr_tf.prune(model, sparsity=0.6, exclude=["first", "last"])
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> model.fit(train)  # the zeros stay
    """
    check_target(sparsity, gamma, scope, max_layer_sparsity)
    kernels = select_kernels(model, exclude)
    gammas = _thresholds(kernels, sparsity, gamma, scope, max_layer_sparsity)
    if is_functional(model):
        make_prunable(model)
    for path, kernel in kernels.items():
        put_mask(model, kernel, threshold_mask(kernel.value(), gammas[path]))
        kernel.threshold.assign(gammas[path])
    return gammas


def put_mask(model, kernel, mask):
    """Zero some weights for good: in the kernel, in its mask, and in what the optimizer of the model remembers.

    Args:
        model: the model that trains the kernel.
        kernel: a `rsr_tf.layers.PrunableKernel`; one of a stock layer has no mask, and only its weights become zero.
        mask: boolean array of the kernel's shape, `False` for a weight that goes.
    """
    optimizer = _optimizer(model)
    kernel.kernel.assign(masked_kernel(kernel.kernel, mask))
    if kernel.mask is not None:
        kernel.mask.assign(mask)
        kernel.pruning_step.assign(0 if optimizer is None else optimizer.iterations)
    if optimizer is not None:
        _forget_pruned_weights(optimizer, kernel, mask)


def check_target(sparsity, gamma, scope, max_layer_sparsity=None):
    """Raise `ValueError` for an impossible pruning target; see `prune`."""
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


def _is_number(value):
    return isinstance(value, numbers.Real)


def select_kernels(model, exclude=()):
    """The kernels of a model that `prune` would prune.

    Args:
        model, exclude: as for `prune`.

    Returns:
        A dict from path to `rsr_tf.layers.PrunableKernel`, in the order of the model.

    Raises:
        ValueError: as `prune` for a wrong `model` or `exclude`.
    """
    kernels = prunable_kernels(model) if isinstance(model, keras.layers.Layer) else {}
    if not kernels:
        check_functional(model)
        raise ValueError(f"`model` must have conv or dense layers to prune. Received: model={model.name!r}")
    if not (isinstance(exclude, list | tuple | set) and all(isinstance(pattern, str) for pattern in exclude)):
        raise ValueError(f"`exclude` must be a list of strings. Received: exclude={exclude!r}")
    excluded = set()
    for pattern in exclude:
        named = {path for path, kernel in kernels.items() if _is_named(kernel, pattern)}
        if pattern in ENDS:
            end = list(kernels.values())[0 if pattern == "first" else -1].layer
            named |= {path for path, kernel in kernels.items() if kernel.layer is end}
        if not named:
            raise ValueError(
                f"`exclude` must name layers of the model, a class of them, or one of {ENDS}. Received: {pattern!r}; "
                f"the layers are {', '.join(kernels)}"
            )
        excluded |= named
    if len(excluded) == len(kernels):
        raise ValueError(f"`exclude` must leave a layer to prune. Received: exclude={list(exclude)}")
    return {path: kernel for path, kernel in kernels.items() if path not in excluded}


def _is_named(kernel, pattern):
    """Whether a pattern of `exclude` is for the path of a kernel, a part of it, or the class of its layer."""
    classes = (type(kernel.layer).__name__, stock_class(kernel.layer).__name__)
    return pattern in classes or any(
        fnmatch.fnmatchcase(name, pattern) for name in (kernel.path, *kernel.path.split("/"))
    )


def _thresholds(kernels, sparsity, gamma, scope, max_layer_sparsity):
    if gamma is None and scope == "global":
        layers = [(kernel.size, functools.partial(_numbers, kernel)) for kernel in kernels.values()]
        return dict(zip(kernels, global_gammas(layers, sparsity, max_layer_sparsity), strict=True))
    gammas = {}
    for path, kernel in kernels.items():
        magnitudes = np.abs(_numbers(kernel))
        wanted = gamma_for_sparsity(magnitudes, sparsity) if gamma is None else float(gamma)
        gammas[path] = min(wanted, gamma_for_cap(magnitudes, max_layer_sparsity))
    return gammas


def _numbers(kernel):
    value = kernel.value()
    if np.isnan(value.min()):
        raise ValueError(f"The weights of layer `{kernel.path}` must be numbers to be pruned. Received: NaN")
    return value


def _optimizer(model):
    """The optimizer that a model is compiled with, out of its loss scaling; `None` if there is none."""
    optimizer = getattr(model, "optimizer", None)
    return getattr(optimizer, "inner_optimizer", optimizer)


def _forget_pruned_weights(optimizer, kernel, mask):
    """Take the pruned weights out of what an optimizer remembers: momentum, averages, accumulated gradients.

    Their gradient is zero from now on, so whatever else an optimizer does leaves them at exact zero, before the mask
    comes to it. The moving average of the weights wants that: Keras takes it before the constraint and puts it in place
    of the weights after the last step of `fit`.
    """
    for slot in optimizer_slots(optimizer, kernel.kernel):
        slot.assign(masked_kernel(slot, mask))


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
    """A list of `LayerSparsity`, in the order of the network; prints as a table with the total and what was left out.

    Args:
        rows: the lines.
        left: layers with weights that are not pruned, as strings.
    """

    def __init__(self, rows=(), left=()):
        super().__init__(rows)
        self.left = list(left)

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
        if self.left:
            lines.append(f"not to be pruned: {', '.join(self.left)}")
        return "\n".join(lines)


def sparsity_table(model):
    """Count the weights of every conv and dense kernel that are exactly zero.

    Args:
        model: a noisy, pruned, stripped or stock Keras model.

    Returns:
        A `SparsityTable`; its `left` names the layers with other weights.

    Example:
        >>> print(rsr_tf.sparsity_table(model))
    """
    rows = []
    for path, kernel in prunable_kernels(model).items():
        value = kernel.value()
        rows.append(LayerSparsity(path, value.shape, value.size, value.size - int(np.count_nonzero(value))))
    left = unpruned_layers(model) if is_functional(model) else []
    return SparsityTable(rows, [f"{layer.name} ({type(layer).__name__})" for layer in left])


def sparsity(model):
    """Share of exact zeros among the conv and dense weights of a model (Table 1).

    Args:
        model: as for `sparsity_table`.

    Returns:
        A float in [0, 1].

    Example:
        >>> rsr_tf.prune(model, sparsity=0.6)
        >>> rsr_tf.sparsity(model)
        0.6
    """
    return sparsity_table(model).sparsity


def effective_kernels(model):
    """The conv and dense kernels of a model as NumPy arrays by path, pruned weights at zero."""
    return {path: kernel.value() for path, kernel in prunable_kernels(model).items()}
