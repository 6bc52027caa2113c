"""Charts of a grid in the form of the paper: a line for each cell (Fig. 1, 2a and 2c)."""

import matplotlib
from matplotlib.figure import Figure

from rsr_tf.report.charts import legend, percent_axis, share_below, svg, tidy
from rsr_tf.report.labels import cell_title

MARKERS = "osD^vPX"


def _styles(cells):
    """Return line options for each cell."""
    colors = matplotlib.colormaps["tab10"]
    return {
        name: {
            "color": colors(number % 10),
            "linestyle": ("-", "--", ":")[number % 3],
            "label": cell_title(entry["labels"]),
        }
        for number, (name, entry) in enumerate(cells.items())
    }


def accuracy_by_sparsity(cells):
    """Plot the accuracy under PGD against the share of pruned weights, a line for each cell (Fig. 2a).

    Args:
        cells: dict from name to an entry of `"curves"` with `"points"`.

    Returns:
        An SVG element as text.
    """
    axes, styles = Figure(figsize=(6, 3.6)).subplots(), _styles(cells)
    for number, (name, entry) in enumerate(cells.items()):
        points = sorted(entry["points"], key=lambda point: point["sparsity"])
        scores = [point["scores"].get("noise_on", point["scores"]["noise_off"])["pgd"] for point in points]
        places, marker = [point["sparsity"] for point in points], MARKERS[number % len(MARKERS)]
        axes.plot(places, [score["mean"] for score in scores], marker=marker, **styles[name])
        low, high = zip(*(score["interval"] for score in scores), strict=True)
        axes.fill_between(places, low, high, color=styles[name]["color"], alpha=0.12, linewidth=0)
    axes.set(xlabel="sparsity (share of weights that are zero)", ylabel="accuracy under PGD", ylim=(0, None))
    for axis in (axes.xaxis, axes.yaxis):
        percent_axis(axis)
    legend(axes)
    return svg(tidy(axes).figure)


def weight_histogram(cells):
    """Plot the distribution of the weights of the second convolution (Fig. 1).

    Args:
        cells: `"weights"` of the content of a grid.

    Returns:
        An SVG element as text.
    """
    axes, styles = Figure(figsize=(6, 3.6)).subplots(), _styles(cells)
    for name, entry in cells.items():
        axes.stairs(entry["histogram"]["counts"], entry["histogram"]["edges"], **styles[name])
    axes.set(yscale="log", xlabel="weight (the outermost bins include all larger ones)", ylabel="number of weights")
    legend(axes)
    return svg(tidy(axes).figure)


def small_weights(cells):
    """Plot the share of weights with a magnitude below gamma (Fig. 2c).

    Args:
        cells: `"weights"` of the content of a grid.

    Returns:
        An SVG element as text.
    """
    styles = _styles(cells)
    return share_below(
        {styles[name].pop("label"): (entry["share_below"], styles[name]) for name, entry in cells.items()}
    )
