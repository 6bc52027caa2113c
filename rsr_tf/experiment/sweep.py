"""The sweep of a run: accuracy and size as functions of sparsity and lambda (Fig. 2, Section 4.2).

All files are in the folder `sweep` of the run folder; earlier results in it are kept.
"""

import copy
import logging

import keras

from rsr_tf import progress, pruning
from rsr_tf.errors import UserError, disk_errors, require, user_errors
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.evaluate import TEST_IMAGES, attack_network, continued_images, weight_statistics
from rsr_tf.experiment.experiment import Experiment
from rsr_tf.experiment.load import load_network, variants
from rsr_tf.experiment.network_facts import sizes
from rsr_tf.experiment.provenance import describe, versions
from rsr_tf.experiment.report import refresh_report
from rsr_tf.experiment.result_schema import read_result, write_result
from rsr_tf.experiment.run_folder import WRITING
from rsr_tf.experiment.stage_times import recorded
from rsr_tf.files import FolderLock, replacing, work_through, write_text
from rsr_tf.identity import content_hash

log = logging.getLogger(__name__)


def run_sweep(experiment, *, sparsities=(), gammas=(), lambdas=()):
    """Prune copies of a trained network, or train it with other lambdas, and attack the results.

    Earlier results are kept: a stopped sweep resumes, and another list adds to the previous one. The trained network is
    pruned once, with the pruning settings of the config and without fine-tuning. Each lambda is a run of the whole
    config without its undefended baseline, in a run folder `sweep/lambda_VALUE`; for the lambda of the config it is the
    run itself.

    Args:
        experiment: an `Experiment`. For `sparsities` and `gammas` its network must be trained.
        sparsities: list of shares of weights to prune, in [0, 1]. Defaults to none.
        gammas: list of thresholds of Eq. 7 and 8, not negative. Defaults to none.
        lambdas: list of values of `model.lasso`, not negative. Defaults to none.

    Returns:
        `Path` of the page, `sweep/sweep.html`; the same folder has `sweep.json` and tables as CSV.

    Raises:
        UserError: if the network is not trained, data is missing or wrong, a file cannot be read, or the disk is full.
    """
    require("matplotlib", extra="report")  # before the long evaluation
    with disk_errors(experiment.folder.path), recorded(experiment.folder, "sweep"):
        sweep = Sweep(experiment)
        if sparsities or gammas:
            sweep.prune([("sparsity", value) for value in sparsities] + [("gamma", value) for value in gammas])
        if lambdas:
            sweep.train_all(lambdas)
        page = sweep.write()
    refresh_report(experiment.folder)
    return page


def lambda_run(config, folder, value):
    """Return config and run folder of the run with another lambda in the sweep of a run.

    Args:
        config: a `Config`, that of the run.
        folder: `Path` of its run folder.
        value: float, the value of `model.lasso`.
    """
    changed = config.changed(model={"lasso": value}, undefended={"epochs": 0})
    return changed, folder / "sweep" / f"lambda_{value}"


KEPT = {"network": None, "share_below": {}, "points": [], "lambdas": []}
"""What a sweep keeps of earlier results, and what it begins with."""


class Sweep:
    """The results of a sweep and the folder with its files.

    Args:
        experiment: an `Experiment`.
    """

    def __init__(self, experiment):
        self.experiment, self.config = experiment, experiment.config
        self.folder = experiment.folder.path / "sweep"
        self.file = self.folder / "sweep.json"
        if (self.folder.exists() or self.folder.is_symlink()) and not self.folder.is_dir():
            raise UserError(f"{self.folder} must be a folder, or absent")
        self.data_set = load_data(self.config)
        stored = self._read()
        self.images, self.labels, found, earlier = continued_images(self.data_set, self.config, stored)
        if stored and not earlier:
            log.info("the test images have changed since %s was written: attacking all networks again", self.file)
        self.content = {**self._continued(earlier), TEST_IMAGES: found}

    def _read(self):
        """Return the earlier results, or `None`."""
        if not self.file.exists():
            return None
        try:
            stored = read_result(self.file)
        except ValueError as error:
            raise UserError(f"{error}. Remove it to start the sweep again") from error
        return {key: stored[key] for key in (*KEPT, "attack", TEST_IMAGES) if key in stored} or None

    def _continued(self, earlier):
        about = describe(self.config, self.data_set, num_images=len(self.labels))
        return {
            **{key: about[key] for key in ("data", "model", "scheme", "seed", "attack")},
            "versions": versions(),
            "pruning": self.config.pruning.selection,
            **copy.deepcopy(earlier or KEPT),
        }

    def prune(self, targets):
        """Attack pruned copies of the trained network, except those with earlier results.

        Args:
            targets: list of pairs of `"sparsity"` or `"gamma"` and a number.
        """
        path = self.experiment.folder.model
        trained = load_network(path, self.data_set)
        identity = content_hash(path)
        if self.content["network"] not in (identity, None):
            log.info("%s has changed since %s was written: pruning and attacking it again", path, self.file)
            self.content |= {"points": [], "share_below": {}}
        self.content["network"] = identity
        self.content["share_below"]["trained"] = weight_statistics(trained)["share_below"]
        if self.config.undefended.epochs and self.experiment.folder.undefended.exists():
            baseline = load_network(self.experiment.folder.undefended, self.data_set)
            self.content["share_below"]["undefended"] = weight_statistics(baseline)["share_below"]
        named = {f"{target} {value:g}": (target, value) for target, value in targets}

        def is_done(step):
            self._refresh()
            return any((point["target"], point["value"]) == named[step] for point in self.content["points"])

        def work(step):
            target, value = named[step]
            log.info("== %s, %d of %d", step, list(named).index(step) + 1, len(named))
            self._add("points", self._measure(load_network(path), target, value), ("target", "value"))

        self._work_through(named, "network", is_done, work)

    def train_all(self, values):
        """Run or resume the stages of the run with other lambdas.

        Args:
            values: list of floats, values of `model.lasso`.
        """
        named = {f"lambda {value:g}": value for value in values}
        began = set()  # every process looks once at each, as an earlier one may have stopped in its middle

        def is_done(step):
            self._refresh()
            return step in began and any(row["lambda"] == named[step] for row in self.content["lambdas"])

        def work(step):
            began.add(step)
            log.info("== %s, %d of %d", step, list(named).index(step) + 1, len(named))
            self.train(named[step])

        self._work_through(named, "lambda", is_done, work)

    def _work_through(self, steps, unit, is_done, work):
        """Do the steps that no other process is at, and wait for the others."""
        with user_errors(), progress.task(unit, len(steps), title="sweep") as task:

            def told(step):
                task.within(0, step)
                work(step)
                task.advance()

            def waiting(step):
                log.info("%s: another process has %s", task.position, step)

            self.folder.mkdir(parents=True, exist_ok=True)
            work_through(list(steps), self.folder, is_done=is_done, work=told, waiting=waiting)

    def _refresh(self):
        """Take over what other processes have found."""
        earlier, ours = self._read(), self.content[TEST_IMAGES]
        if not earlier or earlier.get(TEST_IMAGES, ours) != ours:
            return
        self.content["lambdas"] = earlier["lambdas"]
        if earlier["network"] == self.content["network"]:
            self.content["points"] = earlier["points"]

    def _measure(self, network, target, value):
        """Prune a network in place, attack it, and return the entry of `sweep.json`."""
        with user_errors():
            pruning.prune(network, **{target: value}, **self.config.pruning.selection)
        statistics = weight_statistics(network)
        return {
            "target": target,
            "value": value,
            "sparsity": statistics["sparsity"],
            "weights": statistics["weights"],
            "zeros": sum(layer["zeros"] for layer in statistics["layers"]),
            "layers": statistics["layers"],
            "bytes": sizes(network),
            "scores": {
                variant: attack_network(
                    model_fn, self.images, self.labels, self.config, f"{target} {value:g}, {variant}"
                )
                for variant, model_fn in variants(network, self.config.evaluation.ensemble).items()
            },
        }

    def train(self, value):
        """Run or resume the stages of the run with another lambda.

        Args:
            value: float, the value of `model.lasso`.
        """
        self.experiment.folder.claim(self.config.model_dump(), versions())
        if value == self.config.model.lasso:
            self._finish(self.experiment, value)
            return
        keras.backend.clear_session()  # so that layer names are those of a new process
        with Experiment(*lambda_run(self.config, self.experiment.folder.path, value)) as experiment:
            self._finish(experiment, value)

    def _finish(self, experiment, value):
        for stage in (experiment.train, experiment.prune, experiment.evaluate):
            stage()
        networks = experiment.folder.read_evaluation()["networks"]
        networks.pop("undefended", None)
        first = next(iter(networks.values()))  # before pruning, unless it was pruned during training
        row = {"lambda": value, "share_below": first["share_below"], "networks": {}}
        for stage, network in networks.items():
            row["networks"][stage] = {"sparsity": network["sparsity"], "scores": network["scores"]}
        self._add("lambdas", row, ("lambda",))

    def _add(self, part, entry, keys):
        """Insert an entry in order, replacing an earlier one with the same keys, and write all files."""
        identity = [entry[key] for key in keys]
        with FolderLock(self.folder, name=WRITING, wait=True):
            self._refresh()
            self._insert(part, entry, keys, identity)
            self._write()

    def _insert(self, part, entry, keys, identity):
        others = [other for other in self.content[part] if [other[key] for key in keys] != identity]
        self.content[part] = sorted([*others, entry], key=lambda other: [other[key] for key in keys])

    def write(self):
        """Write the sweep as JSON, CSV and HTML.

        Returns:
            `Path` of the page.
        """
        with FolderLock(self.folder, name=WRITING, wait=True):
            self._refresh()
            return self._write()

    def _write(self):
        from rsr_tf.report.sweep_page import tables, write_sweep_page  # imports matplotlib

        write_result(self.file, self.content)
        for name, text in tables(self.content).items():
            write_text(self.folder / name, text)
        page = self.folder / "sweep.html"
        with replacing(page) as temporary:
            write_sweep_page(temporary, self.experiment.folder.config.read_text(encoding="utf-8"), self.content)
        return page
