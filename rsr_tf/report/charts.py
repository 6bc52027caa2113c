"""What charts share, and the charts of more than one page, as SVG text."""

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from rsr_tf.report.colors import SERIES, contrast, light
from rsr_tf.report.labels import DIRECT, RESCALED, STAGES, TRANSFER, network_label, percent, percent_value, shortened
from rsr_tf.report.svg import svg

INK, GREY = light("ink"), light("soft")
BLUE, GREEN, RED, OCHRE = (light(name) for name in ("blue", "green", "red", "ochre"))
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
WIDTH = 5.2
"""Width of a chart in inches: two fit side by side on a desk, and one is legible on a phone."""

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


def series_style(number):
    """Return color and line style of one of any number of lines, no two of the first 24 alike."""
    lines = ("-", "--", ":")
    return {"color": light(SERIES[number % len(SERIES)]), "linestyle": lines[(number // len(SERIES)) % len(lines)]}


def tidy(axes):
    """Add a light grid, remove the box, and return the axes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GREY, alpha=0.22, linewidth=0.7)
    axes.set_axisbelow(True)
    return axes


def heading(axes, title):
    """Set the title of a panel, small and to the left."""
    axes.set_title(title, loc="left", fontsize=9.5, weight="bold")


def legend(axes, **options):
    """Add a small legend on a half-transparent background, so that lines behind it do not hide its text."""
    shown = axes.legend(facecolor="white", edgecolor="none", framealpha=0.8, fontsize=8.5, **options)
    for text in shown.get_texts():
        text.set_parse_math(False)  # in names, a dollar is a dollar


def percent_axis(axis):
    """Label the ticks of an axis of shares in percent."""
    axis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0, symbol="\N{NO-BREAK SPACE}%"))


def logarithmic_axis(axis):
    """Label the ticks of an axis such as `10⁻³`, in plain text.

    Matplotlib would typeset them, which takes half of the time of a chart and is no text for screen readers.
    """
    axis.set_major_formatter(PowersOfTen())
    axis.set_minor_formatter(PowersOfTen())


class PowersOfTen(matplotlib.ticker.LogFormatter):
    """Label the same ticks as Matplotlib, by `power_of_ten`."""

    def __call__(self, x, pos=None):
        return power_of_ten(x) if super().__call__(x, pos) else ""


def power_of_ten(number):
    """Return a positive number with one digit as text, such as `"10⁻³"`, `"2·10⁴"` or `"5"`.

    Example:
        >>> from rsr_tf.report.charts import power_of_ten
        >>> power_of_ten(0.002)
        '2·10⁻³'
    """
    digit, exponent = f"{number:.0e}".split("e")
    if not int(exponent):
        return digit
    return f"{'' if digit == '1' else f'{digit}·'}10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def listed(pairs):
    """Return pairs of names and texts as words, such as `"clean 99.1 %, PGD 48.0 %"`."""
    return ", ".join(f"{name} {text}" for name, text in pairs)


def share_below(curves):
    """Plot the share of weights with a magnitude below gamma (Fig. 2c).

    Args:
        curves: dict from the label of a network to a pair: a dict with equally long lists `"gamma"` and `"share"`, and
            a dict of line options.

    Returns:
        An SVG element as text.
    """
    axes = Figure(figsize=(WIDTH, 3.2)).subplots()
    for label, (curve, options) in curves.items():
        axes.plot(curve["gamma"], curve["share"], label=shortened(label, 40), **options)
    axes.set(xscale="log", ylim=(0, 1), xlabel="threshold gamma", ylabel="share of weights below")
    percent_axis(axes.yaxis)
    logarithmic_axis(axes.xaxis)
    heading(axes, "Weights that a threshold would prune")
    legend(axes)
    middle = {label: len(curve["gamma"]) // 2 for label, (curve, _) in curves.items()}
    shares = listed(
        (label, f"{percent(curve['share'][middle[label]])} below {curve['gamma'][middle[label]]:g}")
        for label, (curve, _) in curves.items()
    )
    return svg(tidy(axes).figure, "Share of weights below a threshold", f"Rising curves by threshold: {shares}.")


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
    return histogram_chart(
        {network_label(name): (entry["histogram"], _network_style(name)) for name, entry in networks.items()}
    )


def histogram_chart(curves):
    """Plot distributions of weights on a logarithmic scale (Fig. 1).

    Args:
        curves: dict from a label to a pair: a dict with `"edges"` and `"counts"`, and a dict of line options.

    Returns:
        An SVG element as text.
    """
    axes = Figure(figsize=(WIDTH, 3.2 + 0.1 * len(curves))).subplots()
    for label, (histogram, options) in curves.items():
        axes.stairs(histogram["counts"], histogram["edges"], label=shortened(label, 40), linewidth=1.4, **options)
    axes.set(yscale="log", xlabel="weight (the outermost bins include all larger ones)", ylabel="number of weights")
    logarithmic_axis(axes.yaxis)
    heading(axes, "Distribution of the weights")
    columns = 3 if max(map(len, curves)) < 15 else 2
    legend(axes, loc="upper left", bbox_to_anchor=(0, -0.22), ncols=columns)  # no corner is free of bars
    fullest = listed((label, f"{max(histogram['counts']):,}") for label, (histogram, _) in curves.items())
    return svg(tidy(axes).figure, "Histogram of the weights", f"Number of weights in the fullest bin: {fullest}.")


def _network_style(name):
    return NETWORK_STYLES.get(name, {"color": INK})


def training_curves(history, stage):
    """Plot accuracy and loss of one stage by epoch, clean and adversarial, training and validation.

    Args:
        history: rows of `history.csv`, as dicts of strings.
        stage: string, a key of `rsr_tf.report.labels.STAGES`.

    Returns:
        Two SVG elements as text.
    """
    rows = [row for row in history if row["stage"] == stage]
    epochs = [int(row["epoch"]) + 1 for row in rows]
    charts = []
    for quantity in ("accuracy", "loss"):
        axes, last = Figure(figsize=(WIDTH, 3.2)).subplots(), []
        clean = "accuracy" if quantity == "accuracy" else "clean_loss"
        for key, label, color in ((clean, "clean", BLUE), (f"adversarial_{quantity}", "adversarial", RED)):
            for prefix, data, style, marker in (("", "training", "-", "."), ("val_", "validation", ":", "x")):
                values = [_history_value(row, prefix + key) for row in rows if row.get(prefix + key)]
                if len(values) == len(epochs):
                    options = {"color": color, "linestyle": style, "marker": marker if len(epochs) < 9 else ""}
                    axes.plot(epochs, values, label=f"{label}, {data}", **options)
                    last.append((f"{label} {data}", percent(values[-1]) if quantity == "accuracy" else values[-1]))
        _finish_training_chart(axes, quantity, epochs)
        heading(axes, f"{quantity.capitalize()}, {STAGES[stage]}")
        title = f"{quantity.capitalize()} by epoch, {STAGES[stage]}"
        charts.append(svg(tidy(axes).figure, title, f"After the last epoch, {epochs[-1]}: {listed(last)}."))
    return "\n".join(charts)


def _finish_training_chart(axes, quantity, epochs):
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel=quantity)
    if len(epochs) == 1:  # or Matplotlib zooms into fractions of an epoch
        axes.set(xlim=(0.5, 1.5), xticks=epochs)
    if quantity == "accuracy":
        axes.set_ylim(0, 1)
        percent_axis(axes.yaxis)
    legend(axes)


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
        cell = matplotlib.colors.to_hex(matplotlib.colormaps["Blues"](mean))
        color = max(("#fefefe", "#111111"), key=lambda ink: contrast(ink, cell))  # on any screen, as the cells are
        axes.text(column + 0.5, row + 0.5, percent_value(mean), ha="center", va="center", color=color)
    plain = {"parse_math": False}  # names of folders, in which a dollar is a dollar
    axes.set_xticks(
        np.arange(len(targets)) + 0.5,
        [shortened(name) for name in targets],
        rotation=30,
        ha="right",
        rotation_mode="anchor",
        **plain,
    )
    axes.set_yticks(np.arange(len(rows)) + 0.5, [shortened(name) for name in rows], **plain)
    axes.set(xlabel="evaluated on", ylabel="crafted on", title=f"accuracy, % (n={transfer['num_images']})")
    axes.invert_yaxis()
    cells = [
        f"crafted on {source}: {listed((target, percent(row[target]['mean'])) for target in targets)}"
        for source, row in rows.items()
    ]
    return svg(figure, "Transfer matrix: accuracy on adversarial images", f"Evaluated on each: {'; '.join(cells)}.")
