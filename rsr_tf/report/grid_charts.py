"""Charts of a grid in the form of the paper: a line for each cell (Fig. 1, 2a and 2c)."""

from matplotlib.figure import Figure

from rsr_tf.report.charts import (
    heading,
    histogram_chart,
    legend,
    listed,
    percent_axis,
    series_style,
    share_below,
    svg,
    tidy,
)
from rsr_tf.report.labels import cell_title, percent, shortened

MARKERS = "osD^vPX"


def accuracy_by_sparsity(cells):
    """Plot the accuracy under PGD against the share of pruned weights, a line for each cell (Fig. 2a).

    Args:
        cells: dict from name to an entry of `"curves"` with `"points"`.

    Returns:
        An SVG element as text.
    """
    axes, ends = Figure(figsize=(6, 3.8)).subplots(), []
    for number, entry in enumerate(cells.values()):
        points = sorted(entry["points"], key=lambda point: point["sparsity"])
        scores = [point["scores"].get("noise_on", point["scores"]["noise_off"])["pgd"] for point in points]
        places, style = [point["sparsity"] for point in points], series_style(number)
        title, means = cell_title(entry["labels"]), [score["mean"] for score in scores]
        axes.plot(places, means, marker=MARKERS[number % len(MARKERS)], label=shortened(title, 40), **style)
        low, high = zip(*(score["interval"] for score in scores), strict=True)
        axes.fill_between(places, low, high, color=style["color"], alpha=0.12, linewidth=0)
        ends.append((title, f"{percent(means[0])} to {percent(means[-1])}"))
    axes.set(xlabel="sparsity (share of weights that are zero)", ylabel="accuracy under PGD", ylim=(0, None))
    for axis in (axes.xaxis, axes.yaxis):
        percent_axis(axis)
    heading(axes, "Accuracy under PGD by sparsity")
    legend(axes)
    return svg(
        tidy(axes).figure, "Accuracy under PGD by sparsity", f"From the lowest sparsity to the highest: {listed(ends)}."
    )


def weight_histogram(cells):
    """Plot the distribution of the weights of the second convolution (Fig. 1).

    Args:
        cells: `"weights"` of the content of a grid.

    Returns:
        An SVG element as text.
    """
    return histogram_chart(_curves(cells, "histogram"))


def small_weights(cells):
    """Plot the share of weights with a magnitude below gamma (Fig. 2c).

    Args:
        cells: `"weights"` of the content of a grid.

    Returns:
        An SVG element as text.
    """
    return share_below(_curves(cells, "share_below"))


def _curves(cells, key):
    return {
        cell_title(entry["labels"]): (entry[key], series_style(number)) for number, entry in enumerate(cells.values())
    }
