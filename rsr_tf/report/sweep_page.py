"""A sweep as tables and figures (Fig. 2), made of the content of `sweep.json` alone."""

import csv
import io

import matplotlib.cm
import matplotlib.ticker
from matplotlib.figure import Figure

from rsr_tf.report import charts as figures
from rsr_tf.report.charts import svg, tidy
from rsr_tf.report.render import render

ATTACKS = {"clean": ("clean", "#1d4ed8", "o"), "fgsm": ("FGSM", "#a16207", "^"), "pgd": ("PGD", "#9a3412", "s")}
"""Name, color and marker of each."""
NOISE = {"noisy": "noise on", "stripped": "noise off"}
STAGES = {"before pruning": "--", "after pruning": "-"}
TOLERANCE = 0.01
"""Accuracy that pruning may cost without being called a loss: one point."""


def write_sweep_page(path, config_text, sweep):
    """Render the page of a sweep.

    Args:
        path: `Path` of the HTML file to write.
        config_text: the resolved config of the run as TOML.
        sweep: content of `sweep.json`.
    """
    points, lambdas = sweep["points"], sweep["lambdas"]
    page = render(
        "sweep.html.jinja",
        title=f"Sweep of {sweep['scheme']}: {sweep['model']} on {sweep['data']}",
        config=config_text,
        sweep=sweep,
        noise=NOISE,
        stages=[stage for stage in STAGES if any(stage in row["networks"] for row in lambdas)],
        harmless=harmless_sparsities(points),
        accuracy=accuracy_by_sparsity(points) if points else None,
        sizes=size_by_sparsity(points) if points else None,
        accuracy_by_lambda=accuracy_by_lambda(lambdas) if lambdas else None,
        share_below=figures.share_below(_share_curves(sweep)) if _share_curves(sweep) else None,
    )
    path.write_text(page, encoding="utf-8")


def tables(sweep):
    """The numbers of a sweep as CSV.

    Args:
        sweep: content of `sweep.json`.

    Returns:
        A dict from the name of a file to its text: `points.csv` has a row for each network and noise on or off,
        `layers.csv` one for each network and layer, `lambdas.csv` one for each lambda, before and after pruning, and
        noise. Tables without rows are left out.
    """
    points, layers, lambdas = [], [], []
    for point in sweep["points"]:
        target = {"target": point["target"], "value": point["value"]}
        size = {"sparsity": point["sparsity"], "zeros": point["zeros"], "weights": point["weights"], **point["bytes"]}
        points += [target | size | row for row in _score_rows(point["scores"])]
        layers += [target | layer | {"shape": "x".join(map(str, layer["shape"]))} for layer in point["layers"]]
    for entry in sweep["lambdas"]:
        for stage, network in entry["networks"].items():
            about = {"lambda": entry["lambda"], "network": stage, "sparsity": network["sparsity"]}
            lambdas += [about | row for row in _score_rows(network["scores"])]
    found = {"points.csv": points, "layers.csv": layers, "lambdas.csv": lambdas}
    return {name: _csv(rows) for name, rows in found.items() if rows}


def _score_rows(scores):
    """Noise on and off, each with accuracy, deviation over the draws, and interval, under every attack."""
    for variant, attacks in scores.items():
        row = {"noise": variant == "noisy"}
        for attack in ATTACKS:
            score = attacks[attack]
            low, high = score["interval"]
            row |= {attack: score["mean"], f"{attack}_std": score["std"], f"{attack}_low": low, f"{attack}_high": high}
        yield row | {"n": attacks["clean"]["n"], "draws": attacks["clean"]["draws"]}


def _csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def harmless_sparsities(points):
    """How far pruning may go before it costs more than one point of accuracy, clean or under PGD.

    It is the highest sparsity up to which no measured one costs more, against the least pruned network of the sweep.

    Args:
        points: `sweep["points"]`.

    Returns:
        A list of dicts, with the noise on and off: `"noise"`, `"sparsity"` (`None` where every further pruning costs
        more), and `"first"` and `"last"`, the scores of the least pruned network and of that one. Empty for fewer than
        two networks.
    """
    if len(points) < 2:
        return []
    points = sorted(points, key=lambda point: point["sparsity"])
    found = []
    for variant in (variant for variant in NOISE if variant in points[0]["scores"]):
        first = last = points[0]
        for point in points:
            if any(_loss(first, point, variant, attack) > TOLERANCE for attack in ("clean", "pgd")):
                break
            last = point
        scores = {"first": first["scores"][variant], "last": last["scores"][variant]}
        found.append({"noise": variant, "sparsity": None if last is first else last["sparsity"], **scores})
    return found


def _loss(first, point, variant, attack):
    return first["scores"][variant][attack]["mean"] - point["scores"][variant][attack]["mean"]


def accuracy_by_sparsity(points):
    """Fig. 2a: accuracy against the share of weights at exact zero, with the noise on and off.

    Args:
        points: `sweep["points"]`.

    Returns:
        An SVG element as text.
    """
    points = sorted(points, key=lambda point: point["sparsity"])
    figure, panels = _panels(points[0]["scores"])
    for variant, axes in panels.items():
        for attack in ATTACKS:
            scores = [point["scores"][variant][attack] for point in points]
            _plot_scores(axes, [point["sparsity"] for point in points], scores, attack)
        axes.set(xlabel="sparsity", xlim=(-0.02, 1.02))
        axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    return _finish(figure, panels)


def accuracy_by_lambda(lambdas):
    """Fig. 2b: accuracy against lambda, before pruning (dashed) and after it, with the noise on and off.

    Args:
        lambdas: `sweep["lambdas"]`.

    Returns:
        An SVG element as text.
    """
    values = [entry["lambda"] for entry in lambdas]
    figure, panels = _panels(lambdas[0]["networks"]["after pruning"]["scores"])
    for variant, axes in panels.items():
        for stage, style in STAGES.items():
            for attack in ("clean", "pgd"):
                networks = [entry["networks"].get(stage) for entry in lambdas]
                if all(networks):  # pruned in training, a network has no time before it
                    scores = [network["scores"][variant][attack] for network in networks]
                    _plot_scores(axes, values, scores, attack, suffix=f", {stage}", linestyle=style)
        least = min((value for value in values if value), default=1.0)
        axes.set_xscale("symlog", linthresh=least)
        axes.set_xticks(values, [f"{value:g}" for value in values], rotation=30, ha="right", fontsize=8)
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        axes.set(xlabel="lambda of Eq. 6")
    return _finish(figure, panels)


def size_by_sparsity(points):
    """Bytes against sparsity: the compact archive, and its non-zero weights alone, as a share of all dense weights.

    Args:
        points: `sweep["points"]`.

    Returns:
        An SVG element as text.
    """
    points = sorted(points, key=lambda point: point["sparsity"])
    sparsities = [point["sparsity"] for point in points]
    archive = [point["bytes"]["compact_bytes"] / point["bytes"]["dense_bytes"] for point in points]
    axes = Figure(figsize=(5, 3.2)).subplots()
    axes.plot(sparsities, archive, "-o", color="#047857", label="compact archive")
    axes.plot([0, 1], [1, 0], ":", color="#57534e", label="non-zero weights alone")
    axes.set(xlabel="sparsity", ylabel="share of dense float32 weights", xlim=(0, 1.02), ylim=(0, None))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    axes.set_title("size")
    axes.legend(frameon=False, fontsize=8)
    return svg(tidy(axes).figure)


def _panels(scores):
    """A figure with axes side by side, for the noise on and off, as far as there are scores."""
    variants = [variant for variant in NOISE if variant in scores]
    figure = Figure(figsize=(5 * len(variants), 3.4))
    columns = figure.subplots(1, len(variants), sharey=True, squeeze=False)[0]
    return figure, dict(zip(variants, columns, strict=True))


def _plot_scores(axes, places, scores, attack, *, suffix="", linestyle="-"):
    """A line through the means, with bars of one standard deviation over the draws."""
    label, color, marker = ATTACKS[attack]
    axes.errorbar(
        places,
        [score["mean"] for score in scores],
        yerr=[score["std"] for score in scores],
        label=label + suffix,
        color=color,
        marker=marker,
        markersize=4,
        linestyle=linestyle,
        linewidth=1.4,
        capsize=2,
        clip_on=False,
    )


def _finish(figure, panels):
    for variant, axes in panels.items():
        axes.set_title(NOISE[variant])
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)
    next(iter(panels.values())).set_ylabel("accuracy")
    return svg(figure)


def _share_curves(sweep):
    """The curves of Fig. 2c with the options of their lines: lambdas light to dark, then the networks of the run."""
    shades, count = matplotlib.colormaps["viridis_r"], len(sweep["lambdas"])
    lambdas = {
        f"lambda {entry['lambda']:g}": (entry["share_below"], {"color": shades(number / count)})
        for number, entry in enumerate(sweep["lambdas"], 1)
    }
    styles = {"as trained": "--", "undefended": ":"}
    networks = {
        name: (curve, {"color": "#1c1917", "linestyle": styles[name]}) for name, curve in sweep["share_below"].items()
    }
    return lambdas | networks
