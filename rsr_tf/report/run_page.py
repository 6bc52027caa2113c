"""`report.html`: one self-contained file, made of the JSON, `history.csv` and `config.toml` of a run alone."""

import matplotlib.ticker
from matplotlib.figure import Figure

from rsr_tf.report import charts as figures
from rsr_tf.report.charts import svg, tidy
from rsr_tf.report.render import render
from rsr_tf.report.verdict_page import strongest_first, summary, verdict_view

INK = {"undefended": "#9a3412", "before pruning": "#1d4ed8", "after pruning": "#047857"}
STROKE = {"undefended": ":", "before pruning": "--", "after pruning": "-"}
STAGES = {"train": "training", "finetune": "fine-tuning", "undefended": "undefended twin"}


def write_report(path, config_text, evaluation, history, verdicts=(), artefacts=None):
    """Render the report: the strongest verdict first and whole, then what else there is.

    Args:
        path: `Path` of the HTML file to write.
        config_text: the resolved config as TOML.
        evaluation: content of `evaluation.json`; empty if there is none, but then there must be a verdict.
        history: rows of `history.csv`, as dicts of strings.
        verdicts: contents of `verdict_*.json`. Defaults to none.
        artefacts: content of `artefacts.json`, if there is one.
    """
    verdicts = strongest_first(verdicts)
    about = evaluation or verdicts[0]
    page = render(
        "report.html.jinja",
        title=f"{about['scheme']}: {about['model']} on {about['data']}",
        config=config_text,
        verdict=verdict_view(verdicts[0]) if verdicts else None,
        others=[summary(verdict) for verdict in verdicts[1:]],
        artefacts=artefacts,
        curves=[_curves(history, stage) for stage in STAGES if any(row["stage"] == stage for row in history)],
        **_scores(evaluation),
    )
    path.write_text(page, encoding="utf-8")


def _scores(evaluation):
    """What the page shows of `evaluation.json`."""
    if not evaluation:
        return {"evaluation": None}
    networks = evaluation["networks"]
    return {
        "evaluation": evaluation,
        "claim": _claim(networks),
        "rows": [row for name, entry in networks.items() for row in _score_rows(name, entry)],
        "histogram": _histogram(networks),
        "share_below": _share_below(networks),
    }


def _claim(networks):
    """The weakest of the measured accuracies of the pruned network, which is what may be said of it, and the twin's."""
    pruned = networks["after pruning"]
    twin = networks.get("undefended", {"scores": {}})
    return {
        "sparsity": pruned["sparsity"],
        "clean": _lowest(pruned, ("clean",)),
        "attacked": _lowest(pruned, ("pgd", "fgsm")),
        "undefended": _lowest(twin, ("pgd", "fgsm")),
    }


def _lowest(entry, attacks):
    scores = [scores[attack] for scores in entry["scores"].values() for attack in attacks]
    return min(scores, key=lambda score: score["mean"], default=None)


def _score_rows(name, entry):
    for variant, scores in entry["scores"].items():
        yield {"network": name, "noise": variant == "noisy", "sparsity": entry["sparsity"], "scores": scores}


def _curves(history, stage):
    rows = [row for row in history if row["stage"] == stage]
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure = Figure(figsize=(10, 3.2))
    accuracy, loss = figure.subplots(1, 2)
    for axes, quantity in ((accuracy, "accuracy"), (loss, "loss")):
        clean = "accuracy" if quantity == "accuracy" else "clean_loss"
        for key, label, ink in ((clean, "clean", "#60a5fa"), (f"adversarial_{quantity}", "adversarial", "#9a3412")):
            for prefix, style in (("", "-"), ("val_", ":")):
                values = [_value(row, prefix + key) for row in rows if row.get(prefix + key)]
                if len(values) == len(epochs):
                    held_out = ", validation" if prefix else ", training"
                    axes.plot(
                        epochs, values, style, color=ink, label=label + held_out, marker="." if len(epochs) < 9 else ""
                    )
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.set(xlabel="epoch", title=f"{STAGES[stage]}: {quantity}")
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)
    accuracy.set_ylim(0, 1)
    return svg(figure)


def _value(row, key):
    """A number of the history; none for the adversarial quantities of a warm-up epoch, whose loss is exactly 0."""
    unattacked = key.startswith("adversarial") and float(row["adversarial_loss"]) == 0
    return float("nan") if unattacked else float(row[key])


def _histogram(networks):
    """Fig. 1: how many weights have which size, on a logarithmic scale."""
    axes = Figure(figsize=(5, 3.2)).subplots()
    for name, entry in networks.items():
        edges, counts = entry["histogram"]["edges"], entry["histogram"]["counts"]
        axes.stairs(counts, edges, color=INK[name], linestyle=STROKE[name], label=name, linewidth=1.4)
    axes.set(yscale="log", xlabel="weight (the ends hold what lies beyond)", ylabel="number of weights")
    axes.set_title("weights before and after pruning")
    axes.legend(frameon=False, fontsize=8)
    return svg(tidy(axes).figure)


def _share_below(networks):
    styles = {name: {"color": INK[name], "linestyle": STROKE[name]} for name in networks}
    return figures.share_below({name: (entry["share_below"], styles[name]) for name, entry in networks.items()})
