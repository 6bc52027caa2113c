"""The chart of a comparison of runs."""

from matplotlib.figure import Figure

from rsr_tf.report.charts import SCORE_STYLES, WIDTH, heading, legend, listed, percent_axis, tidy
from rsr_tf.report.colors import light
from rsr_tf.report.labels import percent, shortened
from rsr_tf.report.svg import svg

MARKS = {
    "clean": ("clean", SCORE_STYLES["clean"]),
    "pgd": ("PGD", SCORE_STYLES["pgd"]),
    "claim": ("claim of a suite", {"color": light("ink"), "marker": "D", "markerfacecolor": "white"}),
}
"""Label and line options by the keys of a result."""


def accuracy_chart(runs):
    """Plot clean accuracy, accuracy under PGD and claim of every run.

    Args:
        runs: as for `rsr_tf.report.compare_page.compare_page`.

    Returns:
        An SVG element as text, or `None` if no run has one of these numbers.
    """
    results = {name: run["results"] for name, run in runs.items()}
    if not any(key in found for found in results.values() for key in MARKS):
        return None
    axes = Figure(figsize=(WIDTH + 1, 1.4 + 0.3 * len(runs))).subplots()
    for key, (label, style) in MARKS.items():
        points = [(found[key], place) for place, found in enumerate(results.values()) if key in found]
        if points:
            shares, places = zip(*points, strict=True)
            axes.plot(shares, places, linestyle="", clip_on=False, zorder=3, label=label, **style)
    axes.set_yticks(range(len(runs)), [shortened(name) for name in runs], fontsize=8.5, parse_math=False)
    axes.set(xlim=(0, 1), ylim=(len(runs) - 0.4, -0.6), xlabel="classified correctly", ylabel="run")
    percent_axis(axes.xaxis)
    heading(axes, "Accuracy of each run")
    legend(axes, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=len(MARKS))
    found = [
        f"{name}: {listed((MARKS[key][0], percent(row[key])) for key in MARKS if key in row) or 'not measured'}"
        for name, row in results.items()
    ]
    return svg(tidy(axes).figure, "Accuracy of each run", f"{'; '.join(found)}.")
