"""From the sections of a config to the objects that they describe: data, network, model to train, optimizer."""

import contextlib
import errno
import os

import keras
import tensorflow as tf

from rsr_tf import attacks, data, models
from rsr_tf.config.schema import UserError
from rsr_tf.errors import first_line
from rsr_tf.pruning.schedules import ConstantSparsity, PolynomialDecay, Rounds
from rsr_tf.training.model import RSRModel
from rsr_tf.training.overfitting import CatastrophicOverfittingMonitor
from rsr_tf.validation import check_batch

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


@contextlib.contextmanager
def user_errors(section=None):
    """Turn what the user can mend into a `UserError`; anything else is a defect and keeps its traceback.

    Args:
        section: of the config, if that is where the mistake is, for the message. Defaults to `None`.
    """
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"[{section}] {first_line(error)}" if section else first_line(error)) from error


@contextlib.contextmanager
def disk_errors(folder):
    """Turn what a disk refuses into a `UserError`; TensorFlow's writers name it in the message alone."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reasons = [os.strerror(number) for number in DISK_ERRORS]
        reason = next((reason for reason in reasons if reason in str(error)), None)
        if reason is None:
            raise
        raise UserError(f"cannot write to {folder}: {reason}. What was saved before is intact") from error


def load_data(config):
    """The data set of a config, its first batch looked at.

    Raises:
        UserError: for data that is missing, or pixels or labels out of range.
    """
    section = config.data
    with user_errors("data"):
        data_set = data.load(section.name, directory=section.directory, validation=section.validation, seed=config.seed)
        data.steps_per_epoch(data_set.train, config.training.batch_size)
        for split in (data_set.train, data_set.test):
            check_batch(split.first(1024).pixels(), split.labels, classes=len(data_set.class_names))
    return data_set


def load_network(path):
    """A saved Keras model.

    Raises:
        UserError: where there is none, or none that can be read.
    """
    if not path.exists():
        raise UserError(f"{path} is not there; `rsr train` and `rsr prune` make it")
    try:
        return keras.models.load_model(path)
    except Exception as error:  # whatever a broken file makes of zipfile, h5py and Keras
        raise UserError(f"cannot read the model {path}: {first_line(error)}") from error


def build_network(config, data_set, **changes):
    """The network of a config, always with the same first weights; `changes` go over the model section."""
    keras.utils.set_random_seed(config.seed)
    options = config.model.model_dump() | changes
    if options.pop("lasso_step") == "proximal":
        options["lasso"] = 0.0  # `build_rsr_model` takes it
    mean, std = data_set.pixel_statistics()
    build = models.MODELS[options.pop("name")]
    return build(data_set.image_shape, len(data_set.class_names), mean=mean, std=std, **options)


def build_rsr_model(config, network, *, warmup_steps):
    """A network as the model that trains it by the scheme of a config."""
    proximal = config.model.lasso_step == "proximal"
    section = config.attack
    attack = None
    if section.steps:
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
        clean_weight=config.training.clean_weight,
        attack_labels=section.labels,
        warmup_steps=warmup_steps,
        proximal_lasso=config.model.lasso if proximal else 0.0,
        seed=config.seed,
        name=network.name,
    )


def build_overfitting_watch(config, data_set, model, history):
    """The watch that a config asks for, in a list for `fit`; an empty list if it asks for none.

    Args:
        config: a `Config`.
        data_set: a `DataSet`; the watch looks at the first of its validation images.
        model: the `RSRModel` to train. It gets the fallback attack if the run that goes on had come to it.
        history: rows of the epochs that are done.
    """
    section = config.attack
    if section.overfitting_watch == "off" or model.attack is None:
        return []
    held_out = data_set.validation.first(256)
    fallback = None
    if section.overfitting_watch == "multi-step":
        fallback = attacks.PGD(epsilon=section.epsilon, step_size=section.epsilon / 4, steps=7)
    watch = CatastrophicOverfittingMonitor(
        held_out.pixels(), held_out.labels, epsilon=section.epsilon, fallback=fallback
    )
    for row in history:
        watch.remember(float(row["watch_fgsm_accuracy"]), float(row["watch_pgd_accuracy"]))
        if row.get("multi_step") == "1.0":
            model.set_attack(fallback)
    return [watch]


def build_learning_rate(schedule, peak, steps):
    """A learning rate, or a Keras schedule of one over a number of optimizer steps; see `training.schedule`."""
    if schedule == "steps":
        boundaries = [round(steps * share) for share in (0.5, 0.75)]
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, [peak, 0.1 * peak, 0.01 * peak])
    if schedule == "cosine":
        rise = max(1, round(0.3 * steps))
        return keras.optimizers.schedules.CosineDecay(
            0.0, decay_steps=max(1, steps - rise), warmup_target=peak, warmup_steps=rise
        )
    return peak


def build_pruning_schedule(config, steps):
    """The schedule by which a network is pruned while it trains for a number of steps; `None` for one that is not."""
    section = config.pruning
    begin, end = round(section.begin * steps), round(section.end * steps)
    if section.schedule == "constant":
        return ConstantSparsity(section.sparsity, begin, end_step=end, frequency=section.frequency)
    if section.schedule == "polynomial":
        intervals = (end - begin) // section.frequency
        if not intervals:
            raise UserError(
                f"`pruning.frequency` must be at most {end - begin}, as pruning goes from step {begin} to {end}. "
                f"Received: {section.frequency}"
            )
        end = begin + intervals * section.frequency  # the last pruning is to reach the whole sparsity
        return PolynomialDecay(
            section.initial_sparsity, section.sparsity, begin, end, power=section.power, frequency=section.frequency
        )
    return None


def build_pruning_rounds(config, steps_per_epoch):
    """The schedule of a config that prunes in rounds, each of which ends with its epochs of fine-tuning."""
    section = config.pruning
    return Rounds.of_equal_share(section.sparsity, section.rounds, section.finetune_epochs * steps_per_epoch)


def compile_model(model, config, learning_rate):
    """Compile a model with the optimizer of a config, new, and cross-entropy."""
    section = config.training
    options = {"learning_rate": learning_rate, "weight_decay": section.weight_decay or None}
    if section.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=0.9, nesterov=True, **options)
    else:
        optimizer = keras.optimizers.Adam(**options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
