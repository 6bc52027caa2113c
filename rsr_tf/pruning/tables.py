"""Count the zeros of a model: sparsity of the model, and of each of its kernels (Table 1)."""

from dataclasses import dataclass

import numpy as np

from rsr_tf.layers import prunable_kernels, unpruned_layers
from rsr_tf.layers.registry import check_functional, is_functional


@dataclass(frozen=True)
class LayerSparsity:
    """A row of the sparsity table: one kernel, its number of weights, and how many of them are exactly zero.

    Args:
        path: string, path of the kernel in the model.
        shape: tuple, shape of the kernel.
        weights: integer, number of weights.
        zeros: integer, number of weights that are exactly zero.

    Example:
        >>> rsr_tf.pruning.LayerSparsity("hidden", shape=(4, 5), weights=20, zeros=15).sparsity
        0.75
    """

    path: str
    shape: tuple
    weights: int
    zeros: int

    @property
    def sparsity(self):
        """Share of zeros, a float in [0, 1]."""
        return self.zeros / self.weights


class SparsityTable(list):
    """A list of `LayerSparsity` in the order of the model, which prints as a table with a total.

    Args:
        rows: iterable of `LayerSparsity`.
        left: iterable of strings, names of the layers with weights that pruning does not cover.

    Example:
        >>> row = rsr_tf.pruning.LayerSparsity
        >>> table = rsr_tf.pruning.SparsityTable([row("hidden", (4, 5), 20, 15), row("head", (5, 4), 20, 5)])
        >>> table.weights, table.zeros, table.sparsity
        (40, 20, 0.5)
    """

    def __init__(self, rows=(), left=()):
        super().__init__(rows)
        self.left = list(left)

    @property
    def weights(self):
        """Total number of weights."""
        return sum(row.weights for row in self)

    @property
    def zeros(self):
        """Total number of zeros."""
        return sum(row.zeros for row in self)

    @property
    def sparsity(self):
        """Share of zeros among all weights, a float in [0, 1]; 0 for an empty table."""
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
            lines.append(f"not prunable: {', '.join(self.left)}")
        return "\n".join(lines)


def sparsity_table(model):
    """Count the weights of every conv and dense kernel that are exactly zero.

    Args:
        model: a noisy, pruned, stripped or stock Keras model.

    Returns:
        A `SparsityTable`. Its attribute `left` names the layers with weights that pruning does not cover.

    Raises:
        ValueError: for a subclassed model or one that is not built, whose kernels cannot be found.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="hidden")], name="net")
        >>> gammas = rsr_tf.prune(model, sparsity=0.5)
        >>> print(rsr_tf.sparsity_table(model))
        kernel                  shape     weights       zeros  sparsity
        net/hidden             (4, 5)          20          10    50.00%
        total                                  20          10    50.00%
    """
    rows = []
    for path, kernel in prunable_kernels(model).items():
        value = kernel.value()
        rows.append(LayerSparsity(path, value.shape, value.size, value.size - int(np.count_nonzero(value))))
    if not rows:
        check_functional(model)
    left = unpruned_layers(model) if is_functional(model) else []
    return SparsityTable(rows, [f"{layer.name} ({type(layer).__name__})" for layer in left])


def sparsity(model):
    """Return the share of exact zeros among the conv and dense weights of a model (Table 1).

    Args:
        model: as for `sparsity_table`.

    Returns:
        A float in [0, 1].

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
        >>> gammas = rsr_tf.prune(model, sparsity=0.6)
        >>> rsr_tf.sparsity(model)
        0.6
    """
    return sparsity_table(model).sparsity


def effective_kernels(model):
    """Return the conv and dense kernels of a model as the forward pass uses them, without noise.

    Args:
        model: as for `sparsity_table`.

    Returns:
        A dict from the path of each kernel to a NumPy array of its shape, zero where pruned.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="hidden")], name="net")
        >>> {path: kernel.shape for path, kernel in rsr_tf.pruning.effective_kernels(model).items()}
        {'net/hidden': (4, 5)}
    """
    return {path: kernel.value() for path, kernel in prunable_kernels(model).items()}
