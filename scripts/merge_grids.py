"""The results of one grid, as JSON and Markdown, from those that several machines wrote.

    python scripts/merge_grids.py A/table4.json B/table4.json --output docs/results/paper_short

Where run folders can be copied together, copy them and start `rsr grid` once more: it trains nothing twice. This is for
when only the JSON files are left. A run comes whole from the last file that has it, whose network may be another.
Folders of data, which are those of a machine, are left out; so this makes the files of docs/results from one, too.
"""

import argparse
import sys
from pathlib import Path

from rsr_tf.config import UserError
from rsr_tf.experiment.grid_results import OF_CONFIG, compared, summarized
from rsr_tf.experiment.result_schema import read_result, write_result
from rsr_tf.files import write_text
from rsr_tf.report.grid_tables import markdown_tables

ALIKE = ("title", "columns", "suite", "attack")
"""What results of the same grid, at the same scale, have in common."""
FIGURES = ("curves", "weights", "zoo")
NETWORKS = ("trained", "pruned")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="JSON files that `rsr grid` wrote, the latest last")
    parser.add_argument("--output", type=Path, required=True, help="folder of the merged files")
    options = parser.parse_args()
    content = merge([_read(path) for path in options.files])
    path = options.output / options.files[-1].name
    write_result(path, content)
    write_text(path.with_suffix(".md"), markdown_tables(content))


def _read(path):
    content = read_result(path)
    if not content:
        raise UserError(f"there is no {path}")
    return content


def merge(contents):
    """Return the results of all runs.

    Args:
        contents: list of dicts, as `rsr_tf.experiment.grid_results.collect` returns them; the latest last.

    Raises:
        UserError: for results of different grids.
    """
    last = contents[-1]
    for key in ALIKE:
        if any(content[key] != last[key] for content in contents):
            raise UserError(f"the results must be of one grid and scale: they differ in {key!r}")
    configs = {name: config for content in contents for name, config in content["configs"].items()}
    sources = {(row["cell"], seed): content for content in contents for row in content["rows"] for seed in row["seeds"]}
    on_all = {cell: config.get("evaluation", {}).get("images") == 0 for cell, config in configs.items()}
    rows = [_row(cell, network, last["seeds"], sources, on_all[cell]) for cell in configs for network in NETWORKS]
    return {
        **last,
        "rows": [row for row in rows if row],
        "missing": [run for cell in configs for seed in last["seeds"] if (run := _missing(cell, seed, sources))],
        **{key: {name: found for content in contents for name, found in content[key].items()} for key in FIGURES},
        "transfer": next((content["transfer"] for content in reversed(contents) if content["transfer"]), {}),
        "configs": {name: config | {"data": config["data"] | {"directory": ""}} for name, config in configs.items()},
    }


def _missing(cell, seed, sources):
    """Return the name of a run that no file has, or that the one that it is taken from calls missing."""
    name = f"{cell}, seed {seed}"
    return name if (cell, seed) not in sources or name in sources[cell, seed]["missing"] else None


def _row(cell, network, seeds, sources, on_all):
    """Return the row of a network with its seeds, each from its source, or `None` if there are none.

    All test images, if its runs are `on_all`, are the same for every seed.
    """
    rows = {seed: _row_of(sources[cell, seed], cell, network) for seed in seeds if (cell, seed) in sources}
    rows = {seed: row for seed, row in rows.items() if row and seed in row["seeds"]}
    if not rows:
        return None
    latest = list(rows.values())[-1]
    values = {
        column: [_entry(row, column, seed) for seed, row in rows.items()]
        for column in dict.fromkeys(column for row in rows.values() for column in row["values"])
    }
    return {
        **latest,
        "seeds": list(rows),
        "failed_checks": sorted({check for row in rows.values() for check in row["failed_checks"]}),
        "values": {
            column: compared(
                summarized(entries, same_images=on_all and column in OF_CONFIG), _reference(rows.values(), column)
            )
            for column, entries in values.items()
            if any(entries)
        },
    }


def _row_of(content, cell, network):
    return next((row for row in content["rows"] if (row["cell"], row["network"]) == (cell, network)), None)


def _entry(row, column, seed):
    """Return the number of a run and its number of images, or `None`."""
    value, place = row["values"].get(column), row["seeds"].index(seed)
    return None if value is None or value["runs"][place] is None else (value["runs"][place], value["num_images"][place])


def _reference(rows, column):
    """Return the number from elsewhere, in percent, or `None`."""
    found = (row["values"].get(column, {}).get("reference") for row in rows)
    return next((100 * reference for reference in found if reference is not None), None)


if __name__ == "__main__":
    try:
        main()
    except (UserError, ValueError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
