"""Show a transfer matrix: on a page of its own, and in the report of every run that it is about."""

import json
import logging
import os
import zlib

from rsr_tf.experiment.report import refresh_report
from rsr_tf.experiment.result_schema import write_result
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.files import write_text

log = logging.getLogger(__name__)


def show_transfer(table, output, paths):
    """Write the page of a transfer matrix, a copy of the matrix into every run folder, and the reports of the runs.

    Args:
        table: dict, content of `transfer.json`.
        output: `Path` of the folder with it.
        paths: list of `Path`s of the folders of its networks; those that are no run folders are passed over.
    """
    from rsr_tf.report.transfer_page import transfer_page  # needs matplotlib and jinja2

    folders = [RunFolder(path) for path in dict.fromkeys(paths) if RunFolder(path).config.exists()]
    reports = {folder.path.resolve().name: _relative(folder.report, output) for folder in folders}
    write_text(output / "transfer.html", transfer_page(table, reports))
    name = f"transfer_{zlib.crc32(json.dumps(str(output.resolve())).encode()):08x}.json"
    for folder in folders:
        try:
            folder.transfer.mkdir(exist_ok=True)
            copy = {**table, "page": _relative(output / "transfer.html", folder.path)}
            write_result(folder.transfer / name, copy)
        except OSError as error:  # a folder that may be read only
            log.warning("%s does not show this matrix: %s", folder.report, error)
        else:
            refresh_report(folder)


def _relative(path, start):
    return os.path.relpath(path.resolve(), start.resolve()).replace(os.sep, "/")
