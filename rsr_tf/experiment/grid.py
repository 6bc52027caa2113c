"""Train, prune and judge every run of a grid; any number of processes can share the work."""

import dataclasses
import functools
import logging
import time
from pathlib import Path

import keras

from rsr_tf import progress
from rsr_tf.config import Config
from rsr_tf.errors import UserError, disk_errors, require, user_errors
from rsr_tf.evaluation.runtime import duration
from rsr_tf.experiment.blackbox import transfer, zoo
from rsr_tf.experiment.certificates import has_certificates, write_certificates
from rsr_tf.experiment.experiment import Experiment, completed
from rsr_tf.experiment.grid_results import collect, folder_of, zoo_file
from rsr_tf.experiment.result_schema import read_result, write_result
from rsr_tf.experiment.run_folder import RunFolder, suite_name
from rsr_tf.experiment.sweep import run_sweep
from rsr_tf.files import FolderLock, InUseError, write_text

log = logging.getLogger(__name__)

WAIT_SECONDS = 10
"""Time between two looks at runs that other processes are working on."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a grid.

    Args:
        title: string, for the log.
        config: a `Config`.
        folder: path of its run folder.
        suite: one of `rsr_tf.choices.SUITES`, or `""`.
        judged: names of the networks that the suite attacks.
        images: number of test images of the suite, or `None`.
        sparsities, lambdas: lists of numbers for a sweep.
        zoo_images: number of test images of ZOO; 0 for no ZOO.
        certified_images: number of test images with a certificate; 0 for none.
        certificate_draws: number of draws for each certificate.
    """

    title: str
    config: Config
    folder: Path
    suite: str = ""
    judged: tuple = ()
    images: int | None = None
    sparsities: tuple = ()
    lambdas: tuple = ()
    zoo_images: int = 0
    certified_images: int = 0
    certificate_draws: int = 0

    @user_errors()
    def is_done(self):
        """Return whether all its files are there.

        Raises:
            UserError: if its folder belongs to another config, or a file cannot be read.
        """
        folder = RunFolder(self.folder)
        if folder.config.exists():
            folder.check_config(self.config.model_dump(), functools.partial(completed, source=folder.config))
        sweep = read_result(folder.path / "sweep" / "sweep.json")
        points = {point["value"] for point in sweep.get("points", []) if point["target"] == "sparsity"}
        files = [folder.verdict(suite_name(self.suite, network, self.images)) for network in self.judged]
        files += [self.folder / zoo_file(self.zoo_images)] if self.zoo_images else []
        return (
            "examples" in folder.read_evaluation()
            and points >= set(self.sparsities)
            and {row["lambda"] for row in sweep.get("lambdas", [])} >= set(self.lambdas)
            and all(file.exists() for file in files)
            and (not self.certified_images or has_certificates(folder, self.config, **self._certificates))
        )

    @property
    def _certificates(self):
        return {"num_images": self.certified_images, "draws": self.certificate_draws}

    def work(self):
        """Do what is missing."""
        keras.backend.clear_session()  # so that layer names are those of a process of its own
        with Experiment(self.config, self.folder) as experiment:
            experiment.train()
            experiment.prune()
            experiment.evaluate()
            for network in self.judged:
                experiment.run_suite(self.suite, network, self.images)
            if self.certified_images:
                self._certify(experiment)
            experiment.report()
            if self.sparsities or self.lambdas:
                run_sweep(experiment, sparsities=self.sparsities, lambdas=self.lambdas)
        if self.zoo_images:
            zoo(self.folder, images=self.zoo_images)

    @user_errors()
    def _certify(self, experiment):
        if not has_certificates(experiment.folder, self.config, **self._certificates):
            write_certificates(experiment, **self._certificates)


def run_grid(grid, cells, root):
    """Do every run of a grid, and write its page as HTML, Markdown, CSV and JSON at the start and after each run.

    A run that fails, for example because its loss is not finite, is noted, and the others go on. A stopped grid goes on
    when it is started again. Several processes can be started on one folder; each takes the runs that no other has.

    Args:
        grid, cells: a `Grid` and its list of `Cell`, see `rsr_tf.config.load_grid`.
        root: path of the folder for the run folders. Grids with the same cells can share it.

    Returns:
        `Path` of the page.

    Raises:
        UserError: if all runs fail, a package is missing, or the disk is full.
    """
    for package, extra in (("matplotlib", "report"), ("jinja2", "report"), ("cleverhans", "evaluation")):
        require(package, extra=extra)
    runs = plan_runs(grid, cells, root)
    with disk_errors(root):
        _shared(lambda: write_grid(grid, cells, root, {}))  # the reports of the runs link to it
        failures = _work_through(runs, lambda failures: _shared(lambda: write_grid(grid, cells, root, failures)))
        if len(failures) == len(runs):
            raise UserError(f"every run of the grid failed: {next(iter(failures.values()))}")
        if grid.measure.transfer:
            _shared(lambda: _transfer(grid, cells, root))
        page = _shared(lambda: write_grid(grid, cells, root, failures))
    log.info("grid: %s", page)
    return page


def run_title(cell, seed):
    """Return the title of a run, as in the log."""
    return f"{cell.name}, seed {seed}"


def _without(cell, failures):
    """Return a cell without the runs that failed, whose folders may hold something else."""
    kept = {seed: config for seed, config in cell.configs.items() if run_title(cell, seed) not in failures}
    return dataclasses.replace(cell, configs=kept)


def plan_runs(grid, cells, root):
    """List the runs of a grid: all first seeds, then all second ones, and so on.

    Args:
        grid, cells, root: as for `run_grid`.

    Returns:
        A list of `Run`.
    """
    measure, runs = grid.measure, []
    for seed in grid.seeds:
        first = seed == grid.seeds[0]
        for cell in cells:
            swept = first and cell.name in (measure.swept or [cell.name])
            runs.append(
                Run(
                    run_title(cell, seed),
                    cell.configs[seed],
                    folder_of(root, cell, seed).path,
                    suite=measure.suite,
                    judged=tuple(measure.judged) if measure.suite else (),
                    images=measure.images,
                    sparsities=tuple(measure.sparsities) if swept else (),
                    lambdas=tuple(measure.lambdas) if swept else (),
                    zoo_images=measure.zoo_images if first and cell.name in measure.zoo else 0,
                    certified_images=measure.certified_images if cell.configs[seed].model.image_noise else 0,
                    certificate_draws=measure.certificate_draws,
                )
            )
    return runs


def _work_through(runs, write):
    """Do all runs that are not done, wait for those of other processes, and return the messages of failed ones."""
    with progress.task("run", len(runs), title="grid") as task:
        return _work_on(runs, write, task)


def _work_on(runs, write, task):
    pending, failures = list(runs), {}
    while pending:
        before = len(pending)
        for run in list(pending):
            worked = False
            try:
                if not run.is_done():
                    worked, seconds = True, task.seconds_left
                    task.within(0, run.title)
                    left = f"; {duration(seconds)} left" if seconds else ""
                    log.info("== run %d of %d: %s%s", len(runs) - len(pending) + 1, len(runs), run.title, left)
                    run.work()
                    write(failures)
            except UserError as error:
                if isinstance(error.__cause__, InUseError):
                    log.info("another process is at work on it")
                    continue
                failures[run.title] = str(error)
                log.warning("%s failed: %s", run.title, error)
            pending.remove(run)
            task.advance(new=worked)
        if len(pending) == before:
            time.sleep(WAIT_SECONDS)
    return failures


def _shared(work):
    """Do what one process does at a time, after the others."""
    while True:
        try:
            return work()
        except UserError as error:
            if not isinstance(error.__cause__, InUseError):
                raise
            time.sleep(WAIT_SECONDS)


def _transfer(grid, cells, root):
    folders = [folder_of(root, cell, grid.seeds[0]) for cell in cells if cell.name in grid.measure.transfer]
    found = [folder.path for folder in folders if folder.pruned.exists()]
    if len(found) > 1:
        transfer(found, output=Path(root) / "transfer")


def write_grid(grid, cells, root, failures):
    """Write the results of the runs that are done as JSON, CSV, Markdown and HTML.

    Args:
        grid, cells, root: as for `run_grid`.
        failures: dict from the title of a run to its message.

    Returns:
        `Path` of the page.
    """
    from rsr_tf.report.grid_page import grid_page  # imports matplotlib
    from rsr_tf.report.grid_tables import csv_table, markdown_tables

    with user_errors():
        content = collect(grid, [_without(cell, failures) for cell in cells], root) | {"failures": failures}
    path = Path(root) / f"{grid.name}.html"
    with user_errors(), FolderLock(root):
        write_result(path.with_suffix(".json"), content)
        write_text(path.with_suffix(".csv"), csv_table(content))
        write_text(path.with_suffix(".md"), markdown_tables(content))
        write_text(path, grid_page(content))
    return path
