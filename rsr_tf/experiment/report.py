"""Write `report.html` of a folder from the files in it."""

import logging

from rsr_tf.errors import UserError, user_errors
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
    if not (evaluation or verdicts):
        raise UserError(f"no results in {folder.path}. Run `rsr evaluate` first")
    with user_errors():
        config_text = read_text(folder.config)
    with replacing(folder.report) as temporary:
        write_report(
            temporary,
            config_text,
            evaluation,
            history,
            verdicts,
            artefacts,
        )
    log.info("report: %s", folder.report)


def _is_complete(name, verdict):
    complete = "curve" in verdict
    if not complete:
        log.warning("%s is of an earlier version and left out. The same `rsr evaluate` writes it again", name)
    return complete
