"""`report.html`: one self-contained file, made of `evaluation.json`, `history.csv` and `config.toml` alone."""

import io

import jinja2
import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import matplotlib.ticker

INK = {"undefended": "#9a3412", "before pruning": "#1d4ed8", "after pruning": "#047857"}
STAGES = {"train": "training", "finetune": "fine-tuning", "undefended": "undefended twin"}


def write_report(path, config_text, evaluation, history, artefacts=None):
    """Render the report.

    Args:
        path: `Path` of the HTML file to write.
        config_text: the resolved config as TOML.
        evaluation: content of `evaluation.json`.
        history: rows of `history.csv`, as dicts of strings.
        artefacts: content of `artefacts.json`, if there is one.
    """
    environment = jinja2.Environment(loader=jinja2.PackageLoader("rsr_tf", "."), autoescape=True, trim_blocks=True)
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    environment.filters["fraction"] = lambda distance: f"{255 * distance:.3g}/255"
    page = environment.get_template("report.html.jinja").render(
        config=config_text,
        evaluation=evaluation,
        artefacts=artefacts,
        claim=_claim(evaluation["networks"]),
        rows=[row for name, entry in evaluation["networks"].items() for row in _score_rows(name, entry)],
        curves=[_curves(history, stage) for stage in STAGES if any(row["stage"] == stage for row in history)],
        histogram=_histogram(evaluation["networks"]),
        share_below=_share_below(evaluation["networks"]),
    )
    path.write_text(page, encoding="utf-8")


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
    figure, (accuracy, loss) = plt.subplots(1, 2, figsize=(10, 3.2))
    for axes, quantity in ((accuracy, "accuracy"), (loss, "loss")):
        clean = "accuracy" if quantity == "accuracy" else "clean_loss"
        for key, label, ink in ((clean, "clean", "#1d4ed8"), (f"adversarial_{quantity}", "adversarial", "#9a3412")):
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
        _tidy(axes)
    accuracy.set_ylim(0, 1)
    return _svg(figure)


def _value(row, key):
    """A number of the history; none for the adversarial quantities of a warm-up epoch, whose loss is exactly 0."""
    unattacked = key.startswith("adversarial") and float(row["adversarial_loss"]) == 0
    return float("nan") if unattacked else float(row[key])


def _histogram(networks):
    """Fig. 1: how many weights have which size, on a logarithmic scale."""
    axes = plt.figure(figsize=(5, 3.2)).subplots()
    for name, entry in networks.items():
        edges, counts = entry["histogram"]["edges"], entry["histogram"]["counts"]
        axes.stairs(counts, edges, color=INK[name], label=name, linewidth=1.4)
    axes.set(yscale="log", xlabel="weight (the ends hold what lies beyond)", ylabel="number of weights")
    axes.set_title("weights before and after pruning")
    axes.legend(frameon=False, fontsize=8)
    return _svg(_tidy(axes).figure)


def _share_below(networks):
    """Fig. 2c: the share of weights under gamma."""
    axes = plt.figure(figsize=(5, 3.2)).subplots()
    for name, entry in networks.items():
        axes.plot(entry["share_below"]["gamma"], entry["share_below"]["share"], color=INK[name], label=name)
    axes.set(xscale="log", ylim=(0, 1), xlabel="gamma", ylabel="share of weights under gamma")
    axes.set_title("what a threshold would prune")
    axes.legend(frameon=False, fontsize=8)
    return _svg(_tidy(axes).figure)


def _tidy(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return axes


def _svg(figure):
    """A figure as SVG text; its text stays text, its file carries no date."""
    figure.tight_layout()
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rsr_tf"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
