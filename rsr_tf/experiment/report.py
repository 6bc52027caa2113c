"""Write `report.html` of a folder from the files in it."""

import logging

from rsr_tf.errors import UserError, disk_errors, user_errors
from rsr_tf.files import read_text, replacing

log = logging.getLogger(__name__)


def write_report_page(folder):
    """Write the report of a folder: scores, verdicts, or both.

    Args:
        folder: a `rsr_tf.experiment.run_folder.RunFolder`.

    Raises:
        UserError: if the folder has neither scores nor verdicts, or a file that cannot be read.
    """
    from rsr_tf.report.run_page import write_report  # imports matplotlib and jinja2, which training does not need

    with user_errors():
        evaluation, found, artefacts = folder.read_evaluation(), folder.read_verdicts(), folder.read_artefacts()
        history = folder.read_history()
    evaluation = evaluation if "examples" in evaluation else {}  # it is incomplete without them
    verdicts = [verdict for name, verdict in found.items() if _is_complete(name, verdict)]
    if not (evaluation or verdicts or history or artefacts):
        raise UserError(f"no results in {folder.path}. Run `rsr evaluate` first")
    with user_errors():
        config_text = read_text(folder.config)
        further = _further(folder)
    with replacing(folder.report) as temporary:
        write_report(
            temporary, config_text, evaluation, history, verdicts, artefacts, folder=str(folder.path), **further
        )
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


def _further(folder):
    """Return what the report shows beside scores, verdicts and artefacts."""
    paths = (folder.config, folder.history, folder.evaluation, *sorted(folder.path.glob("verdict_*.json")))
    paths = (*paths, folder.measured_artefacts, folder.sweep, folder.model, folder.pruned, folder.undefended)
    zoo = folder.read_zoo()
    files = [path.relative_to(folder.path).as_posix() for path in paths if path.exists()]
    return {
        "sweep": folder.read_sweep(),
        "stages": folder.read_stages(),
        "zoo": list(zoo.values()),
        "transfers": list(folder.read_transfers().values()),
        "files": [*files, *zoo, *(["saved_model"] if folder.saved_model.exists() else [])],
    }


def _is_complete(name, verdict):
    complete = "curve" in verdict
    if not complete:
        log.warning("%s is of an earlier version and left out. The same `rsr evaluate` writes it again", name)
    return complete
