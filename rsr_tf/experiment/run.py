"""The stages of a run, each leaving an artefact in the run folder.

An artefact is written in one step, and a stage whose artefact is there is done. So a run that was stopped goes on where
it was; within a training, at the end of the last whole epoch.
"""

import contextlib
import errno
import functools
import hashlib
import importlib.metadata
import logging
import os
import sys
import time

import keras
import tensorflow as tf

from rsr_tf import artefacts, data, export, pruning
from rsr_tf.atomic import replacing
from rsr_tf.callbacks import Checkpoint, HistoryFile, NotFiniteError, SparsityLog, StopAtNaN, read_history
from rsr_tf.config import UserError, parse_config
from rsr_tf.experiment import assess, build, ship
from rsr_tf.layers import reseed_noise
from rsr_tf.report import write_report
from rsr_tf.run_folder import RunFolder, drop_none

log = logging.getLogger(__name__)

VERSIONED = ("rsr_tf", "tensorflow", "keras", "cleverhans", "numpy")
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
EXAMPLES = 8
"""Images in the strip of the report."""


class Experiment:
    """One run: a config, and the folder that holds its artefacts; no other process may use it meanwhile.

    Args:
        config: a `rsr_tf.config.Config`.
        folder: path of the run folder.

    Raises:
        UserError: for a folder that belongs to another config; by the stages, for data that is missing or wrong, a
            missing or unreadable artefact, a full disk, or a loss that became NaN.
    """

    def __init__(self, config, folder):
        self.config = config
        self.folder = RunFolder(folder)
        with build.user_errors():
            self.folder.check(
                config.model_dump(), lambda stored: parse_config(stored, source=self.folder.config).model_dump()
            )
        keras.utils.set_random_seed(config.seed)
        keras.config.set_dtype_policy(config.training.precision)
        if config.training.deterministic:
            tf.config.experimental.enable_op_determinism()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.folder.release()

    def run(self):
        """All stages in their order."""
        for stage in (self.train, self.prune, self.evaluate, self.export, self.report):
            started = time.monotonic()
            log.info("== %s", stage.__name__)
            stage()
            log.info("== %s done in %.0f s", stage.__name__, time.monotonic() - started)

    def train(self):
        """Train the network, and its undefended twin if the config asks for one."""
        section, twin = self.config.training, self.config.undefended
        log.info("%s: %d training images", self._data_set.title, len(self._data_set.train))
        with build.user_errors():
            network = build.build_network(self.config, self._data_set)
        # only now, so that a run that cannot start leaves nothing behind
        with build.user_errors(), self._disk_errors():
            self.folder.claim(self.config.model_dump(), _versions())
        if not self.folder.model.exists():
            warmup_steps = section.warmup_epochs * self._steps_per_epoch
            model = build.build_rsr_model(self.config, network, warmup_steps=warmup_steps)
            self._fit(model, "train", self.folder.model, epochs=section.epochs, peak=section.learning_rate)
        if twin.epochs and not self.folder.undefended.exists():
            log.info("-- undefended twin")
            plain = self.config.model_copy(update={"attack": self.config.attack.model_copy(update={"steps": 0})})
            network = build.build_network(plain, self._data_set, noise="none", lasso=0.0)
            model = build.build_rsr_model(plain, network, warmup_steps=0)
            self._fit(model, "undefended", self.folder.undefended, epochs=twin.epochs, peak=twin.learning_rate)

    def prune(self):
        """Prune the trained network, and train it further with the mask on if the config asks for that."""
        section = self.config.pruning
        if self.folder.pruned.exists():
            return
        model = self._load(self.folder.model)
        with build.user_errors():
            pruning.prune(model, sparsity=section.sparsity, gamma=section.gamma, scope=section.scope)
        log.info("%s", pruning.sparsity_table(model))
        if section.finetune_epochs:
            model.warmup_steps = 0
            self._fit(
                model,
                "finetune",
                self.folder.pruned,
                epochs=section.finetune_epochs,
                peak=section.finetune_learning_rate,
                schedule="constant",
            )
        else:
            self._save(model, self.folder.pruned)

    def evaluate(self):
        """Attack every network of the run, noise on and off; what is done already is kept."""
        images, labels = assess.test_images(self._data_set, self.config)
        content = self.folder.read_evaluation() or assess.describe(self.config, self._data_set, count=len(labels))
        networks = {name: self._load(path) for name, path in self._network_paths().items()}
        for name, network in networks.items():
            entry = content["networks"].setdefault(name, assess.weight_statistics(network))
            for variant, model_fn in assess.variants(network).items():
                if variant not in entry["scores"]:
                    title = f"{name}, {variant}"
                    entry["scores"][variant] = assess.attack(model_fn, images, labels, self.config, title)
                    self._write_evaluation(content)
        if "examples" not in content:
            networks.pop("before pruning")
            content["examples"] = assess.attack_examples(networks, images[:EXAMPLES], labels[:EXAMPLES], self.config)
            self._write_evaluation(content)

    def judge(self, suite):
        """Attack the pruned network by a whole suite; what is done of it is kept, and a stopped suite goes on.

        Args:
            suite: `"quick"`, `"paper"` or `"full"`.
        """
        network = self._load(self.folder.pruned)
        test = self._data_set.test
        with build.user_errors(), self._disk_errors():
            verdict = assess.judge(
                assess.variants(network),
                test.pixels(),
                test.labels,
                self.config,
                suite,
                state=self.folder.suite_state(suite),
                identity=hashlib.sha256(self.folder.pruned.read_bytes()).hexdigest(),
                reseed=functools.partial(reseed_noise, network),
            )
            content = {"data": self._data_set.title, "model": self.config.model.name, **verdict}
            self.folder.write_json(self.folder.verdict(suite), content)
        for check in verdict["checks"]:
            log.info("%s %s: %s", "passed" if check["passed"] else "FAILED", check["name"], check["sentence"])
        log.info("verdict: %s", self.folder.verdict(suite))

    def export(self):
        """Write the pruned network as a SavedModel."""
        if self.folder.saved_model.exists():
            return
        model = self._load(self.folder.pruned)
        metadata = {
            "sparsity": pruning.sparsity(model),
            "classes": list(self._data_set.class_names),
            "config": drop_none(self.config.model_dump()),
            "versions": _versions(),
        }
        with self._disk_errors(), replacing(self.folder.saved_model) as temporary:
            export.export_saved_model(model, temporary, metadata=metadata)

    def artefacts(self, again=False):
        """Write the network before and after pruning as every kind of file, and measure each; what is done is kept.

        Args:
            again: measure the latencies again, on a machine that is quiet now. Defaults to `False`.
        """
        content = self.folder.read_artefacts() or ship.describe(self.config, self._data_set)
        content["machine"] = ship.machine()
        for name, path in {"before pruning": self.folder.model, "after pruning": self.folder.pruned}.items():
            model = self._load(path)
            entry = content["networks"].setdefault(name, {})
            folder = self.folder.artefacts / name.replace(" ", "_")
            with build.user_errors(), self._disk_errors():
                ship.start_over(entry, folder, path)
                ship.measure_network(
                    model,
                    entry,
                    folder,
                    self._data_set,
                    self.config,
                    save=lambda: self.folder.write_artefacts(content),
                    again=again,
                )
        log.info("%s", artefacts.format_table(content))

    def report(self):
        """Write `report.html` from what the other stages left."""
        content = self.folder.read_evaluation()
        if "examples" not in content:
            raise UserError(f"nothing was evaluated in {self.folder.path} yet; `rsr evaluate` does it")
        with self._disk_errors(), replacing(self.folder.report) as temporary:
            write_report(
                temporary,
                self.folder.config.read_text(encoding="utf-8"),
                content,
                read_history(self.folder.history),
                artefacts=self.folder.read_artefacts(),
            )
        log.info("report: %s", self.folder.report)

    @functools.cached_property
    def _data_set(self):
        return build.load_data(self.config)

    @property
    def _steps_per_epoch(self):
        return data.steps_per_epoch(self._data_set.train, self.config.training.batch_size)

    def _fit(self, model, stage, path, *, epochs, peak, schedule=None):
        """Train a model from the last checkpoint of this stage on, and save it."""
        section, steps = self.config.training, self._steps_per_epoch
        rate = build.build_learning_rate(schedule or section.schedule, peak, epochs * steps)
        build.compile_model(model, self.config, rate)
        checkpoint = Checkpoint(self.folder.checkpoints, stage)
        with build.user_errors():
            epoch = checkpoint.restore(model)
        if epoch:
            log.info("going on after epoch %d of %d", epoch, epochs)
        batches = data.training_batches(
            self._data_set.train,
            batch_size=section.batch_size,
            seed=self.config.seed,
            crop_and_flip=self.config.data.crop_and_flip,
            start_step=epoch * steps,
        )
        done = [row for row in read_history(self.folder.history) if row["stage"] == stage][:epoch]
        watch = build.build_overfitting_watch(self.config, self._data_set, model, done)
        callbacks = [
            StopAtNaN(),
            *watch,
            SparsityLog(),
            HistoryFile(self.folder.history, stage),
            keras.callbacks.TensorBoard(self.folder.logs / stage, histogram_freq=1, write_graph=False),
            checkpoint,
        ]
        if epoch < epochs:
            with self._disk_errors(), _divergence():
                model.fit(
                    batches,
                    validation_data=data.batches(self._data_set.validation, batch_size=section.batch_size),
                    initial_epoch=epoch,
                    epochs=epochs,
                    steps_per_epoch=steps,
                    shuffle=False,  # the stream of batches is in a random order already
                    verbose=1 if sys.stdout.isatty() else 2,
                    callbacks=callbacks,
                )
        self._save(model, path)

    def _save(self, model, path):
        with self._disk_errors(), replacing(path) as temporary:
            model.save(temporary)

    def _load(self, path):
        if not path.exists():
            raise UserError(f"{path} is not there; `rsr train` and `rsr prune` make it")
        try:
            return keras.models.load_model(path)
        except Exception as error:  # whatever a broken file makes of zipfile, h5py and Keras
            raise UserError(f"cannot read the model {path}: {build.first_line(error)}") from error

    def _network_paths(self):
        twin = {"undefended": self.folder.undefended} if self.config.undefended.epochs else {}
        return twin | {"before pruning": self.folder.model, "after pruning": self.folder.pruned}

    def _write_evaluation(self, content):
        with self._disk_errors():
            self.folder.write_evaluation(content)

    @contextlib.contextmanager
    def _disk_errors(self):
        """Turn what a disk refuses into a `UserError`; TensorFlow's writers name it in the message alone."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            reasons = [os.strerror(number) for number in DISK_ERRORS]
            reason = next((reason for reason in reasons if reason in str(error)), None)
            if reason is None:
                raise
            raise UserError(f"cannot write to {self.folder.path}: {reason}. What was saved before is intact") from error


@contextlib.contextmanager
def _divergence():
    try:
        yield
    except NotFiniteError as error:
        raise UserError(
            f"training stopped: {error}. The checkpoint of the last whole epoch is intact; try a lower learning rate"
        ) from error


def _versions():
    return {name: importlib.metadata.version(name) for name in VERSIONED}
