"""Write `report.html`: one self-contained file from the JSON, `history.csv` and `config.toml` of a run."""

import tomllib
from pathlib import Path

from rsr_tf.report.charts import draw_heat_map, share_below_by_network, training_curves, weight_histogram
from rsr_tf.report.contents import contents, pages
from rsr_tf.report.labels import STAGES, noise_state
from rsr_tf.report.overview import by_class, facts, lowest, tiles
from rsr_tf.report.overview_charts import class_chart, noise_chart
from rsr_tf.report.render import render
from rsr_tf.report.sweep_charts import accuracy_by_lambda, accuracy_by_sparsity
from rsr_tf.report.verdict_page import strongest_first, summary, verdict_view


def write_report(path, config_text, evaluation, history, verdicts=(), artefacts=None, *, folder="RUN", **further):
    """Render the report. The strongest verdict comes first and in full; the others are listed.

    Args:
        path: `Path` of the HTML file to write.
        config_text: string, the resolved config as TOML.
        evaluation: dict, content of `evaluation.json`, or an empty one.
        history: rows of `history.csv`, as dicts of strings.
        verdicts: contents of `verdict_*.json`. Defaults to none.
        artefacts: dict, content of `artefacts.json`, or `None`. Defaults to `None`.
        folder: string, the path of the run folder in commands. Defaults to `"RUN"`.
        **further: `"sweep"`, content of `sweep.json`; `"stages"`, the stages of `stages.json`; `"zoo"` and
            `"transfers"`, lists of contents of `zoo_*.json` and `transfer_*.json`; `"files"`, names of files there.
    """
    results = {"sweep": {}, "stages": {}, "zoo": [], "transfers": [], "files": []} | further
    verdicts, artefacts = strongest_first(verdicts), artefacts or {}
    results |= {"evaluation": evaluation, "history": history, "verdicts": verdicts}
    results["artefacts"] = artefacts if _are_complete(artefacts) else None
    table = contents(results, folder)
    page = render(
        "report.html.jinja",
        title=_title(evaluation, verdicts, artefacts, config_text),
        pages=pages(table),
        config=config_text,
        folder=folder,
        tiles=tiles(evaluation, verdicts, artefacts, folder),
        facts=facts(evaluation, results["stages"], config_text, folder),
        contents=table,
        verdict=verdict_view(verdicts[0]) if verdicts else None,
        others=[summary(verdict) for verdict in verdicts[1:]],
        epochs=_epochs_kept(config_text, history),
        curves=[training_curves(history, stage) for stage in STAGES if any(row["stage"] == stage for row in history)],
        **_scores(evaluation),
        **_further(results),
    )
    path.write_text(page, encoding="utf-8")


def _title(evaluation, verdicts, artefacts, config_text):
    """Return the title of the page: of the results, or of the config before there are any."""
    about = evaluation or (verdicts[0] if verdicts else artefacts)
    if not about:
        config = tomllib.loads(config_text)
        model = config["model"]
        about = {"model": model.get("name") or Path(model["file"]).name, "data": config["data"]["name"]}
    network = f"{about['model']} on {about['data']}"
    return f"{about['scheme']}: {network}" if "scheme" in about else network


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
    pruned, classes = networks["pruned"], by_class(evaluation)
    known = pruned.get("facts")
    figures = [
        weight_histogram(networks),
        share_below_by_network(networks),
        noise_chart(known["alpha"] if known else ()),
    ]
    return {
        "evaluation": evaluation,
        "claim": _claim(pruned, networks.get("undefended")),
        "rows": [row for name, entry in networks.items() for row in _table_rows(name, entry)],
        "examples": _example_rows(evaluation),
        "classes": classes,
        "class_chart": class_chart(classes) if classes else None,
        "layers": pruned["layers"],
        "alpha": {row["path"]: row["mean"] for row in known["alpha"]} if known else None,
        "figures": [figure for figure in figures if figure],
    }


def _further(results):
    """Return what the templates need of the measurements beside those of `rsr evaluate`."""
    sweep, charts = results["sweep"], []
    if sweep.get("points"):
        charts.append(accuracy_by_sparsity(sweep["points"]))
    if sweep.get("lambdas"):
        charts.append(accuracy_by_lambda(sweep["lambdas"]))
    return {
        "artefacts": results["artefacts"],
        "sweep": {"charts": charts} if charts else None,
        "transfers": [{"chart": draw_heat_map(found), "page": found.get("page")} for found in results["transfers"]],
        "zoo": [{"network": "", "tier": ""} | table for table in results["zoo"]],
        "files": results["files"],
    }


def _claim(pruned, undefended):
    """Return the lowest measured accuracies of the pruned network, and that of the undefended network, if any."""
    return {
        "sparsity": pruned["sparsity"],
        "clean": lowest(pruned, ("clean",)),
        "attacked": lowest(pruned, ("pgd", "fgsm")),
        "undefended": lowest(undefended, ("pgd", "fgsm")),
    }


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
