"""The stages of a run, each leaving an artefact in the run folder.

An artefact is written in one step, and a stage whose artefact is there is done. So a run that was stopped goes on where
it was; within a training, at the end of the last whole epoch.
"""

import contextlib
import functools
import logging
import sys
import time

import keras
import tensorflow as tf

from rsr_tf import data, pruning
from rsr_tf.config.schema import UserError, parse_config
from rsr_tf.experiment import builders as build
from rsr_tf.experiment import evaluate as assess
from rsr_tf.experiment import export_benchmark as ship
from rsr_tf.experiment.report import write_page
from rsr_tf.experiment.run_folder import RunFolder, drop_none, suite_name
from rsr_tf.export import benchmark, export_saved_model
from rsr_tf.files import replacing
from rsr_tf.layers import reseed_noise
from rsr_tf.pruning.callback import PruningCallback, SparsityLogger
from rsr_tf.pruning.magnitude import select_kernels
from rsr_tf.training.callbacks import Checkpoint, CSVHistory, NotFiniteError, TerminateOnNonFinite, read_history

log = logging.getLogger(__name__)

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
            select_kernels(network, self.config.pruning.exclude)
            if self.config.pruning.filters:  # a mistake should not wait for the end of training
                pruning.prune_filters(network, share=0.0, exclude=self.config.pruning.exclude)
            schedule = build.build_pruning_schedule(self.config, section.epochs * self._steps_per_epoch)
        # only now, so that a run that cannot start leaves nothing behind
        with build.user_errors(), self._disk_errors():
            self.folder.claim(self.config.model_dump(), assess.versions())
        if not self.folder.model.exists():
            warmup_steps = section.warmup_epochs * self._steps_per_epoch
            model = build.build_rsr_model(self.config, network, warmup_steps=warmup_steps)
            self._fit(
                model,
                "train",
                self.folder.model,
                epochs=section.epochs,
                peak=section.learning_rate,
                pruning_schedule=schedule,
            )
        if twin.epochs and not self.folder.undefended.exists():
            log.info("-- undefended twin")
            plain = self.config.changed(attack={"steps": 0}, model={"noise": "none", "lasso": 0.0, "group_lasso": 0.0})
            network = build.build_network(plain, self._data_set)
            model = build.build_rsr_model(plain, network, warmup_steps=0)
            self._fit(model, "undefended", self.folder.undefended, epochs=twin.epochs, peak=twin.learning_rate)

    def prune(self):
        """Prune the trained network, and train it further with the mask on if the config asks for that.

        Rounds prune while they train further. A network that was pruned in training has its sparsity already.
        """
        section = self.config.pruning
        if self.folder.pruned.exists():
            return
        model = self._load(self.folder.model)
        if section.filters:
            model = self._without_filters(model)
        rounds, epochs = None, section.finetune_epochs
        if section.schedule == "rounds":
            rounds, epochs = build.build_pruning_rounds(self.config, self._steps_per_epoch), epochs * section.rounds
        else:
            with build.user_errors():
                pruning.prune(model, sparsity=section.sparsity, gamma=section.gamma, **section.selection)
        if epochs:
            model.skip_warmup()
            self._fit(
                model,
                "finetune",
                self.folder.pruned,
                epochs=epochs,
                peak=section.finetune_learning_rate,
                schedule="constant",
                pruning_schedule=rounds,
            )
        else:
            self._save(model, self.folder.pruned)
        log.info("%s", pruning.sparsity_table(model))

    def _without_filters(self, model):
        """The network in a smaller shape, without a share of the filters of every layer."""
        section = self.config.pruning
        with build.user_errors():
            table = pruning.prune_filters(model, share=section.filters, exclude=section.exclude)
        log.info("%s", table)
        small = build.build_rsr_model(self.config, pruning.rebuild(model), warmup_steps=0)
        small.set_attack(model.attack)  # the overfitting monitor may have replaced it
        return small

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
            networks.pop("before pruning", None)
            content["examples"] = assess.attack_examples(networks, images[:EXAMPLES], labels[:EXAMPLES], self.config)
            self._write_evaluation(content)

    def judge(self, suite, network="pruned", images=None):
        """Attack one network by a whole suite; what is done of it is kept, and a stopped suite goes on.

        Args:
            suite: one of `rsr_tf.choices.SUITES`.
            network: `"pruned"`, `"trained"` or `"undefended"`. Defaults to `"pruned"`.
            images: number of test images to draw; `None`, the default, for that of the suite.
        """
        if network == "undefended" and not self.config.undefended.epochs:
            raise UserError("this run has no undefended network: `undefended.epochs` is 0")
        paths = {"pruned": self.folder.pruned, "trained": self.folder.model, "undefended": self.folder.undefended}
        model, name = self._load(paths[network]), suite_name(suite, network, images)
        assess.judge_into(
            self.folder,
            name,
            assess.variants(model),
            self._data_set,
            self.config,
            suite,
            head=assess.describe_network(self.config, self._data_set, network, pruning.sparsity(model)),
            n=images,
            identity=assess.digest(paths[network]),
            reseed=functools.partial(reseed_noise, model),
        )

    def export(self):
        """Write the pruned network as a SavedModel."""
        if self.folder.saved_model.exists():
            return
        model = self._load(self.folder.pruned)
        metadata = {
            "sparsity": pruning.sparsity(model),
            "classes": list(self._data_set.class_names),
            "config": drop_none(self.config.model_dump()),
            "versions": assess.versions(),
        }
        with self._disk_errors(), replacing(self.folder.saved_model) as temporary:
            export_saved_model(model, temporary, metadata=metadata)

    def artefacts(self, again=False):
        """Write the network before and after pruning as every kind of file, and measure each; what is done is kept.

        Of a network that was pruned in training there is none before.

        Args:
            again: measure the latencies again, on a machine that is quiet now. Defaults to `False`.
        """
        content = self.folder.read_artefacts() or ship.describe(self.config, self._data_set)
        content["machine"] = ship.machine()

        def save():
            self.folder.write_artefacts(content)

        loaders = {}
        with build.user_errors(), self._disk_errors():
            for name, path in self._network_paths(twin=False).items():
                model, folder = self._load(path), self.folder.artefacts / name.replace(" ", "_")
                entry = ship.start_over(content, name, folder, path)
                loaders[name] = ship.measure_network(model, entry, folder, self._data_set, self.config, save)
            images, _ = assess.test_images(self._data_set, self.config)
            ship.measure_latencies(content, loaders, images, save, again=again)
        log.info("%s", benchmark.format_table(content))

    def report(self):
        """Write `report.html` from what the other stages left."""
        with self._disk_errors():
            write_page(self.folder)

    @functools.cached_property
    def _data_set(self):
        return build.load_data(self.config)

    @property
    def _steps_per_epoch(self):
        return data.steps_per_epoch(self._data_set.train, self.config.training.batch_size)

    def _fit(self, model, stage, path, *, epochs, peak, schedule=None, pruning_schedule=None):
        """Train a model from the last checkpoint of this stage on, pruning it if there is a schedule, and save it."""
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
        selection = self.config.pruning.selection
        callbacks = [
            TerminateOnNonFinite(),
            *watch,
            PruningCallback(pruning_schedule, **selection) if pruning_schedule else SparsityLogger(),
            CSVHistory(self.folder.history, stage),
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
        return build.load_network(path)

    def _network_paths(self, *, twin=True):
        twin = {"undefended": self.folder.undefended} if twin and self.config.undefended.epochs else {}
        dense = {} if self.config.pruning.in_training else {"before pruning": self.folder.model}
        return twin | dense | {"after pruning": self.folder.pruned}

    def _write_evaluation(self, content):
        with self._disk_errors():
            self.folder.write_evaluation(content)

    def _disk_errors(self):
        return build.disk_errors(self.folder.path)


@contextlib.contextmanager
def _divergence():
    try:
        yield
    except NotFiniteError as error:
        raise UserError(
            f"training stopped: {error}. The checkpoint of the last whole epoch is intact; try a lower learning rate"
        ) from error
