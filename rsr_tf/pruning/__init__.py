"""Pruning of functional and Sequential Keras models, in place: single weights by magnitude, or whole filters."""

from rsr_tf.pruning.admm import ADMMPruning
from rsr_tf.pruning.callback import PruningCallback
from rsr_tf.pruning.magnitude import prune
from rsr_tf.pruning.structured import FilterTable, LayerFilters, prune_filters, rebuild
from rsr_tf.pruning.tables import LayerSparsity, SparsityTable, effective_kernels, sparsity, sparsity_table

__all__ = [
    "ADMMPruning",
    "FilterTable",
    "LayerFilters",
    "LayerSparsity",
    "PruningCallback",
    "SparsityTable",
    "effective_kernels",
    "prune",
    "prune_filters",
    "rebuild",
    "sparsity",
    "sparsity_table",
]
