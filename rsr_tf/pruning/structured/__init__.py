"""Whole filters: their removal, and the network in its smaller shape; `rsr_tf.GroupLasso` makes them small in training.

`channels` follows every channel through a network and finds which belong together, `rules` says what each kind of layer
does with its channels, `filters` chooses and removes, `rebuild` builds.
"""

from rsr_tf.pruning.structured.filters import FilterTable, LayerFilters, prune_filters
from rsr_tf.pruning.structured.rebuild import rebuild

__all__ = ["FilterTable", "LayerFilters", "prune_filters", "rebuild"]
