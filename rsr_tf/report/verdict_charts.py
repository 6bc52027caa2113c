"""Charts of a verdict: every attack of the suite, and accuracy by epsilon."""

import math

import matplotlib.ticker
from matplotlib.figure import Figure

from rsr_tf.report.charts import BLUE, INK, ORIGIN_STYLES, WIDTH, heading, listed, percent_axis, svg, tidy
from rsr_tf.report.labels import (
    DIRECT,
    ORIGINS,
    RESCALED,
    TRANSFER,
    attack_label,
    distance_text,
    percent,
    percent_value,
)

BLIND = ("NoAttack", "RandomSigns")
"""Attacks that use no network, so they count as crafted on every network."""
NUMBERS = 1.17
"""Right end of the column of numbers, in widths of the axes: clear of a marker at 100 %."""


def origin_of(row):
    """Return where an attack was crafted relative to the network that it is scored on.

    Args:
        row: dict, a row of `"attacks"` of a verdict.

    Returns:
        A key of `rsr_tf.report.labels.ORIGINS`.
    """
    if row["crafted_on"] == "rescaled":
        return RESCALED
    blind = row["parameters"]["attack"] in BLIND
    return DIRECT if blind or row["crafted_on"] == row["scored_on"] else TRANSFER


def chart_rows(verdict, target):
    """Return the attacks at the epsilon of the claim, scored on one network, as points of a chart.

    Args:
        verdict: dict, content of a `verdict_*.json`.
        target: `"noise_on"` or `"noise_off"`.

    Returns:
        `(alone, in_turn)`, two lists of dicts with `"label"`, `"origin"`, `"share"` and `"interval"`. Alone: accuracy
        under the attack, on the images that it attacked. In turn: accuracy on all images under this attack and all
        attacks before it.
    """
    epsilon = verdict["parameters"]["epsilon"]
    alone, in_turn = [], []
    for row in verdict["attacks"]:
        if row["scored_on"] != target or row["parameters"].get("epsilon", epsilon) != epsilon:
            continue
        if row["subset"] == "still_robust":
            in_turn.append(_point(row, row["robust_accuracy"], row["robust_accuracy_interval"]))
        else:
            alone.append(_point(row, row["accuracy"], row["interval"]))
    return alone, in_turn


def _point(row, share, interval):
    origin = origin_of(row)
    label = attack_label(row["attack"]) + ("" if origin == DIRECT else f" ({ORIGINS[origin]})")
    return {"label": label, "origin": origin, "share": share, "interval": interval}


def attack_chart(verdict, target):
    """Plot accuracy with its interval under every attack on one network, and the worst case.

    Args:
        verdict, target: as for `chart_rows`.

    Returns:
        An SVG element as text.
    """
    alone, in_turn = chart_rows(verdict, target)
    titles = {"Each attack alone": alone, "In sequence: accuracy on all images": in_turn}
    panels = {title: points for title, points in titles.items() if points}
    heights = [len(points) + 1 for points in panels.values()]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.21 * sum(heights)))
    column = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    worst = verdict["by_noise"][target]["worst_case"]["accuracy"]
    for axes, (title, points) in zip(column, panels.items(), strict=True):
        _plot_points(axes, points)
        axes.axvline(worst, color=INK, linestyle="--", linewidth=1)
        heading(axes, title)
    percent_axis(column[-1].xaxis)
    column[-1].set_xlabel(f"classified correctly; dashed: worst case, {percent(worst)}", fontsize=9)
    found = listed((point["label"], percent(point["share"])) for point in alone + in_turn)
    return svg(figure, "Accuracy under every attack", f"{found}. Worst case {percent(worst)}.")


def _plot_points(axes, points):
    """Plot points with intervals from top to bottom, labels on the left and numbers on the right."""
    for place, point in enumerate(points):
        style = ORIGIN_STYLES[point["origin"]]
        axes.plot(point["interval"], [place, place], color=style["color"], linewidth=1.4)
        axes.plot(point["share"], place, markersize=5.5, clip_on=False, zorder=3, **style)
        position = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        axes.text(NUMBERS, place, percent_value(point["share"]), fontsize=8, **position)
    axes.set_yticks(range(len(points)), [point["label"] for point in points], fontsize=8, parse_math=False)
    axes.set(xlim=(0, 1), ylim=(len(points) - 0.4, -0.6))
    tidy(axes).tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)


def epsilon_curve(verdict):
    """Plot accuracy with its interval by epsilon, under PGD with one draw of noise in each step.

    Args:
        verdict: dict, content of a `verdict_*.json`.

    Returns:
        An SVG element as text.
    """
    curve, epsilon = verdict["curve"], verdict["parameters"]["epsilon"]
    norm = verdict["parameters"].get("norm", "linf")
    unit = 255 if norm == "linf" else 1
    radii, shares = [unit * point["epsilon"] for point in curve], [point["mean"] for point in curve]
    axes = Figure(figsize=(WIDTH, 3)).subplots()
    lows, highs = zip(*(point["mean_interval"] for point in curve), strict=True)
    axes.fill_between(radii, lows, highs, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(radii, shares, clip_on=False, **ORIGIN_STYLES[DIRECT])
    _mark_epsilon(axes, unit * epsilon, radii[-1], f"claim: {distance_text(epsilon, norm)}")
    axes.set_xscale("symlog", base=2, linthresh=radii[1])
    apart = [radius for radius, wider in zip(radii, [*radii[1:], math.inf], strict=True) if wider >= 1.5 * radius]
    axes.set_xticks(apart, [f"{radius:.3g}" for radius in apart])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    label = "epsilon, in grey levels of 255" if norm == "linf" else f"epsilon, {norm}"
    axes.set(xlim=(0, radii[-1]), ylim=(0, 1), xlabel=label, ylabel="accuracy")
    percent_axis(axes.yaxis)
    heading(axes, "Accuracy by epsilon")
    found = listed((distance_text(point["epsilon"], norm), percent(point["mean"])) for point in curve)
    claim = f"The claim is for {distance_text(epsilon, norm)}."
    return svg(tidy(axes).figure, "Accuracy by epsilon", f"{found}. {claim}")


def _mark_epsilon(axes, place, widest, text):
    """Draw the epsilon of the claim as a dashed line with its name, where the falling curve leaves room."""
    axes.axvline(place, color=INK, linestyle="--", linewidth=1)
    left = place > widest / 2
    offset = {"xytext": (-5 if left else 5, 0), "textcoords": "offset points", "ha": "right" if left else "left"}
    height = {"xy": (place, 0.05 if left else 0.95), "xycoords": axes.get_xaxis_transform(), "va": "center"}
    axes.annotate(text, fontsize=8, **height, **offset)
