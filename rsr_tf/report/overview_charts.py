"""Charts of single classes and single layers of a run."""

from matplotlib.figure import Figure

from rsr_tf.report.charts import SCORE_STYLES, WIDTH, heading, legend, listed, percent_axis, tidy
from rsr_tf.report.colors import light
from rsr_tf.report.labels import percent, shortened
from rsr_tf.report.svg import svg

MOST_ROWS = 40
"""Rows up to which a chart is legible; the table has all."""


def class_chart(classes):
    """Plot the accuracy of every class, clean and under PGD.

    Args:
        classes: dict, as returned by `rsr_tf.report.overview.by_class`.

    Returns:
        An SVG element as text, or `None` for too many classes.
    """
    if len(classes) > MOST_ROWS:
        return None
    axes, places = _rows(len(classes)), range(len(classes))
    for place, shares in enumerate(classes.values()):
        axes.plot([shares["pgd"], shares["clean"]], [place, place], color=light("soft"), linewidth=1.2, alpha=0.6)
    for name, label in (("clean", "clean"), ("pgd", "under PGD")):
        values = [shares[name] for shares in classes.values()]
        axes.plot(values, places, linestyle="", clip_on=False, zorder=3, label=label, **SCORE_STYLES[name])
    axes.set_yticks(places, [shortened(name) for name in classes], fontsize=8, parse_math=False)
    axes.set(xlim=(0, 1), xlabel="classified correctly", ylabel="class")
    percent_axis(axes.xaxis)
    heading(axes, "Accuracy by class, pruned network")
    legend(axes, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=2)
    found = listed((name, f"{percent(row['clean'])} and {percent(row['pgd'])}") for name, row in classes.items())
    return svg(tidy(axes).figure, "Accuracy by class", f"Clean and under PGD: {found}.")


def noise_chart(alpha):
    """Plot the mean noise scale of every layer (Eq. 4).

    Args:
        alpha: list of dicts with `"path"` and `"mean"`, `"alpha"` of the facts of a network.

    Returns:
        An SVG element as text, or `None` for no noise or too many layers.
    """
    if not 0 < len(alpha) <= MOST_ROWS:
        return None
    axes, places = _rows(len(alpha)), range(len(alpha))
    axes.barh(places, [row["mean"] for row in alpha], height=0.6, color=light("blue"))
    axes.set_yticks(places, [shortened(row["path"]) for row in alpha], fontsize=8, parse_math=False)
    axes.set(xlim=(0, None), xlabel="mean |alpha|, the learned scale of the noise (Eq. 4)", ylabel="kernel")
    heading(axes, "Noise of each layer, pruned network")
    found = listed((row["path"], f"{row['mean']:.3g}") for row in alpha)
    return svg(tidy(axes).figure, "Mean noise scale of each layer", f"{found}.")


def _rows(count):
    """Return axes with a row for each of some names, from top to bottom."""
    axes = Figure(figsize=(WIDTH, 1.2 + 0.22 * count)).subplots()
    axes.set_ylim(count - 0.4, -0.6)
    return axes
