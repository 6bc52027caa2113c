"""What all figures share: plain axes, SVG text to put into a page, and the figure that several pages have.

No figure goes through pyplot, so that the backend which a user has chosen stays.
"""

import io

import matplotlib
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


def svg(figure):
    """A figure as SVG text; its text stays text, its file carries no date."""
    figure.tight_layout()
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rsr_tf"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
