"""The stages of a run. Each leaves a file in the run folder.

Files are written atomically, and a stage whose file exists is skipped, so a stopped run resumes where it stopped.
"""

import functools
import logging
import time

import keras

from rsr_tf import data, pruning
from rsr_tf.config import parse_config
from rsr_tf.errors import UserError, disk_errors, require, user_errors
from rsr_tf.experiment import builders, devices, export_benchmark
from rsr_tf.experiment.ball import choose_ball
from rsr_tf.experiment.evaluate import write_verdict
from rsr_tf.experiment.evaluation_stage import evaluate_networks
from rsr_tf.experiment.fit import fit, save
from rsr_tf.experiment.load import load_network, twins, variants
from rsr_tf.experiment.own_networks import identified
from rsr_tf.experiment.provenance import describe_network, is_exported, versions
from rsr_tf.experiment.report import write_report_page
from rsr_tf.experiment.run_folder import RunFolder, drop_none, suite_name
from rsr_tf.experiment.stage_times import timed
from rsr_tf.experiment.start import load_start
from rsr_tf.experiment.training_checks import check_training, warn_of_absent_classes
from rsr_tf.experiment.workers import check_shared, is_there
from rsr_tf.export.saved_model import export_saved_model
from rsr_tf.files import replacing
from rsr_tf.identity import content_hash
from rsr_tf.layers import reseed_noise
from rsr_tf.pruning.magnitude import select_kernels
from rsr_tf.training.determinism import enable_determinism
from rsr_tf.training.distribution import peers
from rsr_tf.training.model import RSRModel

log = logging.getLogger(__name__)

PACKAGES = {"cleverhans": "evaluation", "matplotlib": "report", "jinja2": "report"}
"""Optional packages that the later stages of a run need, and the extras that install them."""


def completed(stored, source):
    """Add the keys that a stored config of an earlier version lacks; `source` is its path."""
    return parse_config(stored, source=source).model_dump()


@timed("train", "prune", "evaluate", "run_suite", "export", "artefacts")
class Experiment:
    """One run: a config and its run folder, which is locked until `__exit__`.

    Args:
        config: a `rsr_tf.config.Config`.
        folder: path of the run folder.
        shared: whether other processes may work on the run at the same time, to share its attacks: for `evaluate`,
            `run_suite` and `rsr_tf.experiment.run_sweep`. Defaults to `False`.

    Raises:
        UserError: if the folder belongs to another config; by the stages, if data, a file or an optional package is
            missing or unusable, the disk is full, or the loss is not finite.

    Example:
        >>> with Experiment(load_config("quickstart"), "runs/quickstart") as experiment:
        ...     experiment.run()
    """

    def __init__(self, config, folder, *, shared=False):
        self.config = config = identified(config)
        self.folder = RunFolder(folder, writes=peers().cluster.is_chief, shared=shared)
        with user_errors(), self._disk_errors():
            self.folder.check(config.model_dump(), functools.partial(completed, source=self.folder.config))
        keras.utils.set_random_seed(config.seed)
        keras.config.set_dtype_policy(config.training.precision)
        if config.training.deterministic:
            enable_determinism()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.folder.release()
        if exception[0] is None:
            peers().leave()

    @functools.cached_property
    def strategy(self):
        """The `tf.distribute.Strategy` of the stages that train; the other stages run on one device."""
        return devices.build_strategy(self.config)

    def run(self):
        """Run all stages in order. Of several processes, the chief alone does what follows the trainings."""
        for package, extra in PACKAGES.items():  # report a missing package before the training
            require(package, extra=extra)
        later = (self.evaluate, self.export, self.report) if self.folder.writes else ()
        for stage in (self.train, self.prune, *later):
            started = time.monotonic()
            log.info("== %s", stage.__name__)
            stage()
            log.info("== %s done in %.0f s", stage.__name__, time.monotonic() - started)

    def train(self):
        """Train the network, and the undefended baseline if the config has one."""
        section, baseline = self.config.training, self.config.undefended
        log.info("%s: %d training images", self._data_set.title, len(self._data_set.train))
        check_training(self.config, self._steps_per_epoch)
        warn_of_absent_classes(self._data_set)
        network = pruner = None
        if not (is_there(self.folder.model) and self.config.model.file_of_weights):  # else the file may be gone
            with user_errors(), self.strategy.scope():
                network = builders.build_network(self.config, self._data_set)
                pruner = self._check_pruning(network)
                load_start(network, self.config.model.start, self.folder)
        # only now, so that a run that cannot start leaves nothing behind
        with user_errors(), self._disk_errors():
            self.folder.claim(self.config.model_dump(), versions())
            check_shared(self.folder.path)
        if not is_there(self.folder.model):
            warmup_steps = section.warmup_epochs * self._steps_per_epoch
            with self.strategy.scope():
                model = builders.build_rsr_model(self.config, network, warmup_steps=warmup_steps)
            learning_rate = self._learning_rate(section.schedule, section.learning_rate, section.epochs)
            options = {"epochs": section.epochs, "learning_rate": learning_rate, "pruner": pruner}
            self._fit(model, "train", self.folder.model, **options)
        if baseline.epochs and not is_there(self.folder.undefended):
            log.info("-- undefended baseline")
            plain = self.config.changed(attack={"steps": 0}, model=builders.PLAIN)
            with self.strategy.scope():
                network = builders.build_network(plain, self._data_set)
                model = builders.build_rsr_model(plain, network, warmup_steps=0)
            learning_rate = self._learning_rate(section.schedule, baseline.learning_rate, baseline.epochs)
            options = {"epochs": baseline.epochs, "learning_rate": learning_rate}
            self._fit(model, "undefended", self.folder.undefended, **options)

    def _check_pruning(self, network):
        """Check the pruning settings before a long training, and return the callback that prunes during it."""
        section = self.config.pruning
        select_kernels(network, section.exclude)
        if section.filters:
            pruning.prune_filters(network, share=0.0, exclude=section.exclude)
        return builders.build_pruner(self.config, self.config.training.epochs * self._steps_per_epoch)

    def prune(self):
        """Prune the trained network, and fine-tune it if the config has epochs for that.

        With the schedule "rounds", pruning and fine-tuning alternate; with "admm", a training with ADMM comes first. A
        network that was pruned during training has its final sparsity already.
        """
        section = self.config.pruning
        if is_there(self.folder.pruned):
            return
        with self.strategy.scope():
            model = self._load(self.folder.model)
        if not isinstance(model, RSRModel):
            raise UserError(f"{self.folder.model} is not a network of this run: it is no RSRModel")
        if section.filters:
            model = self._without_filters(model)
        if section.schedule == "admm":
            model = self._trained_by_admm(model)
        rounds, epochs = None, section.finetune_epochs
        if section.schedule == "rounds":
            rounds, epochs = builders.build_pruning_rounds(self.config, self._steps_per_epoch), epochs * section.rounds
        else:
            with user_errors():
                pruning.prune(model, sparsity=section.sparsity, gamma=section.gamma, **section.selection)
        if epochs:
            model.skip_warmup()
            options = {"epochs": epochs, "learning_rate": section.finetune_learning_rate, "pruner": rounds}
            self._fit(model, "finetune", self.folder.pruned, **options)
        else:
            save(model, self.folder.pruned, self.folder)
        log.info("%s", pruning.sparsity_table(model))

    def _trained_by_admm(self, model):
        """Return the network after further training with ADMM, which makes its weights nearly sparse."""
        section = self.config.pruning
        if is_there(self.folder.admm):
            with self.strategy.scope():
                return self._load(self.folder.admm)
        model.skip_warmup()
        period = section.admm_frequency * self._steps_per_epoch
        learning_rate = builders.build_learning_rate("sawtooth", section.finetune_learning_rate, period)
        options = {"epochs": section.admm_epochs, "learning_rate": learning_rate}
        self._fit(model, "admm", self.folder.admm, pruner=builders.build_admm(self.config), **options)
        return model

    def _learning_rate(self, schedule, peak, epochs):
        return builders.build_learning_rate(schedule, peak, epochs * self._steps_per_epoch)

    def _without_filters(self, model):
        """Return a smaller network without a share of the filters of every layer."""
        section = self.config.pruning
        with user_errors():
            table = pruning.prune_filters(model, share=section.filters, exclude=section.exclude)
        log.info("%s", table)
        with self.strategy.scope():
            small = builders.build_rsr_model(self.config, pruning.rebuild(model), warmup_steps=0)
        small.set_attack(model.attack)  # the overfitting monitor may have replaced it
        return small

    def evaluate(self):
        """Attack every network of the run with and without its noise. Keeps earlier results of the same networks."""
        paths = self._network_paths()
        networks = {name: self._load(path) for name, path in paths.items()}
        identities = {name: content_hash(path) for name, path in paths.items()}
        evaluate_networks(networks, self._data_set, self.config, self.folder, identities)

    def run_suite(self, suite, network="pruned", num_images=None, ball=None):
        """Attack one network with a suite of attacks, and report the verdict. Resumes a stopped suite.

        Args:
            suite: one of `rsr_tf.choices.SUITES`.
            network: one of `rsr_tf.choices.NETWORKS`. Defaults to `"pruned"`.
            num_images: number of test images to draw. Defaults to that of the suite.
            ball: a `rsr_tf.experiment.ball.Ball`. Defaults to that of the config.
        """
        ball = ball or choose_ball(self.config)
        if network == "undefended" and not self.config.undefended.epochs:
            raise UserError("this run has no undefended network: `undefended.epochs` is 0")
        paths = {"pruned": self.folder.pruned, "trained": self.folder.model, "undefended": self.folder.undefended}
        model = self._load(paths[network])
        write_verdict(
            self.folder,
            suite_name(suite, network, num_images, ball.name),
            variants(model, self.config.evaluation.ensemble),
            self._data_set,
            self.config,
            suite,
            head=describe_network(self.config, self._data_set, network, pruning.sparsity(model)),
            num_images=num_images,
            **ball.options,
            identity=content_hash(paths[network]),
            twins=twins(model, self.config.evaluation.ensemble),
            reseed=functools.partial(reseed_noise, model),
        )
        self.report()

    def export(self):
        """Write the pruned network as a SavedModel; again if its file has been replaced."""
        if is_exported(self.folder.pruned, self.folder.saved_model):
            return
        model = self._load(self.folder.pruned)
        metadata = {
            "sparsity": pruning.sparsity(model),
            "classes": list(self._data_set.class_names),
            "config": drop_none(self.config.model_dump()),
            "versions": versions(),
            "network_sha256": content_hash(self.folder.pruned),
        }
        with self._disk_errors(), replacing(self.folder.saved_model) as temporary:
            export_saved_model(model, temporary, metadata=metadata)

    def artefacts(self, again=False):
        """Write the networks before and after pruning in every export format, and measure them. Keeps earlier results.

        A network that was pruned during training is measured after pruning only.

        Args:
            again: whether to repeat the latency measurements, for example on an idle machine. Defaults to `False`.
        """
        with user_errors():
            content = export_benchmark.describe(self.config, self._data_set) | self.folder.read_artefacts()
        options = {"data_set": self._data_set, "config": self.config, "again": again}
        with user_errors(), self._disk_errors():
            paths = self._network_paths(baseline=False)
            export_benchmark.measure_all(paths, self._load, content, self.folder, **options)

    def report(self):
        """Write `report.html` from the results of the other stages."""
        with self._disk_errors(), self.folder.writing():
            write_report_page(self.folder)

    @functools.cached_property
    def _data_set(self):
        return builders.load_data(self.config)

    @property
    def _steps_per_epoch(self):
        return data.steps_per_epoch(self._data_set.train, self.config.training.batch_size)

    def _load(self, path):
        return load_network(path, self._data_set)

    def _fit(self, model, stage, path, **options):
        fit(model, stage, path, config=self.config, data_set=self._data_set, folder=self.folder, **options)

    def _network_paths(self, *, baseline=True):
        undefended = {"undefended": self.folder.undefended} if baseline and self.config.undefended.epochs else {}
        trained = {} if self.config.pruning.in_training else {"trained": self.folder.model}
        return undefended | trained | {"pruned": self.folder.pruned}

    def _disk_errors(self):
        return disk_errors(self.folder.path)
