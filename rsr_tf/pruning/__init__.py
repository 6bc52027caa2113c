"""Pruning of any functional or Sequential Keras model, in place."""

from rsr_tf.pruning.callback import PruningCallback
from rsr_tf.pruning.magnitude import effective_kernels, prune, sparsity, sparsity_table
from rsr_tf.pruning.structured import prune_filters, rebuild

__all__ = [
    "PruningCallback",
    "effective_kernels",
    "prune",
    "prune_filters",
    "rebuild",
    "sparsity",
    "sparsity_table",
]
