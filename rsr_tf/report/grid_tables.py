"""The tables of a grid: what they hold, and the same as Markdown and as CSV."""

import csv
import io

from rsr_tf.report.labels import GRID_COLUMNS, NETWORKS, cell_title, percent_value

COUNTS = ("parameters", "units")
"""Columns that are no shares."""
TITLES = {"trained": "Before pruning", "pruned": "After pruning"}
GAMMAS = ("0.0001", "0.001", "0.01", "0.1")
SCORES = {name: GRID_COLUMNS[name] for name in ("clean", "pgd", "fgsm")}


def tables(content):
    """Return the rows of each kind of network under its title."""
    found = {name: [row for row in content["rows"] if row["network"] == name] for name in TITLES}
    return {TITLES[name]: rows for name, rows in found.items() if rows}


def varying(content):
    """Return the axes that tables have a column for."""
    return [axis for axis in content["axes"] if axis not in constant(content)]


def constant(content):
    """Return the label of each axis that has the same value in all rows, unless it is the only axis."""
    found = {axis: {row["labels"][axis] for row in content["rows"]} for axis in content["axes"]}
    alike = {axis: next(iter(labels)) for axis, labels in found.items() if len(labels) == 1}
    return {axis: label for axis, label in alike.items() if axis != content["axes"][-1]}


def shown(column, value):
    """Return a number of a column as text: a count, or percent without the sign."""
    return f"{round(value):,}" if column in COUNTS else percent_value(value)


def zoo_row(table):
    """Return title, noise and success of ZOO on one network, from its table."""
    column = table["columns"][table["headline"]]
    return {"title": cell_title(table["labels"]), "noise": table["headline"], **column["success"]}


def markdown_tables(content):
    """Return the tables and figures of a grid as Markdown.

    Each cell has a mean and its interval and, in the next line, the number from elsewhere.

    Args:
        content: as for `rsr_tf.report.grid_page.grid_page`.
    """
    lines = [f"# {content['title']}", ""]
    for heading, rows in tables(content).items():
        lines += _rows(content, heading, rows)
    lines += [_remark(content), ""]
    swept = [entry for entry in content["curves"].values() if entry["points"]]
    if swept:
        lines += _by_sparsity(swept)
    for entry in content["curves"].values():
        if entry["lambdas"]:
            lines += _by_lambda(entry)
    if content["weights"]:
        lines += _small_weights(content["weights"])
    if content["transfer"]:
        lines += _transfer(content["transfer"])
    if content["zoo"]:
        lines += _zoo(content["zoo"])
    return "\n".join(lines)


def _table(heading, names, rows):
    """Return the lines of a table of text under its heading."""
    escaped = ([cell.replace("|", r"\|") for cell in cells] for cells in (names, *rows))
    first, *others = (f"| {' | '.join(cells)} |" for cells in escaped)
    return [f"**{heading}**", "", first, f"|{'---|' * len(names)}", *others, ""]


def _rows(content, heading, rows):
    axes, columns = varying(content), content["columns"]
    names = [*axes, *(GRID_COLUMNS[column] for column in columns)]
    labels = [[row["labels"][axis] for axis in axes] for row in rows]
    cells = [[_markdown_cell(column, row) for column in columns] for row in rows]
    return _table(heading, names, [[*label, *cell] for label, cell in zip(labels, cells, strict=True)])


def _by_sparsity(swept):
    rows = [
        [cell_title(entry["labels"]), percent_value(point["sparsity"]), *_scores(point)]
        for entry in swept
        for point in sorted(entry["points"], key=lambda point: point["sparsity"])
    ]
    return _table("Accuracy by sparsity (Fig. 2a)", ["network", GRID_COLUMNS["sparsity"], *SCORES.values()], rows)


def _by_lambda(entry):
    rows = [
        [f"{tried['lambda']:g}", TITLES[name].lower(), *_scores(network)]
        for tried in entry["lambdas"]
        for name, network in tried["networks"].items()
    ]
    heading = f"Accuracy by lambda (Fig. 2b): {cell_title(entry['labels'])}"
    return _table(heading, ["lambda", "network", *SCORES.values()], rows)


def _scores(measured):
    """Return accuracy and interval of a network as deployed, for each of `SCORES`."""
    scores = measured["scores"].get("noise_on", measured["scores"]["noise_off"])
    return [_number(scores[name]) for name in SCORES]


def _small_weights(cells):
    first, *_ = (entry["share_below"]["gamma"] for entry in cells.values())
    chosen = [number for number, gamma in enumerate(first) if f"{gamma:g}" in GAMMAS]
    rows = [
        [cell_title(entry["labels"]), *(percent_value(entry["share_below"]["share"][number]) for number in chosen)]
        for entry in cells.values()
    ]
    names = ["network", *(f"{first[number]:g}" for number in chosen)]
    return _table("Share of weights below gamma (Fig. 2c)", names, rows)


def _transfer(transfer):
    """Return the accuracy of each network, by column, on the images that were crafted on each, by row."""
    accuracy = transfer["accuracy"]
    targets = list(next(iter(accuracy.values())))
    rows = [[source, *(_number(found[target]) for target in targets)] for source, found in accuracy.items()]
    heading = "Transfer: accuracy of the network of a column on images crafted on that of a row"
    counts = f"{transfer['num_images']} test images, {transfer['predictions']} predictions each"
    return [*_table(heading, ["crafted on", *targets], rows), f"{counts}, seed {transfer['seed']}.", ""]


def _zoo(attacked):
    shares = {"of_attacked": "of the attacked images", "of_all": "of all"}
    found = [zoo_row(table) for table in attacked.values()]
    rows = [[row["title"], row["noise"], *(_number(row[name]) for name in shares)] for row in found]
    return _table("Success of ZOO", ["network", "noise in the attack", *shares.values()], rows)


def _number(value, column=None):
    """Return a number of a column, or a share, and its interval as text; empty if there is none."""
    if not value:
        return ""
    mean, low, high = (shown(column, number) for number in (value["mean"], *value["interval"]))
    return mean if value["interval"][0] == value["interval"][1] else f"{mean} [{low}, {high}]"


def _markdown_cell(column, row):
    value, source = row["values"].get(column), row["source"] or "paper"
    if value is None:
        return ""
    text = _number(value, column)
    if column == "claim" and row["failed_checks"]:
        text += f"<br>not reliable: {'; '.join(row['failed_checks'])}"
    if "reference" in value:
        text += f"<br>{source} {shown(column, value['reference'])} ({100 * value['difference']:+.1f})"
    return text


def _remark(content):
    if content["attack"] is None:
        return "No run is done yet."
    missing = f" Not done yet: {', '.join(content['missing'])}." if content["missing"] else ""
    failed = "".join(f" {run} failed: {message}." for run, message in content.get("failures", {}).items())
    apart = "".join(f" {sentence}" for sentence in rows_apart(content))
    seeds, tested = _trained(content["seeds"]), _tested(content["attack"])
    return f"{seeds} with a 95 % interval, {tested}, noise on.{apart}{missing}{failed}"


def rows_apart(content):
    """Return a sentence for each cell with fewer seeds than the grid, or with another attack than its first row."""
    sentences = {}
    for row in content["rows"]:
        seeds = [] if row["seeds"] == content["seeds"] else [_trained(row["seeds"]).lower()]
        attacked = _tested(row.get("attack") or content["attack"])  # files of before had one attack for all rows
        attacked = [] if attacked == _tested(content["attack"]) else [attacked]
        if seeds or attacked:
            sentences[row["cell"]] = f"{cell_title(row['labels'])}: {', '.join([*seeds, *attacked])}."
    return list(sentences.values())


def _trained(seeds):
    first, *others = map(str, seeds)
    return f"Mean over the seeds {', '.join([first, *others])}" if others else f"Seed {first}"


def _tested(attack):
    return f"{attack['num_images']} test images each; PGD-{attack['steps']} and FGSM at epsilon {attack['epsilon']:.4g}"


def csv_table(content):
    """Return the table of a grid as CSV, with a row for each network of each cell.

    Args:
        content: as for `grid_page`. An axis that has the name of a column is called `axis_NAME`.
    """
    rows = []
    for row in content["rows"]:
        line = {"network": NETWORKS[row["network"]], "seeds": len(row["seeds"])}
        for column in content["columns"]:
            value = row["values"].get(column)
            low, high = value["interval"] if value else ("", "")
            line |= {column: value["mean"] if value else "", f"{column}_low": low, f"{column}_high": high}
            line[f"{column}_reference"] = value.get("reference", "") if value else ""
        taken = {"cell", *line}
        labels = {f"axis_{axis}" if axis in taken else axis: label for axis, label in row["labels"].items()}
        rows.append({"cell": row["cell"], **labels, **line})
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
