"""From a config to a trained, pruned, attacked and exported network: the one module that turns settings into objects.

Each stage leaves an artefact in the run folder, written in one step, and a stage whose artefact is there is done. So a
run that was stopped goes on where it was; within a training, at the end of the last whole epoch.
"""

import base64
import contextlib
import functools
import importlib.metadata
import logging
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from rsr_tf import attacks, data, evaluation, export, models, pruning
from rsr_tf.callbacks import Checkpoint, History, NotFiniteError, SparsityLog, StopAtNaN, read_history
from rsr_tf.config import UserError, parse_config
from rsr_tf.convert import strip
from rsr_tf.layers import noisy_layers
from rsr_tf.report import write_report
from rsr_tf.run_folder import RunFolder, drop_none, replacing
from rsr_tf.training import RSRModel, check_batch

log = logging.getLogger(__name__)

VERSIONED = ("rsr_tf", "tensorflow", "keras", "cleverhans", "numpy")
HISTOGRAM_EDGES = np.linspace(-0.3, 0.3, 61)
GAMMAS = [mantissa * 10.0**power for power in range(-6, 0) for mantissa in (1, 2, 5)]
EXAMPLES = 8
"""Images in the strip of the report."""


@contextlib.contextmanager
def user_errors():
    """Turn what the user can mend into a `UserError`; anything else is a defect and keeps its traceback."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        raise UserError(str(error)) from error


class Experiment:
    """One run: a config, and the folder that holds its artefacts.

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
        with user_errors():
            self.folder.check(config.model_dump())
        keras.utils.set_random_seed(config.seed)
        keras.config.set_dtype_policy(config.training.precision)
        if config.training.deterministic:
            tf.config.experimental.enable_op_determinism()

    def run(self):
        """All stages in their order."""
        for name, stage in self.stages().items():
            started = time.monotonic()
            log.info("== %s", name)
            stage()
            log.info("== %s done in %.0f s", name, time.monotonic() - started)

    def stages(self):
        """The stages by name, in their order."""
        return {
            "train": self.train,
            "prune": self.prune,
            "evaluate": self.evaluate,
            "export": self.export,
            "report": self.report,
        }

    @functools.cached_property
    def data_set(self):
        return load_data(self.config)

    # Stages

    def train(self):
        """Train the network, and its undefended twin if the config asks for one."""
        section, twin = self.config.training, self.config.undefended
        log.info("%s: %d training images", self.data_set.title, len(self.data_set.train))
        with self._disk_errors():  # only now, so that a run without data leaves nothing behind
            self.folder.claim(self.config.model_dump(), _versions())
        if not self.folder.model.exists():
            model = self._rsr_model(self._network(), warmup_epochs=section.warmup_epochs)
            self._compile(model, self._learning_rate(section.schedule, section.learning_rate, section.epochs))
            self._fit(model, "train", section.epochs, self.folder.model)
        if twin.epochs and not self.folder.undefended.exists():
            log.info("-- undefended twin")
            model = self._rsr_model(self._network(noise="none", lasso=0.0), defended=False)
            self._compile(model, self._learning_rate(section.schedule, twin.learning_rate, twin.epochs))
            self._fit(model, "undefended", twin.epochs, self.folder.undefended)

    def prune(self):
        """Prune the trained network, and train it further with the mask on if the config asks for that."""
        section = self.config.pruning
        if self.folder.pruned.exists():
            return
        model = self._load(self.folder.model)
        with user_errors():
            pruning.prune(model, sparsity=section.sparsity, gamma=section.gamma, scope=section.scope)
        log.info("%s", pruning.sparsity_table(model))
        if section.finetune_epochs:
            self._compile(model, section.finetune_learning_rate)
        self._fit(model, "finetune", section.finetune_epochs, self.folder.pruned)

    def evaluate(self):
        """Attack every network of the run, noise on and off; what is done already is kept."""
        images, labels = test_images(self.data_set, self.config)
        content = self.folder.read_evaluation() or self._evaluation_header(len(labels))
        for name, path in self._networks().items():
            model = self._load(path)
            entry = content["networks"].setdefault(name, _weight_statistics(model))
            for variant, network in _variants(model).items():
                if variant not in entry["scores"]:
                    entry["scores"][variant] = attack(network, images, labels, self.config, f"{name}, {variant}")
                    self._write_evaluation(content)
        if "examples" not in content:
            content["examples"] = self._examples(images[:EXAMPLES], labels[:EXAMPLES])
            self._write_evaluation(content)

    def export(self):
        """Write the pruned network as a SavedModel."""
        if self.folder.saved_model.exists():
            return
        model = self._load(self.folder.pruned)
        metadata = {
            "sparsity": pruning.sparsity(model),
            "classes": list(self.data_set.class_names),
            "config": drop_none(self.config.model_dump()),
            "versions": _versions(),
        }
        with self._disk_errors(), replacing(self.folder.saved_model) as temporary:
            export.export_saved_model(model, temporary, metadata=metadata)

    def report(self):
        """Write `report.html` from what the other stages left."""
        content = self.folder.read_evaluation()
        if not content:
            raise UserError(f"nothing was evaluated in {self.folder.path} yet; `rsr evaluate` does it")
        with self._disk_errors(), replacing(self.folder.report) as temporary:
            write_report(temporary, self.folder.config.read_text(), content, read_history(self.folder.history))
        log.info("report: %s", self.folder.report)

    # What the stages are made of

    def _network(self, **changes):
        """The network of the config, always with the same first weights."""
        keras.utils.set_random_seed(self.config.seed)
        options = self.config.model.model_dump() | changes
        mean, std = self.data_set.pixel_statistics()
        build = getattr(models, options.pop("name"))
        return build(self.data_set.image_shape, len(self.data_set.class_names), mean=mean, std=std, **options)

    def _rsr_model(self, network, *, defended=True, warmup_epochs=0):
        section = self.config.attack
        attack = None
        if defended and section.steps:
            attack = attacks.PGD(
                epsilon=section.epsilon,
                step_size=section.step_size,
                steps=section.steps,
                random_start=section.random_start,
            )
        return RSRModel(
            network.inputs,
            network.outputs,
            attack=attack,
            clean_weight=self.config.training.clean_weight,
            attack_labels=section.labels,
            warmup_steps=warmup_epochs * self._steps_per_epoch,
            seed=self.config.seed,
            name=network.name,
        )

    @property
    def _steps_per_epoch(self):
        return data.steps_per_epoch(self.data_set.train, self.config.training.batch_size)

    def _learning_rate(self, schedule, peak, epochs):
        steps = epochs * self._steps_per_epoch
        if schedule == "steps":
            boundaries = [round(steps * share) for share in (0.5, 0.75)]
            return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, [peak, 0.1 * peak, 0.01 * peak])
        if schedule == "cosine":
            rise = max(1, round(0.3 * steps))
            return keras.optimizers.schedules.CosineDecay(
                0.0, decay_steps=max(1, steps - rise), warmup_target=peak, warmup_steps=rise
            )
        return peak

    def _compile(self, model, learning_rate):
        section = self.config.training
        options = {"learning_rate": learning_rate, "weight_decay": section.weight_decay or None}
        if section.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(momentum=0.9, nesterov=True, **options)
        else:
            optimizer = keras.optimizers.Adam(**options)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"])

    def _fit(self, model, stage, epochs, path):
        """Train from the last checkpoint of this stage on, and save the model."""
        section, steps = self.config.training, self._steps_per_epoch
        checkpoint = Checkpoint(self.folder.checkpoints / f"{stage}.weights.h5", steps)
        with user_errors():
            epoch = checkpoint.restore(model)
        if epoch:
            log.info("going on after epoch %d of %d", epoch, epochs)
        batches = data.training_batches(
            self.data_set.train,
            batch_size=section.batch_size,
            seed=self.config.seed,
            crop_and_flip=self.config.data.crop_and_flip,
            start_step=epoch * steps,
        )
        with self._disk_errors(), _divergence(stage):
            if epoch < epochs:
                model.fit(
                    batches,
                    validation_data=data.batches(self.data_set.validation, batch_size=section.batch_size),
                    initial_epoch=epoch,
                    epochs=epochs,
                    steps_per_epoch=steps,
                    shuffle=False,
                    verbose=1 if sys.stdout.isatty() else 2,
                    callbacks=[
                        StopAtNaN(),
                        SparsityLog(),
                        History(self.folder.history, stage),
                        keras.callbacks.TensorBoard(self.folder.logs / stage, histogram_freq=1, write_graph=False),
                        checkpoint,
                    ],
                )
            with replacing(path) as temporary:
                model.save(temporary)

    def _networks(self):
        networks = {"undefended": self.folder.undefended, "before pruning": self.folder.model}
        if not self.config.undefended.epochs:
            networks.pop("undefended")
        return networks | {"after pruning": self.folder.pruned}

    def _load(self, path):
        if not path.exists():
            raise UserError(f"{path} is not there; `rsr train` and `rsr prune` make it")
        try:
            return keras.models.load_model(path)
        except Exception as error:  # whatever a broken file makes of zipfile, h5py and Keras
            raise UserError(f"cannot read the model {path}: {_first_line(error)}") from error

    def _evaluation_header(self, count):
        return {
            "data": self.data_set.title,
            "class_names": list(self.data_set.class_names),
            "model": self.config.model.name,
            "seed": self.config.seed,
            "attack": {**attack_parameters(self.config), "n": count, "draws": self.config.evaluation.draws},
            "training_attack": self.config.attack.model_dump(),
            "networks": {},
        }

    def _write_evaluation(self, content):
        with self._disk_errors():
            self.folder.write_evaluation(content)

    def _examples(self, images, labels):
        """A few test images, clean and attacked, with what the pruned network and the twin make of them."""
        examples = {"labels": [int(label) for label in labels], "clean": [_png(image) for image in images]}
        for name, path in self._networks().items():
            if name == "before pruning":
                continue
            x_adv, clean, adversarial = evaluation.adversarial_examples(
                evaluation.as_model_fn(self._load(path)), images, labels, **attack_parameters(self.config)
            )
            examples[name] = {
                "adversarial": [_png(image) for image in x_adv],
                "clean_predictions": clean.tolist(),
                "adversarial_predictions": adversarial.tolist(),
            }
        return examples

    @contextlib.contextmanager
    def _disk_errors(self):
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot write to {self.folder.path}: {_first_line(error)}. What was saved before is intact"
            ) from error


def evaluate_saved_model(path, config=None, overrides=()):
    """Attack a SavedModel as it would be served: `serve`, and `serve_deterministic` if it has one.

    Args:
        path: folder of the SavedModel.
        config: a `Config`; `None` takes the one that was exported with it.
        overrides: changes to the exported config, as for `rsr_tf.config.load_config`.

    Returns:
        A dict from the name of the endpoint to its scores as plain numbers.

    Raises:
        UserError: for a folder that cannot be read, or has no config or no endpoint `serve`.
    """
    if config is None:
        exported = export.read_metadata(path).get("config")
        if exported is None:
            raise UserError(f"{path} was not exported by `rsr`; give the data and the attack with --config")
        config = parse_config(exported, overrides, source=path)
    try:
        loaded = tf.saved_model.load(path)
    except Exception as error:  # whatever TensorFlow makes of a broken folder
        raise UserError(f"cannot read the SavedModel {path}: {_first_line(error)}") from error
    if not hasattr(loaded, "serve"):
        raise UserError(f"the SavedModel {path} has no endpoint `serve`")
    images, labels = test_images(load_data(config), config)
    endpoints = [name for name in ("serve", "serve_deterministic") if hasattr(loaded, name)]
    return {
        name: attack(evaluation.as_model_fn(getattr(loaded, name)), images, labels, config, name) for name in endpoints
    }


def load_data(config):
    """The data set of a config, its first batch looked at.

    Raises:
        UserError: for data that is missing, or pixels or labels out of range.
    """
    section = config.data
    with user_errors():
        data_set = data.load(section.name, directory=section.directory, validation=section.validation, seed=config.seed)
        data.steps_per_epoch(data_set.train, config.training.batch_size)
        for split in (data_set.train, data_set.test):
            check_batch(split.first(1024).pixels(), split.labels, classes=len(data_set.class_names))
    return data_set


def test_images(data_set, config):
    """The test images of the evaluation as float32 in [0,1], and their labels."""
    test = data_set.test.first(config.evaluation.images or None)
    return test.pixels(), test.labels


def attack_parameters(config):
    section = config.evaluation
    return {"epsilon": section.epsilon, "step_size": section.step_size, "steps": section.steps}


def attack(model_fn, images, labels, config, title):
    """The scores of one network as plain numbers; see `rsr_tf.evaluation.evaluate_whitebox`."""
    section = config.evaluation
    keras.utils.set_random_seed(config.seed)
    scores = evaluation.evaluate_whitebox(
        model_fn, images, labels, draws=section.draws, batch_size=section.batch_size, **attack_parameters(config)
    )
    log.info("%s: %s", title, ", ".join(f"{name} {score}" for name, score in scores.items()))
    return {name: score.as_dict() for name, score in scores.items()}


@contextlib.contextmanager
def _divergence(stage):
    try:
        yield
    except NotFiniteError as error:
        raise UserError(
            f"training stopped: {error}. The checkpoint of the last whole epoch is intact; try a lower learning rate"
        ) from error


def _variants(model):
    """The network as trained, and without its noise if it has any."""
    variants = {"noisy": model, "stripped": strip(model)}
    if not any(layer.alpha is not None for layer in noisy_layers(model)):
        variants.pop("noisy")
    return {name: evaluation.as_model_fn(network) for name, network in variants.items()}


def _weight_statistics(model):
    """Sparsity, histogram (Fig. 1) and shares of small weights (Fig. 2c) over all conv and dense kernels."""
    table = pruning.sparsity_table(model)
    weights = np.concatenate([kernel.ravel() for kernel in pruning.effective_kernels(model).values()])
    counts, _ = np.histogram(np.clip(weights, HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[-1]), HISTOGRAM_EDGES)
    return {
        "sparsity": table.sparsity,
        "weights": table.weights,
        "layers": [
            {"path": row.path, "shape": list(row.shape), "weights": row.weights, "zeros": row.zeros} for row in table
        ],
        "histogram": {"edges": HISTOGRAM_EDGES.tolist(), "counts": counts.tolist()},
        "share_below": {"gamma": GAMMAS, "share": [float(np.mean(np.abs(weights) < gamma)) for gamma in GAMMAS]},
        "scores": {},
    }


def _png(image):
    """An image `(h, w, c)` in [0,1] as a base64 PNG."""
    pixels = tf.image.convert_image_dtype(image, tf.uint8, saturate=True)
    return base64.b64encode(tf.io.encode_png(pixels).numpy()).decode()


def _versions():
    return {name: importlib.metadata.version(name) for name in VERSIONED}


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
