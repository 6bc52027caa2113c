"""Several runs side by side: a page and a CSV table."""

import csv
import io

from rsr_tf.report.compare_chart import accuracy_chart
from rsr_tf.report.labels import duration, percent_value
from rsr_tf.report.render import render

COLUMNS = {
    "clean": ("clean, %", percent_value),
    "pgd": ("PGD, %", percent_value),
    "claim": ("claim, at most, %", percent_value),
    "suite": ("suite", str),
    "sparsity": ("zeros, %", percent_value),
    "compact_bytes": ("bytes, compact", "{:,}".format),
    "parameters": ("parameters", "{:,}".format),
    "macs": ("MACs", "{:,}".format),
    "seconds": ("duration", duration),
}
"""Title and format of each column, by the keys of a result."""


def compare_page(runs):
    """Render the page of a comparison.

    Args:
        runs: dict from the name of each run to a dict with `"config"`, a flat dict of its keys; `"results"`, see
            `rsr_tf.experiment.compare.results_of`; and `"report"`, the address of its report, which may be missing.

    Returns:
        The HTML text.
    """
    pages = [("Comparison", None)] + [(name, run["report"]) for name, run in runs.items() if run.get("report")]
    return render(
        "compare.html.jinja",
        title=f"{len(runs)} runs compared",
        pages=pages,
        heads=[title for title, _ in COLUMNS.values()],
        words=[key == "suite" for key in COLUMNS],
        rows={name: _cells(run["results"]) for name, run in runs.items()},
        failed={name: run["results"].get("failed_checks") for name, run in runs.items()},
        differences=differences(runs),
        chart=accuracy_chart(runs),
        names=list(runs),
    )


def _cells(results):
    return [shown(results[key]) if key in results else None for key, (_, shown) in COLUMNS.items()]


def differences(runs):
    """Return the config keys whose values are not the same in all runs.

    Args:
        runs: as for `compare_page`.

    Returns:
        A dict from the key to a list of the values as text, one for each run; an absent key is an empty text.
    """
    configs = [run["config"] for run in runs.values()]
    keys = dict.fromkeys(key for config in configs for key in config)
    found = {key: ["" if config.get(key) is None else str(config[key]) for config in configs] for key in keys}
    return {key: values for key, values in found.items() if len(set(values)) > 1}


def compare_csv(runs):
    """Return a comparison as CSV, with a row for each run and the config keys that differ; shares are in [0, 1].

    Args:
        runs: as for `compare_page`.
    """
    text, keys, changed = io.StringIO(), [*COLUMNS, "failed_checks"], differences(runs)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *keys, *changed])
    for number, (name, run) in enumerate(runs.items()):
        measured = [run["results"].get(key, "") for key in keys]
        writer.writerow([name, *measured, *(values[number] for values in changed.values())])
    return text.getvalue()
