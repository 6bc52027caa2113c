"""Charts of a sweep: accuracy by sparsity and by lambda, size by sparsity, small weights (Fig. 2)."""

import matplotlib
import matplotlib.ticker
from matplotlib.figure import Figure

from rsr_tf.report.charts import (
    GREEN,
    GREY,
    INK,
    NETWORK_STYLES,
    SCORE_STYLES,
    legend,
    percent_axis,
    share_below,
    svg,
    tidy,
)
from rsr_tf.report.labels import SCORES, network_label, noise_label

VARIANTS = ("noise_on", "noise_off")
"""Identifiers of a network with noise on and with noise off, in the order of the panels."""
BY_LAMBDA = ("trained", "pruned")
"""Identifiers of the networks of `"lambdas"`, in the order of charts and tables."""


def accuracy_by_sparsity(points):
    """Plot accuracy against the share of weights that are exactly zero, with noise on and off (Fig. 2a).

    Args:
        points: `"points"` of `sweep.json`.

    Returns:
        An SVG element as text.
    """
    points = sorted(points, key=lambda point: point["sparsity"])
    sparsities = [point["sparsity"] for point in points]
    figure, panels = _panels(points[0]["scores"])
    for variant, axes in panels.items():
        for name in SCORES:
            _plot_scores(axes, sparsities, [point["scores"][variant][name] for point in points], name)
        axes.set(xlabel="sparsity (share of weights that are zero)", xlim=(-0.02, 1.02))
        percent_axis(axes.xaxis)
    return _finish(figure, panels)


def accuracy_by_lambda(lambdas):
    """Plot accuracy against lambda, before pruning (dashed) and after it, with noise on and off (Fig. 2b).

    Args:
        lambdas: `"lambdas"` of `sweep.json`.

    Returns:
        An SVG element as text.
    """
    values = [entry["lambda"] for entry in lambdas]
    figure, panels = _panels(lambdas[0]["networks"]["pruned"]["scores"])
    for variant, axes in panels.items():
        for network in BY_LAMBDA:
            entries = [entry["networks"].get(network) for entry in lambdas]
            if not all(entries):  # a network that was pruned during training has no entry "trained"
                continue
            style = NETWORK_STYLES[network]["linestyle"]
            for name in ("clean", "pgd"):
                scores = [entry["scores"][variant][name] for entry in entries]
                _plot_scores(axes, values, scores, name, suffix=f", {network_label(network)}", linestyle=style)
        least = min((value for value in values if value), default=1.0)
        axes.set_xscale("symlog", linthresh=least)
        axes.set_xticks(values, [f"{value:g}" for value in values], rotation=30, ha="right", fontsize=8)
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        axes.set(xlabel="lambda of the L1 penalty (Eq. 6)")
    return _finish(figure, panels)


def size_by_sparsity(points):
    """Plot the size of the compact archive, relative to dense weights, against sparsity.

    Args:
        points: `"points"` of `sweep.json`.

    Returns:
        An SVG element as text.
    """
    points = sorted(points, key=lambda point: point["sparsity"])
    sparsities = [point["sparsity"] for point in points]
    archive = [point["bytes"]["compact_bytes"] / point["bytes"]["dense_bytes"] for point in points]
    axes = Figure(figsize=(5, 3.2)).subplots()
    axes.plot(sparsities, archive, "-o", color=GREEN, label="compact archive")
    axes.plot([0, 1], [1, 0], ":", color=GREY, label="non-zero weights alone")
    axes.set(xlabel="sparsity", ylabel="relative to dense float32", xlim=(0, 1.02), ylim=(0, None))
    for axis in (axes.xaxis, axes.yaxis):
        percent_axis(axis)
    axes.set_title("size of the network as a file", fontsize=10)
    legend(axes)
    return svg(tidy(axes).figure)


def small_weights(sweep):
    """Plot the share of weights below gamma for every lambda, light to dark, and for the networks of the run (Fig. 2c).

    Args:
        sweep: dict, content of `sweep.json`.

    Returns:
        An SVG element as text, or `None` if the sweep has no such curves.
    """
    shades, count = matplotlib.colormaps["viridis_r"], len(sweep["lambdas"])
    curves = {
        f"lambda {entry['lambda']:g}": (entry["share_below"], {"color": shades(number / count)})
        for number, entry in enumerate(sweep["lambdas"], 1)
    }
    for name, curve in sweep["share_below"].items():
        curves[network_label(name)] = (curve, {**NETWORK_STYLES[name], "color": INK})
    return share_below(curves) if curves else None


def _panels(scores):
    """Return a figure with one panel for each variant of a network, and a dict from variant to axes."""
    variants = [variant for variant in VARIANTS if variant in scores]
    figure = Figure(figsize=(5 * len(variants), 3.4))
    columns = figure.subplots(1, len(variants), sharey=True, squeeze=False)[0]
    return figure, dict(zip(variants, columns, strict=True))


def _plot_scores(axes, places, scores, name, *, suffix="", linestyle="-"):
    """Plot a line through mean accuracies, with error bars of one standard deviation over the repeats."""
    axes.errorbar(
        places,
        [score["mean"] for score in scores],
        yerr=[score["std"] for score in scores],
        label=SCORES[name] + suffix,
        **SCORE_STYLES[name],
        markersize=4,
        linestyle=linestyle,
        linewidth=1.4,
        capsize=2,
        clip_on=False,
    )


def _finish(figure, panels):
    for variant, axes in panels.items():
        axes.set_title(noise_label(variant, has_noise="noise_on" in panels), fontsize=10)
        axes.set_ylim(0, 1)
        percent_axis(axes.yaxis)
        legend(axes)
        tidy(axes)
    next(iter(panels.values())).set_ylabel("accuracy")
    return svg(figure)
