"""Structured pruning: remove whole filters, and rebuild the model in its smaller shape.

`rsr_tf.GroupLasso` makes filters small in training. `prune_filters` selects filters and sets them to zero; `rebuild`
builds the smaller model. Both use a `ChannelMap`, which follows each channel through the graph of the model; for this,
`channel_rules` has a rule for each kind of layer.
"""

from rsr_tf.pruning.structured.filters import FilterTable, LayerFilters, prune_filters
from rsr_tf.pruning.structured.rebuild import rebuild

__all__ = ["FilterTable", "LayerFilters", "prune_filters", "rebuild"]
