"""The choice of filters to remove, and their removal by zeros; `rebuild` makes the network smaller."""

from dataclasses import dataclass

import numpy as np

from rsr_tf.layers import prunable_kernels
from rsr_tf.pruning.magnitude import put_mask, select_kernels
from rsr_tf.pruning.structured.channels import ChannelMap

SCOPES = ("layer", "global")
CRITERIA = {"l1": 1, "l2": 2}
"""Names of norms, and their exponents."""
TINY = np.finfo("float64").tiny


def prune_filters(model, *, share=0.5, scope="layer", criterion="l2", exclude=()):
    """Remove whole filters from a network, in place, by zeros (Li et al. 2017; groups as in Wen et al. 2016).

    Filters go together where the network wants it: those of all convolutions that meet in a residual addition, channel
    by channel. They are as strong as their norm over their number of weights. The weakest go, but every layer keeps its
    strongest.

    The filter becomes zero, and so do the weights of later layers that read its channel; masks are set, so that noise
    and training leave them at zero. It is the second that makes `rebuild` exact: a filter of zeros still puts out a
    constant, its bias or the offset of its batch normalization, but nobody reads it. The noise of the weights that
    stay is what it was: their `alpha` grows as the standard deviation of the kernel, to which Eq. 4 relates it, falls.

    Layers without a mask have zeros that training will fill again: `rebuild` first, or `rsr_tf.make_prunable`.

    Args:
        model: a built functional or Sequential model, noisy or stock.
        share: share of the filters to remove, in [0, 1]; those that are zero already count. Defaults to 0.5.
        scope: `"layer"` (default) removes the share of every layer, or of every set of layers that belong together,
            rounded; `"global"` the weakest of the network, where strength is relative to the average of the layer, as
            the weights of wide layers are smaller by their number alone.
        criterion: the norm: `"l2"` (default) is the root of the mean square of the weights, `"l1"` the mean magnitude.
        exclude: list of layers that keep their filters, as for `rsr_tf.prune`; so do layers whose filters go together
            with theirs. What such a layer reads of a removed filter goes all the same.

    Returns:
        A `FilterTable`.

    Raises:
        ValueError: for a wrong `share`, `scope`, `criterion` or `exclude`, a subclassed model, one without filters that
            could be removed, or a weight that is not a number. Nothing is changed then.

    Example:
        >>> print(rsr_tf.prune_filters(model, share=0.5))
        >>> small = rsr_tf.rebuild(model)
    """
    _check(share, scope, criterion)
    channels = ChannelMap(model)
    _keep_excluded(channels, model, exclude)
    groups = list(channels.groups().values())
    if not groups:
        kept = f"; kept because of {', '.join(channels.barriers)}" if channels.barriers else ""
        raise ValueError(f"`model` must have filters that can be removed. Received: model={model.name!r}{kept}")
    strengths = _strengths(channels, CRITERIA[criterion])
    removed = np.zeros(len(channels.roots), bool)
    removed[_weakest(groups, strengths, share, scope)] = True
    ports = channels.filters + channels.readers
    spreads = {id(port.kernel): np.std(port.kernel.kernel) for port in ports}
    for port in ports:
        gone = removed[channels.roots[port.labels]]
        if gone.any():  # a kernel that loses nothing was not pruned, and its `pruning_step` should not say so
            put_mask(model, port.kernel, _without(port, gone))
    for kernel in {id(port.kernel): port.kernel for port in ports}.values():
        hold_noise(kernel, spreads[id(kernel)])
    rows = [
        LayerFilters(port.kernel.path, len(port.labels), int(removed[channels.roots[port.labels]].sum()))
        for port in channels.filters
    ]
    return FilterTable(rows, channels.barriers)


def hold_noise(kernel, spread):
    """Set the noise scale of a kernel so that `alpha * std(W)` of Eq. 4 is what it was.

    Args:
        kernel: a `rsr_tf.layers.PrunableKernel`.
        spread: standard deviation that the kernel had. Where it has none any more, there is no noise to be had.
    """
    now = np.std(kernel.kernel)
    if kernel.alpha is not None and now > 0:
        kernel.alpha.assign(kernel.alpha * (spread / now))


@dataclass(frozen=True)
class LayerFilters:
    """One line of the table: a kernel, its number of filters, and how many of them were removed."""

    path: str
    filters: int
    removed: int


class FilterTable(list):
    """A list of `LayerFilters`, in the order of the network; prints as a table.

    Args:
        rows: the lines.
        barriers: names of the layers that keep filters before them, since what they do with them is not known.
    """

    def __init__(self, rows=(), barriers=()):
        super().__init__(rows)
        self.barriers = list(barriers)

    @property
    def filters(self):
        return sum(row.filters for row in self)

    @property
    def removed(self):
        return sum(row.removed for row in self)

    def __str__(self):
        rows = [*self, LayerFilters("total", self.filters, self.removed)]
        width = max(len(row.path) for row in rows)
        lines = [f"{'kernel':<{width}} {'filters':>8} {'removed':>8} {'left':>8}"]
        lines += [
            f"{row.path:<{width}} {row.filters:>8,} {row.removed:>8,} {row.filters - row.removed:>8,}" for row in rows
        ]
        if self.barriers:
            lines.append(f"filters kept because of: {', '.join(self.barriers)}")
        return "\n".join(lines)


def _check(share, scope, criterion):
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be in [0, 1]. Received: share={share}")
    if scope not in SCOPES:
        raise ValueError(f"`scope` must be one of {SCOPES}. Received: scope={scope!r}")
    if criterion not in CRITERIA:
        raise ValueError(f"`criterion` must be one of {tuple(CRITERIA)}. Received: criterion={criterion!r}")


def _keep_excluded(channels, model, exclude):
    """Mark the channels along the filter axes of excluded kernels as kept."""
    selected = select_kernels(model, exclude) if exclude else prunable_kernels(model)
    for path, kernel in prunable_kernels(model).items():
        if path not in selected:
            for axis, labels in channels.cuts.get(id(kernel.kernel), []):
                if axis in kernel.filter_axes:
                    channels.kept[channels.roots[labels]] = True


def _strengths(channels, exponent):
    """The norm of all filters that share a root, over their number of weights, for every root."""
    totals, sizes = np.zeros((2, len(channels.roots)))
    for port in channels.filters:
        rows, roots = port.rows().astype("float32", copy=False), channels.roots[port.labels]
        powers = np.linalg.norm(rows, exponent, axis=1).astype("float64") ** exponent
        if np.isnan(powers).any():
            raise ValueError(f"The weights of layer `{port.kernel.path}` must be numbers to be pruned. Received: NaN")
        np.add.at(totals, roots, powers)
        np.add.at(sizes, roots, rows.shape[1])
    return (totals / np.maximum(sizes, 1)) ** (1 / exponent)


def _weakest(groups, strengths, share, scope):
    """The roots to remove; the strongest of each group is never among them."""
    ranked = [roots[np.argsort(strengths[roots], kind="stable")] for roots in groups]
    if scope == "layer":
        return np.concatenate([roots[:-1][: round(share * len(roots))] for roots in ranked])
    candidates = np.concatenate([roots[:-1] for roots in ranked])
    relative = np.concatenate([strengths[roots[:-1]] / max(strengths[roots].mean(), TINY) for roots in ranked])
    weakest = candidates[np.argsort(relative, kind="stable")]
    return weakest[: round(share * sum(len(roots) for roots in ranked))]


def _without(port, removed):
    """The mask of a kernel without the weights at some places of an axis."""
    kernel = port.kernel
    shape = np.ones(len(kernel.kernel.shape), int)
    shape[port.axis] = len(removed)
    stays = np.broadcast_to(~removed.reshape(shape), kernel.kernel.shape)
    return stays if kernel.mask is None else np.asarray(kernel.mask) & stays
