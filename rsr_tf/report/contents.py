"""What a run folder holds, with where it is shown, and what it does not hold, with the command that measures it."""

from rsr_tf.report.labels import percent
from rsr_tf.report.verdict_page import summary


def contents(results, folder):
    """Return the table of contents of a report.

    Args:
        results: dict with `"evaluation"`, `"history"`, `"verdicts"`, `"artefacts"`, `"sweep"`, `"zoo"`, `"transfers"`
            and `"files"`, empty where there is nothing; see `rsr_tf.report.run_page.write_report`.
        folder: string, the path of the run folder in commands.

    Returns:
        A list of dicts with `"name"`; `"text"`, or `None` if it was not measured; `"address"`; and `"command"`.
    """
    suite = _verdict_text(results["verdicts"])
    rows = [
        ("Training", _training_text(results["history"]), "#training", f"rsr train {folder}"),
        ("FGSM and PGD", _scores_text(results["evaluation"]), "#accuracy", f"rsr evaluate {folder}"),
        ("Suites of attacks", suite, "#verdict", f"rsr evaluate {folder} --suite paper"),
        ("Sweep", _sweep_text(results["sweep"]), "#sweep", f"rsr sweep {folder}"),
        ("Artefacts", _artefacts_text(results["artefacts"]), "#artefacts", f"rsr artefacts {folder}"),
        ("Transfer", _count(results["transfers"], "matrix", "matrices"), "#transfer", f"rsr transfer {folder} OTHER"),
        ("ZOO", _count(results["zoo"], "table", "tables"), "#zoo", f"rsr zoo {folder}"),
        ("SavedModel", _saved_text(results["files"]), "saved_model/rsr_tf.json", f"rsr export {folder}"),
    ]
    return [dict(zip(("name", "text", "address", "command"), row, strict=True)) for row in rows]


def pages(table, config=True):
    """Return the navigation of a report: pairs of a name and an address, or `None` for the page itself.

    Args:
        table: as returned by `contents`.
        config: whether the page shows a config. Defaults to `True`.
    """
    sections = [(row["name"], row["address"]) for row in table if row["text"] and row["address"].startswith("#")]
    return [("Overview", None), *sections, *([("Configuration", "#configuration")] if config else [])]


def _training_text(history):
    epochs = sum(row["stage"] == "train" for row in history)
    return f"{epochs} epoch{'s' if epochs > 1 else ''}" if epochs else None


def _scores_text(evaluation):
    if not evaluation:
        return None
    attack = evaluation["attack"]
    return f"{len(evaluation['networks'])} networks, {attack['num_images']} images, {attack['repeats']} repeats"


def _verdict_text(verdicts):
    if not verdicts:
        return None
    first = summary(verdicts[0])
    checks = f"{first['failed_checks']} checks failed" if first["failed_checks"] else "all checks passed"
    more = f"; {len(verdicts) - 1} more" if len(verdicts) > 1 else ""
    return f"{first['suite']}: at most {percent(first['claim']['accuracy'])}, {checks}{more}"


def _sweep_text(sweep):
    if not sweep:
        return None
    parts = [(len(sweep["points"]), "pruned network"), (len(sweep["lambdas"]), "value of lambda")]
    plural = {"pruned network": "pruned networks", "value of lambda": "values of lambda"}
    return ", ".join(f"{count} {name if count == 1 else plural[name]}" for count, name in parts if count) or None


def _artefacts_text(artefacts):
    files = sum(len(network["artefacts"]) for network in (artefacts or {}).get("networks", {}).values())
    return f"{files} files" if files else None


def _count(found, one, many):
    return f"{len(found)} {one if len(found) == 1 else many}" if found else None


def _saved_text(files):
    return "written" if "saved_model" in files else None
