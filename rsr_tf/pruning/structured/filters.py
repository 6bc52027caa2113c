"""Select the filters to remove and set them to zero; `rebuild` then makes the model smaller."""

from dataclasses import dataclass

import numpy as np

from rsr_tf.choices import SCOPES
from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.noise import kernel_std
from rsr_tf.pruning.magnitude import select_kernels
from rsr_tf.pruning.masks import put_mask
from rsr_tf.pruning.structured.channels import ChannelMap

CRITERIA = {"l1": 1, "l2": 2}
"""Names and exponents of the norms."""
TINY = np.finfo("float64").tiny


def prune_filters(model, *, share=0.5, scope="layer", criterion="l2", exclude=()):
    """Set whole filters of a model to zero, in place (Li et al. 2017; groups as in Wen et al. 2016).

    Coupled filters (joined by a residual addition) are removed together. Filters are ranked by their norm divided by
    the number of their weights; of coupled filters, by the norm of all of them. The weakest are removed, but every
    layer keeps its strongest filter.

    A removed filter becomes zero, and so do the weights of later layers that read its channel. Masks are set, so that
    noise and training leave these weights at zero. The second step makes `rebuild` exact: a filter of zeros still
    outputs a constant, its bias or the offset of its batch normalization, but no weight reads it. The noise of the
    remaining weights does not change: removing weights lowers the standard deviation of the kernel in Eq. 4, and
    `alpha` is scaled up to compensate.

    Layers without a mask do not hold their zeros in further training: call `rebuild`, or `rsr_tf.make_prunable` before.

    Args:
        model: a built functional or Sequential model, noisy or stock.
        share: float in [0, 1], share of filters to remove, including those that are zero already. Defaults to 0.5.
        scope: `"layer"` removes this share, rounded, of every layer or set of coupled layers. `"global"` removes the
            weakest filters of the model; strength is then relative to the mean strength of the layer, as the weights of
            wide layers are generally smaller. Defaults to `"layer"`.
        criterion: the norm. `"l2"` is the root mean square of the weights, `"l1"` their mean magnitude. Defaults to
            `"l2"`.
        exclude: list of layers that keep their filters, as for `rsr_tf.prune`; layers coupled with them keep theirs
            too. Weights of excluded layers that read a removed filter become zero. Defaults to no layers.

    Returns:
        A `FilterTable`.

    Raises:
        ValueError: for an invalid `share`, `scope`, `criterion` or `exclude`; for a subclassed model or one without
            removable filters; for weights that are NaN. The model is not changed then.

    Example:
        >>> inputs = keras.Input((6, 6, 1))
        >>> x = keras.layers.Flatten()(keras.layers.Conv2D(8, 3, name="conv")(inputs))
        >>> model = keras.Model(inputs, keras.layers.Dense(2, name="head")(x))
        >>> print(rsr_tf.prune_filters(model, share=0.5))
        kernel  filters  removed     left
        conv         8        4        4
        head         2        0        2
        total       10        4        6
        >>> rsr_tf.rebuild(model).get_layer("conv").filters
        4
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
    stds = {id(port.kernel): kernel_std(port.kernel.kernel) for port in ports}
    for port in ports:
        removed_here = removed[channels.roots[port.labels]]
        if removed_here.any():  # otherwise the kernel was not pruned, and its `pruning_step` must not change
            put_mask(model, port.kernel, _mask_without(port, removed_here))
    for kernel in {id(port.kernel): port.kernel for port in ports}.values():
        preserve_noise_std(kernel, stds[id(kernel)])
    rows = [
        LayerFilters(port.kernel.path, len(port.labels), int(removed[channels.roots[port.labels]].sum()))
        for port in channels.filters
    ]
    return FilterTable(rows, channels.barriers)


def preserve_noise_std(kernel, previous_std):
    """Scale `alpha` of a kernel so that `alpha * std(W)` of Eq. 4 is the same as before a change of the kernel.

    If the kernel is constant, `alpha` is unchanged.

    Args:
        kernel: a `rsr_tf.layers.PrunableKernel`; one without noise is unchanged.
        previous_std: float, standard deviation of the kernel before the change.
    """
    std = kernel_std(kernel.kernel)
    if kernel.alpha is not None and std > 0:
        kernel.alpha.assign(kernel.alpha * (previous_std / std))


@dataclass(frozen=True)
class LayerFilters:
    """A row of the filter table: one kernel, its number of filters, and how many of them were removed.

    Args:
        path: string, path of the kernel in the model.
        filters: integer, number of filters.
        removed: integer, number of filters that were removed.

    Example:
        >>> rsr_tf.pruning.LayerFilters("conv", filters=16, removed=4)
        LayerFilters(path='conv', filters=16, removed=4)
    """

    path: str
    filters: int
    removed: int


class FilterTable(list):
    """A list of `LayerFilters` in the order of the model, which prints as a table with a total.

    Args:
        rows: iterable of `LayerFilters`.
        barriers: iterable of strings, names of the layers whose input filters are kept because there is no rule for
            their channels.

    Example:
        >>> rows = [rsr_tf.pruning.LayerFilters("conv", 16, 4), rsr_tf.pruning.LayerFilters("head", 10, 0)]
        >>> table = rsr_tf.pruning.FilterTable(rows)
        >>> table.filters, table.removed
        (26, 4)
    """

    def __init__(self, rows=(), barriers=()):
        super().__init__(rows)
        self.barriers = list(barriers)

    @property
    def filters(self):
        """Total number of filters."""
        return sum(row.filters for row in self)

    @property
    def removed(self):
        """Total number of removed filters."""
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
    """Return for each root the norm of all its filters, divided by their number of weights."""
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
    """Return the roots to remove, never the strongest one of a group."""
    ranked = [roots[np.argsort(strengths[roots], kind="stable")] for roots in groups]
    if scope == "layer":
        return np.concatenate([roots[:-1][: round(share * len(roots))] for roots in ranked])
    candidates = np.concatenate([roots[:-1] for roots in ranked])
    relative = np.concatenate([strengths[roots[:-1]] / max(strengths[roots].mean(), TINY) for roots in ranked])
    weakest = candidates[np.argsort(relative, kind="stable")]
    return weakest[: round(share * sum(len(roots) for roots in ranked))]


def _mask_without(port, removed):
    """Return the mask of a port's kernel with some positions of its axis removed, given as a bool array."""
    kernel = port.kernel
    shape = np.ones(len(kernel.kernel.shape), int)
    shape[port.axis] = len(removed)
    mask = np.broadcast_to(~removed.reshape(shape), kernel.kernel.shape)
    return mask if kernel.mask is None else np.asarray(kernel.mask) & mask
