"""Charts as SVG text: shared colors and axes, and the charts of more than one page.

No chart goes through pyplot, so the Matplotlib backend of the user is left unchanged.
"""

import io

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from rsr_tf.report.labels import DIRECT, RESCALED, STAGES, TRANSFER, network_label, percent_value

INK, GREY = "#1c1917", "#57534e"
BLUE, LIGHT_BLUE, GREEN, RED, OCHRE = "#1d4ed8", "#60a5fa", "#047857", "#9a3412", "#a16207"

NETWORK_STYLES = {
    "undefended": {"color": RED, "linestyle": ":"},
    "trained": {"color": BLUE, "linestyle": "--"},
    "pruned": {"color": GREEN, "linestyle": "-"},
}
"""Line options by the keys of `rsr_tf.report.labels.NETWORKS`."""
SCORE_STYLES = {
    "clean": {"color": BLUE, "marker": "o"},
    "fgsm": {"color": OCHRE, "marker": "^"},
    "pgd": {"color": RED, "marker": "s"},
}
"""Line options by the keys of `rsr_tf.report.labels.SCORES`."""
ORIGIN_STYLES = {
    DIRECT: {"marker": "o", "color": BLUE},
    TRANSFER: {"marker": "D", "color": RED, "markerfacecolor": "white"},
    RESCALED: {"marker": "s", "color": GREY},
}
"""Marker options by the keys of `rsr_tf.report.labels.ORIGINS`."""


def tidy(axes):
    """Add a light grid, remove the box, and return the axes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return axes


def legend(axes):
    """Add a small legend on a half-transparent background, so that lines behind it do not hide its text."""
    axes.legend(facecolor="white", edgecolor="none", framealpha=0.8, fontsize=8)


def percent_axis(axis):
    """Label the ticks of an axis of shares in percent."""
    axis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))


def svg(figure):
    """Return a figure as an SVG element. Its text stays text, and it carries no date."""
    figure.tight_layout()
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rsr_tf"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def share_below(curves):
    """Plot the share of weights with a magnitude below gamma (Fig. 2c).

    Args:
        curves: dict from the label of a network to a pair: a dict with equally long lists `"gamma"` and `"share"`, and
            a dict of line options.

    Returns:
        An SVG element as text.
    """
    axes = Figure(figsize=(5, 3.2)).subplots()
    for label, (curve, options) in curves.items():
        axes.plot(curve["gamma"], curve["share"], label=label, **options)
    axes.set(xscale="log", ylim=(0, 1), xlabel="threshold gamma", ylabel="share of weights")
    percent_axis(axes.yaxis)
    axes.set_title("weights that a threshold would prune", fontsize=10)
    legend(axes)
    return svg(tidy(axes).figure)


def share_below_by_network(networks):
    """Plot `share_below` for the networks of `evaluation.json`."""
    return share_below(
        {network_label(name): (entry["share_below"], _network_style(name)) for name, entry in networks.items()}
    )


def weight_histogram(networks):
    """Plot the distribution of weights on a logarithmic scale (Fig. 1).

    Args:
        networks: `"networks"` of `evaluation.json`.

    Returns:
        An SVG element as text.
    """
    axes = Figure(figsize=(5, 3.2)).subplots()
    for name, entry in networks.items():
        edges, counts = entry["histogram"]["edges"], entry["histogram"]["counts"]
        axes.stairs(counts, edges, label=network_label(name), linewidth=1.4, **_network_style(name))
    axes.set(yscale="log", xlabel="weight (the outermost bins include all larger ones)", ylabel="number of weights")
    axes.set_title("distribution of the weights", fontsize=10)
    legend(axes)
    return svg(tidy(axes).figure)


def _network_style(name):
    return NETWORK_STYLES.get(name, {"color": INK})


def training_curves(history, stage):
    """Plot accuracy and loss of one stage by epoch, clean and adversarial, training and validation.

    Args:
        history: rows of `history.csv`, as dicts of strings.
        stage: string, a key of `rsr_tf.report.labels.STAGES`.

    Returns:
        An SVG element as text.
    """
    rows = [row for row in history if row["stage"] == stage]
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure = Figure(figsize=(10, 3.2))
    for axes, quantity in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        clean = "accuracy" if quantity == "accuracy" else "clean_loss"
        for key, label, color in ((clean, "clean", LIGHT_BLUE), (f"adversarial_{quantity}", "adversarial", RED)):
            for prefix, data, style, marker in (("", "training", "-", "."), ("val_", "validation", ":", "x")):
                values = [_history_value(row, prefix + key) for row in rows if row.get(prefix + key)]
                if len(values) == len(epochs):
                    options = {"color": color, "linestyle": style, "marker": marker if len(epochs) < 9 else ""}
                    axes.plot(epochs, values, label=f"{label}, {data}", **options)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.set(xlabel="epoch", title=f"{STAGES[stage]}: {quantity}")
        if len(epochs) == 1:  # or Matplotlib zooms into fractions of an epoch
            axes.set(xlim=(0.5, 1.5), xticks=epochs)
        if quantity == "accuracy":
            axes.set_ylim(0, 1)
            percent_axis(axes.yaxis)
        legend(axes)
        tidy(axes)
    return svg(figure)


def _history_value(row, key):
    """Return a number of the history; NaN for adversarial values of a warm-up epoch, whose loss is exactly 0."""
    without_attack = key.startswith("adversarial") and float(row["adversarial_loss"]) == 0
    return float("nan") if without_attack else float(row[key])


def draw_heat_map(transfer):
    """Plot a transfer matrix: one row for each source, one column for each target.

    Args:
        transfer: dict, `TransferMatrix.as_dict()` or the same read from JSON.

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
        color = "white" if mean > 0.6 else "black"
        axes.text(column + 0.5, row + 0.5, percent_value(mean), ha="center", va="center", color=color)
    plain = {"parse_math": False}  # names of folders, in which a dollar is a dollar
    axes.set_xticks(np.arange(len(targets)) + 0.5, targets, rotation=30, ha="right", rotation_mode="anchor", **plain)
    axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows), **plain)
    axes.set(xlabel="evaluated on", ylabel="crafted on", title=f"accuracy, % (n={transfer['num_images']})")
    axes.invert_yaxis()
    return svg(figure)
