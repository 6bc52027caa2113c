"""Write `report.html`: one self-contained file from the JSON, `history.csv` and `config.toml` of a run."""

import tomllib

from rsr_tf.report.charts import share_below_by_network, training_curves, weight_histogram
from rsr_tf.report.labels import STAGES, noise_state
from rsr_tf.report.render import render
from rsr_tf.report.verdict_page import strongest_first, summary, verdict_view


def write_report(path, config_text, evaluation, history, verdicts=(), artefacts=None):
    """Render the report. The strongest verdict comes first and in full; the others are listed.

    Args:
        path: `Path` of the HTML file to write.
        config_text: string, the resolved config as TOML.
        evaluation: dict, content of `evaluation.json`. May be empty if there is a verdict.
        history: rows of `history.csv`, as dicts of strings.
        verdicts: contents of `verdict_*.json`. Defaults to none.
        artefacts: dict, content of `artefacts.json`, or `None`. Defaults to `None`.
    """
    verdicts = strongest_first(verdicts)
    about = evaluation or verdicts[0]
    page = render(
        "report.html.jinja",
        title=f"{about['scheme']}: {about['model']} on {about['data']}",
        config=config_text,
        verdict=verdict_view(verdicts[0]) if verdicts else None,
        others=[summary(verdict) for verdict in verdicts[1:]],
        artefacts=artefacts if _are_complete(artefacts) else None,
        epochs=_epochs_kept(config_text, history),
        curves=[training_curves(history, stage) for stage in STAGES if any(row["stage"] == stage for row in history)],
        **_scores(evaluation),
    )
    path.write_text(page, encoding="utf-8")


def _epochs_kept(config_text, history):
    """Return what the best and the last epoch of the training have, or `None` if no epoch counted as the best."""
    rows = [row for row in history if row["stage"] == "train"]
    number = float(rows[-1].get("best_epoch") or 0) if rows else 0
    if not 1 <= number <= len(rows):
        return None
    number = int(number)
    best, last = (float(row.get("val_adversarial_accuracy") or "nan") for row in (rows[number - 1], rows[-1]))
    keep = tomllib.loads(config_text).get("training", {}).get("keep", "last")
    return {"keep": keep, "best": best, "best_number": number, "last": last, "last_number": len(rows)}


def _are_complete(artefacts):
    """Return whether every exported file was measured; a stopped measurement is not shown."""
    if not artefacts or "speedup" not in artefacts or "machine" not in artefacts:
        return False
    files = [file for network in artefacts["networks"].values() for file in network["artefacts"].values()]
    return all("scores" in file and len(file.get("latency") or {}) == 2 for file in files)


def _scores(evaluation):
    """Return what the templates need of `evaluation.json`."""
    if not evaluation:
        return {"evaluation": None}
    networks = evaluation["networks"]
    pruned = networks["pruned"]
    return {
        "evaluation": evaluation,
        "claim": _claim(pruned, networks.get("undefended")),
        "rows": [row for name, entry in networks.items() for row in _table_rows(name, entry)],
        "examples": _example_rows(evaluation),
        "layers": pruned["layers"],
        "figures": [weight_histogram(networks), share_below_by_network(networks)],
    }


def _claim(pruned, undefended):
    """Return the lowest measured accuracies of the pruned network, and that of the undefended network, if any."""
    return {
        "sparsity": pruned["sparsity"],
        "clean": _lowest(pruned, ("clean",)),
        "attacked": _lowest(pruned, ("pgd", "fgsm")),
        "undefended": _lowest(undefended, ("pgd", "fgsm")) if undefended else None,
    }


def _lowest(entry, attacks):
    scores = [scores[attack] for scores in entry["scores"].values() for attack in attacks]
    return min(scores, key=lambda score: score["mean"], default=None)


def _table_rows(name, entry):
    """Return one row of the table of accuracies for each variant of a network."""
    has_noise = "noise_on" in entry["scores"]
    return [
        {
            "network": name,
            "noise": noise_state(variant, has_noise=has_noise),
            "sparsity": entry["sparsity"],
            "scores": scores,
        }
        for variant, scores in entry["scores"].items()
    ]


def _example_rows(evaluation):
    """Return the networks whose predictions on example images are shown, with title and predictions."""
    titles = {"undefended": "undefended", "pruned": f"{evaluation['scheme']}, pruned"}
    shown = evaluation.get("examples", {})
    return [{"title": title, **shown[name]} for name, title in titles.items() if name in shown]
