"""Charts of a sweep: accuracy by sparsity and by lambda, size by sparsity, small weights (Fig. 2)."""

import matplotlib.ticker
from matplotlib.figure import Figure

from rsr_tf.report.charts import (
    GREEN,
    GREY,
    INK,
    NETWORK_STYLES,
    SCORE_STYLES,
    WIDTH,
    heading,
    legend,
    listed,
    percent_axis,
    series_style,
    share_below,
    svg,
    tidy,
)
from rsr_tf.report.labels import SCORES, network_label, noise_label, percent

VARIANTS = ("noise_on", "noise_off")
"""Identifiers of a network with noise on and with noise off, in the order of the panels."""
BY_LAMBDA = ("trained", "pruned")
"""Identifiers of the networks of `"lambdas"`, in the order of charts and tables."""


def accuracy_by_sparsity(points):
    """Plot accuracy against the share of weights that are exactly zero, with noise on and off (Fig. 2a).

    Args:
        points: `"points"` of `sweep.json`.

    Returns:
        An SVG element for each variant, as text.
    """
    points = sorted(points, key=lambda point: point["sparsity"])
    sparsities, described = [point["sparsity"] for point in points], {}
    panels = _panels(points[0]["scores"])
    for variant, axes in panels.items():
        for name in SCORES:
            _plot_scores(axes, sparsities, [point["scores"][variant][name] for point in points], name)
        axes.set(xlabel="sparsity (share of weights that are zero)", xlim=(-0.02, 1.02))
        percent_axis(axes.xaxis)
        under = [(percent(point["sparsity"]), percent(point["scores"][variant]["pgd"]["mean"])) for point in points]
        described[variant] = f"Under PGD, by sparsity: {listed(under)}."
    return _finish(panels, "Accuracy by sparsity", described)


def accuracy_by_lambda(lambdas):
    """Plot accuracy against lambda, before pruning (dashed) and after it, with noise on and off (Fig. 2b).

    Args:
        lambdas: `"lambdas"` of `sweep.json`.

    Returns:
        An SVG element for each variant, as text.
    """
    values, described = [entry["lambda"] for entry in lambdas], {}
    panels = _panels(lambdas[0]["networks"]["pruned"]["scores"])
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
        pruned = [entry["networks"]["pruned"]["scores"][variant]["pgd"]["mean"] for entry in lambdas]
        under = [(f"{value:g}", percent(mean)) for value, mean in zip(values, pruned, strict=True)]
        described[variant] = f"Pruned network under PGD, by lambda: {listed(under)}."
    return _finish(panels, "Accuracy by lambda", described)


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
    axes = Figure(figsize=(WIDTH, 3.2)).subplots()
    axes.plot(sparsities, archive, "-o", color=GREEN, label="compact archive")
    axes.plot([0, 1], [1, 0], ":", color=GREY, label="non-zero weights alone")
    axes.set(xlabel="sparsity (share of weights that are zero)", ylabel="size, of dense float32")
    axes.set(xlim=(0, 1.02), ylim=(0, None))
    for axis in (axes.xaxis, axes.yaxis):
        percent_axis(axis)
    heading(axes, "Size of the network as a file")
    legend(axes)
    shown = listed((percent(share), percent(size)) for share, size in zip(sparsities, archive, strict=True))
    return svg(tidy(axes).figure, "Size of the compact archive by sparsity", f"Of dense weights, by sparsity: {shown}.")


def small_weights(sweep):
    """Plot the share of weights below gamma for every lambda and for the networks of the run (Fig. 2c).

    Args:
        sweep: dict, content of `sweep.json`.

    Returns:
        An SVG element as text, or `None` if the sweep has no such curves.
    """
    curves = {
        f"lambda {entry['lambda']:g}": (entry["share_below"], series_style(number))
        for number, entry in enumerate(sweep["lambdas"])
    }
    for name, curve in sweep["share_below"].items():
        curves[network_label(name)] = (curve, {**NETWORK_STYLES[name], "color": INK})
    return share_below(curves) if curves else None


def _panels(scores):
    """Return axes for each variant of a network, each in a figure of its own: side by side, or below each other."""
    return {variant: Figure(figsize=(WIDTH, 3.4)).subplots() for variant in VARIANTS if variant in scores}


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


def _finish(panels, title, described):
    charts = []
    for variant, axes in panels.items():
        label = noise_label(variant, has_noise="noise_on" in panels)
        heading(axes, label)
        axes.set(ylim=(0, 1), ylabel="accuracy")
        percent_axis(axes.yaxis)
        legend(axes)
        charts.append(svg(tidy(axes).figure, f"{title}, {label}", described[variant]))
    return "\n".join(charts)
