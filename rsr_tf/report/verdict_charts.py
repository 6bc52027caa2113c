"""Charts of a verdict: every attack of the suite, and accuracy by epsilon."""

import math

import matplotlib.ticker
from matplotlib.figure import Figure

from rsr_tf.report.charts import BLUE, INK, ORIGIN_STYLES, percent_axis, svg, tidy
from rsr_tf.report.labels import (
    DIRECT,
    ORIGINS,
    RESCALED,
    TRANSFER,
    attack_label,
    percent,
    percent_value,
)

BLIND = ("NoAttack", "RandomSigns")
"""Attacks that use no network, so they count as crafted on every network."""


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
    titles = {"each attack alone": alone, "in sequence: accuracy on all images": in_turn}
    panels = {title: points for title, points in titles.items() if points}
    heights = [len(points) + 1 for points in panels.values()]
    figure = Figure(figsize=(5.2, 0.9 + 0.21 * sum(heights)))
    column = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    worst = verdict["by_noise"][target]["worst_case"]["accuracy"]
    for axes, (title, points) in zip(column, panels.items(), strict=True):
        _plot_points(axes, points)
        axes.axvline(worst, color=INK, linestyle="--", linewidth=1)
        axes.set_title(title, loc="left", fontsize=9, weight="bold")
    percent_axis(column[-1].xaxis)
    column[-1].set_xlabel(f"classified correctly; dashed: worst case, {percent(worst)}", fontsize=9)
    return svg(figure)


def _plot_points(axes, points):
    """Plot points with intervals from top to bottom, labels on the left and numbers on the right."""
    for place, point in enumerate(points):
        style = ORIGIN_STYLES[point["origin"]]
        axes.plot(point["interval"], [place, place], color=style["color"], linewidth=1.4)
        axes.plot(point["share"], place, markersize=5.5, clip_on=False, zorder=3, **style)
        position = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        axes.text(1.1, place, percent_value(point["share"]), fontsize=8, **position)
    axes.set_yticks(range(len(points)), [point["label"] for point in points], fontsize=8, parse_math=False)
    axes.set(xlim=(0, 1), ylim=(len(points) - 0.4, -0.6))
    tidy(axes).tick_params(axis="y", length=0)


def epsilon_curve(verdict):
    """Plot accuracy with its interval by epsilon, under PGD with one draw of noise in each step.

    Args:
        verdict: dict, content of a `verdict_*.json`.

    Returns:
        An SVG element as text.
    """
    curve, epsilon = verdict["curve"], verdict["parameters"]["epsilon"]
    in_linf = verdict["parameters"].get("norm", "linf") == "linf"
    unit = 255 if in_linf else 1
    radii, shares = [unit * point["epsilon"] for point in curve], [point["mean"] for point in curve]
    axes = Figure(figsize=(5, 3)).subplots()
    lows, highs = zip(*(point["mean_interval"] for point in curve), strict=True)
    axes.fill_between(radii, lows, highs, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(radii, shares, clip_on=False, **ORIGIN_STYLES[DIRECT])
    axes.axvline(unit * epsilon, color=INK, linestyle="--", linewidth=1)
    axes.set_xscale("symlog", base=2, linthresh=radii[1])
    apart = [radius for radius, wider in zip(radii, [*radii[1:], math.inf], strict=True) if wider >= 1.5 * radius]
    axes.set_xticks(apart, [f"{radius:.3g}" for radius in apart])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set(xlim=(0, radii[-1]), ylim=(0, 1))
    axes.set_xlabel(f"epsilon{' in grey levels of 255' if in_linf else ', l2'}; dashed: epsilon of the claim")
    percent_axis(axes.yaxis)
    axes.set_title("accuracy by epsilon", loc="left", fontsize=9, weight="bold")
    return svg(tidy(axes).figure)
