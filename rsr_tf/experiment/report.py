"""Write `report.html` of a folder from the files in it."""

import logging

from rsr_tf.errors import UserError
from rsr_tf.files import replacing
from rsr_tf.training.callbacks import read_history

log = logging.getLogger(__name__)


def write_report_page(folder):
    """Write the report of a folder: scores, verdicts, or both.

    Args:
        folder: a `rsr_tf.experiment.run_folder.RunFolder`.

    Raises:
        UserError: if the folder has neither scores nor verdicts, or a file that cannot be read.
    """
    from rsr_tf.report.run_page import write_report  # imports matplotlib and jinja2, which training does not need

    try:
        evaluation, found, artefacts = folder.read_evaluation(), folder.read_verdicts(), folder.read_artefacts()
    except ValueError as error:
        raise UserError(str(error)) from error
    evaluation = evaluation if "examples" in evaluation else {}  # it is incomplete without them
    verdicts = [verdict for name, verdict in found.items() if _is_complete(name, verdict)]
    if not (evaluation or verdicts):
        raise UserError(f"no results in {folder.path}. Run `rsr evaluate` first")
    with replacing(folder.report) as temporary:
        write_report(
            temporary,
            folder.config.read_text(encoding="utf-8"),
            evaluation,
            read_history(folder.history),
            verdicts,
            artefacts,
        )
    log.info("report: %s", folder.report)


def _is_complete(name, verdict):
    complete = "curve" in verdict
    if not complete:
        log.warning("%s is of an earlier version and left out. The same `rsr evaluate` writes it again", name)
    return complete
