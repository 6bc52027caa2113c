"""What all figures share: plain axes, SVG text to put into a page, and the figure that several pages have.

No figure goes through pyplot, so that the backend which a user has chosen stays.
"""

import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure


def tidy(axes):
    """Axes with a light grid and without a box around them."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return axes


def share_below(curves):
    """Fig. 2c: the share of weights under gamma.

    Args:
        curves: dict from the name of a network to a pair: a dict with equally long lists `"gamma"` and `"share"`, and
            options of its line.

    Returns:
        An SVG element as text.
    """
    axes = Figure(figsize=(5, 3.2)).subplots()
    for name, (curve, options) in curves.items():
        axes.plot(curve["gamma"], curve["share"], label=name, **options)
    axes.set(xscale="log", ylim=(0, 1), xlabel="gamma", ylabel="share of weights under gamma")
    axes.set_title("what a threshold would prune")
    axes.legend(frameon=False, fontsize=8)
    return svg(tidy(axes).figure)


def draw_heat_map(transfer):
    """A transfer matrix as a picture: one row for each source, one column for each target.

    Args:
        transfer: `TransferMatrix.as_dict()`, or the same read from JSON.

    Returns:
        An SVG element as text.
    """
    rows = transfer["accuracy"]
    targets = list(next(iter(rows.values())))
    means = np.array([[row[target]["mean"] for target in targets] for row in rows.values()])
    figure = Figure(figsize=(2 + 1.1 * len(targets), 1.4 + 0.5 * len(rows)))
    axes = figure.subplots()
    axes.pcolormesh(means, cmap="Blues", vmin=0, vmax=1, edgecolors="white")
    for (row, column), mean in np.ndenumerate(means):
        ink = "white" if mean > 0.6 else "black"
        axes.text(column + 0.5, row + 0.5, f"{100 * mean:.1f}", ha="center", va="center", color=ink)
    axes.set_xticks(np.arange(len(targets)) + 0.5, targets, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
    axes.set(xlabel="target", ylabel="crafted on", title=f"accuracy, % (n={transfer['n']})")
    axes.invert_yaxis()
    return svg(figure)


def svg(figure):
    """A figure as SVG text; its text stays text, its file carries no date."""
    figure.tight_layout()
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rsr_tf"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
