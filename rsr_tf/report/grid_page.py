"""The results of a grid as a page, as Markdown and as CSV."""

import csv
import io
import json

from rsr_tf.report.charts import draw_heat_map
from rsr_tf.report.grid_charts import accuracy_by_sparsity, small_weights, weight_histogram
from rsr_tf.report.labels import GRID_COLUMNS, NETWORKS, cell_title, percent_value
from rsr_tf.report.render import render
from rsr_tf.report.sweep_charts import accuracy_by_lambda

COUNTS = ("parameters", "units")
"""Columns that are no shares."""


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
        tables=_tables(content),
        axes=_varying(content),
        constant=_constant(content),
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
        zoo=[_zoo_row(table) for table in content["zoo"].values()],
        config=json.dumps(content["configs"], indent=1),
    )


def _tables(content):
    """Return the rows of each kind of network under its title."""
    titles = {"trained": "Before pruning", "pruned": "After pruning"}
    found = {name: [row for row in content["rows"] if row["network"] == name] for name in titles}
    return {titles[name]: rows for name, rows in found.items() if rows}


def _varying(content):
    """Return the axes that tables have a column for."""
    return [axis for axis in content["axes"] if axis not in _constant(content)]


def _constant(content):
    """Return the label of each axis that has the same value in all rows, unless it is the only axis."""
    found = {axis: {row["labels"][axis] for row in content["rows"]} for axis in content["axes"]}
    alike = {axis: next(iter(labels)) for axis, labels in found.items() if len(labels) == 1}
    return {axis: label for axis, label in alike.items() if axis != content["axes"][-1]}


def _runs(content):
    """Return the address of the report of every run, in the folders that `rsr grid` makes, by its title."""
    done = {(row["cell"], seed): cell_title(row["labels"]) for row in content["rows"] for seed in row["seeds"]}
    return {f"{title}, seed {seed}": f"{cell}-seed{seed}/report.html" for (cell, seed), title in done.items()}


def _notes(content):
    """Return the remarks on the rows, once each, with what they are about."""
    return {cell_title(row["labels"]): row["note"] for row in content["rows"] if row["note"]}


def shown(column, value):
    """Return a number of a column as text: a count, or percent without the sign."""
    return f"{round(value):,}" if column in COUNTS else percent_value(value)


def _zoo_row(table):
    column = table["columns"][table["headline"]]
    return {"title": cell_title(table["labels"]), "noise": table["headline"], **column["success"]}


def markdown_table(content):
    """Return the table of a grid as Markdown: mean and interval, and in the next line the number from elsewhere.

    Args:
        content: as for `grid_page`.
    """
    columns = content["columns"]
    lines = [f"# {content['title']}", ""]
    for heading, rows in _tables(content).items():
        names = [*_varying(content), *(GRID_COLUMNS[column] for column in columns)]
        lines += [f"**{heading}**", "", f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
        for row in rows:
            cells = [_markdown_cell(column, row) for column in columns]
            lines.append(f"| {' | '.join([*(row['labels'][axis] for axis in _varying(content)), *cells])} |")
        lines.append("")
    lines += [_markdown_remark(content), ""]
    return "\n".join(lines)


def _markdown_cell(column, row):
    value, source = row["values"].get(column), row["source"] or "paper"
    if value is None:
        return ""
    low, high = value["interval"]
    text = shown(column, value["mean"])
    if low != high:
        text += f" [{shown(column, low)}, {shown(column, high)}]"
    if column == "claim" and row["failed_checks"]:
        text += f"<br>not reliable: {'; '.join(row['failed_checks'])}"
    if "reference" in value:
        text += f"<br>{source} {shown(column, value['reference'])} ({100 * value['difference']:+.1f})"
    return text


def _markdown_remark(content):
    attack = content["attack"]
    if attack is None:
        return "No run is done yet."
    missing = f" Not done yet: {', '.join(content['missing'])}." if content["missing"] else ""
    first, *others = map(str, content["seeds"])
    seeds = f"Mean over the seeds {', '.join([first, *others])}" if others else f"Seed {first}"
    return (
        f"{seeds} with a 95 % interval, {attack['num_images']} test images each; "
        f"PGD-{attack['steps']} and FGSM at epsilon {attack['epsilon']:.4g}, noise on.{missing}"
    )


def csv_table(content):
    """Return the table of a grid as CSV, with a row for each network of each cell.

    Args:
        content: as for `grid_page`.
    """
    rows = []
    for row in content["rows"]:
        line = {"cell": row["cell"], **row["labels"], "network": NETWORKS[row["network"]], "seeds": len(row["seeds"])}
        for column in content["columns"]:
            value = row["values"].get(column)
            low, high = value["interval"] if value else ("", "")
            line |= {column: value["mean"] if value else "", f"{column}_low": low, f"{column}_high": high}
            line[f"{column}_reference"] = value.get("reference", "") if value else ""
        rows.append(line)
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
