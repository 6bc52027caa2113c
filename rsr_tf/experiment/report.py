"""Write `report.html` of a folder from the files in it."""

import contextlib
import logging

from rsr_tf.errors import UserError, disk_errors, user_errors
from rsr_tf.experiment.result_schema import read_result
from rsr_tf.files import read_text, replacing

log = logging.getLogger(__name__)


def write_report_page(folder):
    """Write the report of a folder: whatever it holds of scores, verdicts and further measurements.

    Args:
        folder: a `rsr_tf.experiment.run_folder.RunFolder`.

    Raises:
        UserError: if the folder has no result at all, or a file that cannot be read.
    """
    from rsr_tf.report.run_page import write_report  # imports matplotlib and jinja2, which training does not need

    with user_errors():
        results = _read(folder)
        if not _has_any(results):
            raise UserError(f"no results in {folder.path}. Run `rsr evaluate` first")
        config_text = read_text(folder.config)
    with replacing(folder.report) as temporary:
        write_report(temporary, config_text, folder=str(folder.path), files=_files(folder), **results)
    log.info("report: %s", folder.report)


def refresh_report(folder):
    """Write the report of a folder after a command, so that it shows the new results.

    What hinders it is a warning: the results are there, and `rsr report` says what is wrong.

    Args:
        folder: as for `write_report_page`. Nothing is written into a folder without a config, which no command has
            claimed.
    """
    if not folder.config.exists():
        return
    try:
        with disk_errors(folder.path):
            write_report_page(folder)
    except UserError as error:
        log.warning("%s is not up to date: %s", folder.report, error)


def _read(folder):
    """Return what `rsr_tf.report.run_page.write_report` shows."""
    evaluation, verdicts = folder.read_evaluation(), folder.read_verdicts()
    return {
        "evaluation": evaluation if "examples" in evaluation else {},  # it is incomplete without them
        "history": folder.read_history(),
        "verdicts": [verdict for name, verdict in verdicts.items() if _is_complete(name, verdict)],
        "artefacts": folder.read_artefacts(),
        "sweep": folder.read_sweep(),
        "zoo": list(folder.read_zoo().values()),
        "transfers": list(folder.read_transfers().values()),
        "stages": folder.read_stages(),
    }


def _has_any(results):
    return any(found for name, found in results.items() if name != "stages")


def _is_complete(name, verdict):
    complete = "curve" in verdict
    if not complete:
        log.warning("%s is of an earlier version and left out. The same `rsr evaluate` writes it again", name)
    return complete


def _files(folder):
    """Return the names of the files that a page links to, as far as they are there."""
    paths = [
        *(folder.config, folder.history, folder.model, folder.pruned, folder.undefended),
        *(folder.evaluation, *sorted(folder.path.glob("verdict_*.json")), folder.measured_artefacts, folder.sweep),
        *(*sorted(folder.zoo.glob("*/zoo_*.json")), folder.stages, folder.saved_model),
    ]
    found = [path.relative_to(folder.path).as_posix() for path in paths if path.exists()]
    return [*found, *(f"../{page.name}" for page in _grid_pages(folder.path))]


def _grid_pages(path):
    """Yield the pages of the grids that a folder is a run of; they lie beside it."""
    cell = path.name.rpartition("-seed")[0]
    for page in sorted(path.parent.glob("*.html")) if cell else ():
        with contextlib.suppress(ValueError):  # a file that no grid wrote
            if cell in read_result(page.with_suffix(".json")).get("configs", {}):
                yield page
