"""The results of a grid as a page."""

import json

from rsr_tf.report.charts import draw_heat_map
from rsr_tf.report.grid_charts import accuracy_by_sparsity, small_weights, weight_histogram
from rsr_tf.report.grid_tables import constant, rows_apart, shown, tables, varying, zoo_row
from rsr_tf.report.labels import GRID_COLUMNS, cell_title
from rsr_tf.report.render import render
from rsr_tf.report.sweep_charts import accuracy_by_lambda


def grid_page(content):
    """Render the page of a grid.

    Args:
        content: dict, content of the JSON file of the grid.

    Returns:
        The HTML text.
    """
    curves = content["curves"]
    swept = {cell: entry for cell, entry in curves.items() if entry["points"]}
    return render(
        "grid.html.jinja",
        title=content["title"],
        grid=content,
        tables=tables(content),
        axes=varying(content),
        constant=constant(content),
        apart=rows_apart(content),
        compared=any("reference" in value for row in content["rows"] for value in row["values"].values()),
        column_labels=GRID_COLUMNS,
        show=shown,
        notes=_notes(content),
        by_sparsity=accuracy_by_sparsity(swept) if swept else None,
        by_lambda={
            cell_title(entry["labels"]): accuracy_by_lambda(entry["lambdas"])
            for entry in curves.values()
            if entry["lambdas"]
        },
        histogram=weight_histogram(content["weights"]) if content["weights"] else None,
        share_below=small_weights(content["weights"]) if content["weights"] else None,
        heat_map=draw_heat_map(content["transfer"]) if content["transfer"] else None,
        runs=_runs(content),
        zoo=[zoo_row(table) for table in content["zoo"].values()],
        config=json.dumps(content["configs"], indent=1),
    )


def _runs(content):
    """Return the address of the report of every run, in the folders that `rsr grid` makes, by its title."""
    done = {(row["cell"], seed): cell_title(row["labels"]) for row in content["rows"] for seed in row["seeds"]}
    return {f"{title}, seed {seed}": f"{cell}-seed{seed}/report.html" for (cell, seed), title in done.items()}


def _notes(content):
    """Return the remarks on the rows, once each, with what they are about."""
    return {cell_title(row["labels"]): row["note"] for row in content["rows"] if row["note"]}
