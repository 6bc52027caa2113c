"""Compare finished runs: what their configs have different, and what each has come to."""

import logging
import os
from pathlib import Path

from rsr_tf.config import load_config
from rsr_tf.errors import UserError, disk_errors, user_errors
from rsr_tf.experiment.run_folder import RunFolder, flattened
from rsr_tf.files import write_text

log = logging.getLogger(__name__)


def compare_runs(paths, *, output):
    """Write a page and a CSV table of several runs.

    Args:
        paths: list of paths of run folders, at least two.
        output: path of a folder for `compare.html` and `compare.csv`.

    Returns:
        `Path` of the page.

    Raises:
        UserError: for fewer than two runs or the same one twice, a folder without a config, or a file that cannot be
            read.
    """
    from rsr_tf.report.compare_page import compare_csv, compare_page  # needs matplotlib and jinja2

    folders = _opened(paths)
    output, runs = Path(output), {}
    for name, folder in folders.items():
        address = os.path.relpath(folder.report.resolve(), output.resolve()).replace(os.sep, "/")
        runs[name] = {
            "config": flattened(load_config(folder.path).model_dump()),
            "results": results_of(folder),
            "report": address if folder.report.exists() else None,
        }
    with disk_errors(output):
        write_text(output / "compare.csv", compare_csv(runs))
        write_text(output / "compare.html", compare_page(runs))
    log.info("comparison: %s", output / "compare.html")
    return output / "compare.html"


def _opened(paths):
    """Return the run folders by name: their last part, or the whole path where two are alike."""
    if len(paths) < 2:
        raise UserError(f"there must be at least two runs to compare. Received: {len(paths)}")
    folders = [RunFolder(path) for path in paths]
    for folder in folders:
        if not folder.config.is_file():
            raise UserError(f"{folder.path} is not a run folder: it has no {folder.config.name}")
    resolved = [folder.path.resolve() for folder in folders]
    twice = next(
        (folder.path for folder, path in zip(folders, resolved, strict=True) if resolved.count(path) > 1), None
    )
    if twice is not None:
        raise UserError(f"{twice} is given twice: runs to compare must be different ones")
    names = [path.name for path in resolved]
    return {
        name if names.count(name) == 1 else str(folder.path): folder
        for name, folder in zip(names, folders, strict=True)
    }


def results_of(folder):
    """Return what a run has come to, as far as it was measured.

    Args:
        folder: a `RunFolder`.

    Returns:
        A dict with some of `"clean"`, `"pgd"`, `"sparsity"`, `"parameters"`, `"macs"`, `"compact_bytes"`, `"claim"`,
        `"suite"`, `"failed_checks"` and `"seconds"`. The accuracies are the lowest of the pruned network with noise on
        and off; the claim is that of its strongest suite.

    Raises:
        UserError: for a file that cannot be read.
    """
    from rsr_tf.report.overview import lowest
    from rsr_tf.report.verdict_page import strongest_first

    with user_errors():
        evaluation, stages = folder.read_evaluation(), folder.read_stages()
        verdicts = [found for found in folder.read_verdicts().values() if "curve" in found]
    pruned = evaluation.get("networks", {}).get("pruned", {})
    facts = pruned.get("facts") or {}
    clean, pgd = (lowest(pruned, (attack,)) for attack in ("clean", "pgd"))
    found = {
        "clean": clean and clean["mean"],
        "pgd": pgd and pgd["mean"],
        "sparsity": pruned.get("sparsity"),
        "parameters": facts.get("parameters"),
        "macs": facts.get("macs"),
        "compact_bytes": (facts.get("bytes") or {}).get("compact_bytes"),
        "seconds": sum(stage["seconds"] for stage in stages.values()) or None,
    }
    for verdict in strongest_first([found for found in verdicts if found["network"] == "pruned"])[:1]:
        found |= {"claim": verdict["claim"]["accuracy"], "suite": verdict["parameters"]["suite"]}
        found |= {"failed_checks": verdict["failed_checks"]}
    return {name: value for name, value in found.items() if value is not None}
