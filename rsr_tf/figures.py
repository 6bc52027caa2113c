"""What all figures share: plain axes, and SVG text to put into a page."""

import io

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt


def tidy(axes):
    """Axes with a light grid and without a box around them."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return axes


def svg(figure):
    """A figure as SVG text, and closed; its text stays text, its file carries no date."""
    figure.tight_layout()
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rsr_tf"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
