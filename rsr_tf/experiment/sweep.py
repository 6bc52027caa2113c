"""The sweep of a run: what sparsity and lambda do to accuracy (Fig. 2, Section 4.2).

Everything lies in the folder `sweep` of the run folder, and what is done there is kept.
"""

import json
import logging
import tempfile
from pathlib import Path

import keras

from rsr_tf import pruning
from rsr_tf.config.schema import UserError
from rsr_tf.experiment import builders as build
from rsr_tf.experiment import evaluate as assess
from rsr_tf.experiment.experiment import Experiment
from rsr_tf.export.benchmark import dense_bytes
from rsr_tf.export.compact import save_compact
from rsr_tf.files import replacing, write_text
from rsr_tf.layers.conversion import strip
from rsr_tf.report.sweep_page import tables, write_sweep_page

log = logging.getLogger(__name__)


def run_sweep(experiment, *, sparsities=(), gammas=(), lambdas=()):
    """Prune copies of a trained network, or train the network with other lambdas, and attack what comes out.

    What a sweep has is added to, so one that was stopped goes on, and another list adds to the one before. The trained
    network is pruned once, by the rules of the config, without fine-tuning. A lambda is a whole run, with all that the
    config asks for but the undefended twin, in a run folder `sweep/lambda_VALUE`; that of the config is the run itself.

    Args:
        experiment: an `Experiment`. For `sparsities` and `gammas` its network must be trained.
        sparsities: shares of weights to prune, in [0, 1].
        gammas: thresholds of Eq. 7 and 8, not negative.
        lambdas: not negative.

    Returns:
        Path of the page, `sweep/sweep.html`; beside it are `sweep.json` and tables as CSV.

    Raises:
        UserError: for a network that is not trained yet, data that is missing or wrong, an unreadable file, or a full
            disk.
    """
    with build.disk_errors(experiment.folder.path):
        sweep = Sweep(experiment)
        if sparsities or gammas:
            sweep.prune([("sparsity", value) for value in sparsities] + [("gamma", value) for value in gammas])
        for number, value in enumerate(lambdas, 1):
            log.info("== lambda %g, %d of %d", value, number, len(lambdas))
            sweep.train(value)
        return sweep.write()


class Sweep:
    """What is done of a sweep, and the folder that it lies in.

    Args:
        experiment: an `Experiment`.
    """

    def __init__(self, experiment):
        self.experiment, self.config = experiment, experiment.config
        self.folder = experiment.folder.path / "sweep"
        self.file = self.folder / "sweep.json"
        self.data_set = build.load_data(self.config)
        self.images, self.labels = assess.test_images(self.data_set, self.config)
        self.content = self._read()

    def _read(self):
        about = assess.describe(self.config, self.data_set, count=len(self.labels))
        kept = {"network": None, "share_below": {}, "points": [], "lambdas": []}
        if self.file.exists():
            try:
                stored = json.loads(self.file.read_text(encoding="utf-8"))
                kept = {key: stored[key] for key in kept}
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"cannot read {self.file}: {error!r}. Remove it to start the sweep anew") from error
        keys = ("data", "model", "scheme", "seed", "attack")
        return {
            **{key: about[key] for key in keys},
            "versions": assess.versions(),
            "pruning": self.config.pruning.selection,
            **kept,
        }

    def prune(self, targets):
        """Attack pruned copies of the trained network; those that are there already are left.

        Args:
            targets: list of pairs of `"sparsity"` or `"gamma"` and a number.
        """
        path = self.experiment.folder.model
        trained = build.load_network(path)
        identity = assess.digest(path)
        if self.content["network"] not in (identity, None):
            log.info("%s is another one than that of %s: pruned and attacked anew", path, self.file)
            self.content |= {"points": [], "share_below": {}}
        self.content["network"] = identity
        self.content["share_below"]["as trained"] = assess.weight_statistics(trained)["share_below"]
        if self.config.undefended.epochs and self.experiment.folder.undefended.exists():
            twin = build.load_network(self.experiment.folder.undefended)
            self.content["share_below"]["undefended"] = assess.weight_statistics(twin)["share_below"]
        for number, (target, value) in enumerate(targets, 1):
            if any((point["target"], point["value"]) == (target, value) for point in self.content["points"]):
                continue
            log.info("== %s %g, %d of %d", target, value, number, len(targets))
            self._add("points", self._measure(build.load_network(path), target, value), ("target", "value"))

    def _measure(self, network, target, value):
        """Prune a network in place and attack it."""
        with build.user_errors():
            pruning.prune(network, **{target: value}, **self.config.pruning.selection)
        statistics = assess.weight_statistics(network)
        return {
            "target": target,
            "value": value,
            "sparsity": statistics["sparsity"],
            "weights": statistics["weights"],
            "zeros": sum(layer["zeros"] for layer in statistics["layers"]),
            "layers": statistics["layers"],
            "bytes": sizes(network),
            "scores": {
                variant: assess.attack(
                    model_fn, self.images, self.labels, self.config, f"{target} {value:g}, {variant}"
                )
                for variant, model_fn in assess.variants(network).items()
            },
        }

    def train(self, value):
        """Do a whole run with another lambda, as far as it is not done yet."""
        self.experiment.folder.claim(self.config.model_dump(), assess.versions())
        if value == self.config.model.lasso:
            self._finish(self.experiment, value)
            return
        keras.backend.clear_session()  # layers get the names that they would have in a process of their own
        config = self.config.changed(model={"lasso": value}, undefended={"epochs": 0})
        with Experiment(config, self.folder / f"lambda_{value}") as experiment:
            self._finish(experiment, value)

    def _finish(self, experiment, value):
        for stage in (experiment.train, experiment.prune, experiment.evaluate):
            stage()
        networks = experiment.folder.read_evaluation()["networks"]
        networks.pop("undefended", None)
        first = next(iter(networks.values()))  # before pruning, unless it was pruned in training
        row = {"lambda": value, "share_below": first["share_below"], "networks": {}}
        for stage, network in networks.items():
            row["networks"][stage] = {"sparsity": network["sparsity"], "scores": network["scores"]}
        self._add("lambdas", row, ("lambda",))

    def _add(self, part, entry, keys):
        """Put an entry in its place among the others, in the place of an earlier one, and write everything."""
        identity = [entry[key] for key in keys]
        others = [other for other in self.content[part] if [other[key] for key in keys] != identity]
        self.content[part] = sorted([*others, entry], key=lambda other: [other[key] for key in keys])
        self.write()

    def write(self):
        """Write the sweep as JSON, CSV and HTML.

        Returns:
            Path of the page.
        """
        self.experiment.folder.write_json(self.file, self.content)
        for name, text in tables(self.content).items():
            write_text(self.folder / name, text)
        page = self.folder / "sweep.html"
        with replacing(page) as temporary:
            write_sweep_page(temporary, self.experiment.folder.config.read_text(encoding="utf-8"), self.content)
        return page


def sizes(network):
    """Bytes of a network without its noise: dense float32 weights, and its compact archive."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "network.rsrz"
        save_compact(strip(network), archive)
        return {"dense_bytes": dense_bytes(network), "compact_bytes": archive.stat().st_size}
