"""Build the objects that the sections of a config describe: data, network, training model, optimizer, schedules."""

import keras
import numpy as np

from rsr_tf import attacks, data, models
from rsr_tf.errors import UserError, user_errors
from rsr_tf.experiment.own_networks import build_own_network
from rsr_tf.layers import QuantizedReLU
from rsr_tf.models.pixels import from_pixels
from rsr_tf.pruning.admm import ADMMPruning
from rsr_tf.pruning.callback import PruningCallback
from rsr_tf.pruning.schedules import ConstantSparsity, PolynomialDecay, Rounds
from rsr_tf.training.learning_rate import Sawtooth
from rsr_tf.training.losses import SmoothedCrossentropy
from rsr_tf.training.model import RSRModel
from rsr_tf.training.overfitting import CatastrophicOverfittingMonitor
from rsr_tf.validation import check_batch

PLAIN = {
    **{"noise": "none", "lasso": 0.0, "group_lasso": 0.0, "activation_bits": 0, "orthogonality": 0.0},
    **{"image_noise": 0.0, "feature_noise": 0.0},
}
"""Values of the section `model` for a network without any defence."""
OF_OWN_NETWORKS = ("file", "weights", "sha256", "resize", "rescale", "offset")
"""Keys of the section `model` that are no arguments of the functions of `rsr_tf.models`."""


def load_data(config):
    """Load the data set of a config and check all its images and labels.

    Args:
        config: a `Config`.

    Returns:
        A `DataSet`.

    Raises:
        UserError: if the data is missing, or pixels or labels are out of range.
    """
    section = config.data
    with user_errors("data"):
        options = {"directory": section.directory, "validation": section.validation, **section.options}
        data_set = data.load(section.name, seed=config.seed, **options)
        data.steps_per_epoch(data_set.train, config.training.batch_size)
        data.Augmentation(section.augment, data_set.image_shape)  # before anything starts
        for name in ("train", "validation", "test"):
            where = f" in the {name} images of {section.directory or data_set.title}"
            _check_split(getattr(data_set, name), where, classes=len(data_set.class_names))
    return data_set


def _check_split(split, where, *, classes):
    """Check all images and labels of a split; the images without a copy, as uint8 cannot be out of range.

    `StoredImages` are uint8; of those, one is read now, and each is checked again whenever it is read.
    """
    images = split.first(1).pixels() if split.images.dtype == np.uint8 else split.images
    check_batch(images, split.labels, classes=classes, where=where)


def build_training_batches(config, data_set, *, start_step):
    """Build the stream of training batches of a config.

    Args:
        config: a `Config`.
        data_set: a `DataSet`.
        start_step: integer, the number of the first batch.
    """
    section = config.data
    weights = None
    if section.class_weights == "balanced":
        weights = data.balanced_weights(data_set.train.labels, len(data_set.class_names))
    return data.training_batches(
        data_set.train,
        batch_size=config.training.batch_size,
        seed=config.seed,
        crop_and_flip=section.crop_and_flip,
        augment=section.augment,
        class_weights=weights,
        start_step=start_step,
    )


def build_network(config, data_set, **changes):
    """Build the network of a config; its initial weights depend on `config.seed` alone.

    Args:
        config: a `Config`.
        data_set: a `DataSet`, for shape, classes and pixel statistics.
        **changes: values that replace those of the section `model`.

    Returns:
        A Keras model.
    """
    keras.utils.set_random_seed(config.seed)
    section = config.model.model_copy(update=changes)
    options = section.model_dump(exclude_none=True, exclude={"start", *OF_OWN_NETWORKS})
    if options.pop("lasso_step") == "proximal":
        options["lasso"] = 0.0  # `build_rsr_model` applies it
    if section.kind != "built-in":
        return build_own_network(section, data_set, lasso=options["lasso"])
    bits = options.pop("activation_bits")
    before = {"resize": section.resize, "image_noise": options.pop("image_noise")} if section.resize else {}
    scheme = models.Scheme(
        activation=QuantizedReLU(bits) if bits else "relu",
        **{name: options.pop(name, 0.0) for name in ("orthogonality", "image_noise", "feature_noise")},
    )
    mean, std = data_set.pixel_statistics()
    build = models.MODELS[options.pop("name")]
    shape = (*(section.resize or data_set.image_shape[:2]), data_set.image_shape[2])
    network = build(shape, len(data_set.class_names), mean=mean, std=std, scheme=scheme, **options)
    return from_pixels(network, data_set.image_shape, **before) if before else network


def build_rsr_model(config, network, *, warmup_steps):
    """Build the `RSRModel` that trains a network by the scheme of a config.

    Args:
        config: a `Config`.
        network: a Keras model.
        warmup_steps: number of steps at the start without attack.
    """
    proximal = config.model.lasso_step == "proximal"
    section = config.attack
    attack = None
    if section.steps:
        attack = attacks.PGD(
            epsilon=section.epsilon,
            step_size=section.step_size,
            steps=section.steps,
            random_start=section.random_start,
            norm=section.norm,
        )
    return RSRModel(
        network.inputs,
        network.outputs,
        attack=attack,
        objective=config.training.objective,
        clean_weight=config.training.clean_weight,
        attack_labels=section.labels,
        warmup_steps=warmup_steps,
        proximal_lasso=config.model.lasso if proximal else 0.0,
        seed=config.seed,
        name=network.name,
    )


def build_overfitting_watch(config, data_set, model, history):
    """Build the monitor of catastrophic overfitting that a config selects, and restore its state.

    Args:
        config: a `Config`.
        data_set: a `DataSet`; the first 256 of its validation images are monitored.
        model: the `RSRModel` to train. Its attack becomes the fallback if the history says that this had happened.
        history: rows of the finished epochs, see `read_history`.

    Returns:
        A list of one callback, or an empty list.
    """
    section = config.attack
    if section.overfitting_watch == "off" or model.attack is None:
        return []
    held_out = data_set.validation.first(256)
    fallback = None
    if section.overfitting_watch == "multi-step":
        fallback = attacks.PGD(epsilon=section.epsilon, step_size=section.epsilon / 4, steps=7, norm=section.norm)
    watch = CatastrophicOverfittingMonitor(
        held_out.pixels(), held_out.labels, epsilon=section.epsilon, norm=section.norm, fallback=fallback
    )
    for row in history:
        watch.remember(float(row["watch_fgsm_accuracy"]), float(row["watch_pgd_accuracy"]))
        if row.get("multi_step") == "1.0":
            model.set_attack(fallback)
    return [watch]


def build_learning_rate(schedule, peak, steps):
    """Build a learning rate, or a Keras schedule of learning rates.

    Args:
        schedule: one of `rsr_tf.choices.LEARNING_RATE_SCHEDULES`, or `"sawtooth"`.
        peak: the highest learning rate.
        steps: number of optimizer steps; of `"sawtooth"`, those of a period.
    """
    if schedule == "steps":
        boundaries = [round(steps * share) for share in (0.5, 0.75)]
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, [peak, 0.1 * peak, 0.01 * peak])
    if schedule == "sawtooth":
        return Sawtooth(peak, steps)
    if schedule == "cosine":
        rise = max(1, round(0.3 * steps))
        return keras.optimizers.schedules.CosineDecay(
            0.0, decay_steps=max(1, steps - rise), warmup_target=peak, warmup_steps=rise
        )
    return peak


def build_pruner(config, steps):
    """Build the callback that prunes a network during its first training.

    Args:
        config: a `Config`.
        steps: number of steps of that training.

    Returns:
        A callback, or `None` if the config does not prune during training.

    Raises:
        UserError: if the frequency leaves no time for a second pruning.
    """
    section = config.pruning
    begin, end = round(section.begin * steps), round(section.end * steps)
    if section.schedule == "constant":
        schedule = ConstantSparsity(section.sparsity, begin, end_step=end, frequency=section.frequency)
        return PruningCallback(schedule, **section.selection)
    if section.schedule == "polynomial":
        intervals = (end - begin) // section.frequency
        if not intervals:
            raise UserError(
                f"`pruning.frequency` must be at most {end - begin}, as pruning lasts from step {begin} to {end}. "
                f"Received: {section.frequency}"
            )
        end = begin + intervals * section.frequency  # so that the last pruning reaches the final sparsity
        schedule = PolynomialDecay(
            section.initial_sparsity, section.sparsity, begin, end, power=section.power, frequency=section.frequency
        )
        return PruningCallback(schedule, **section.selection)
    return None


def build_pruning_rounds(config, steps_per_epoch):
    """Build the callback that prunes in rounds; each round is followed by its epochs of fine-tuning.

    Args:
        config: a `Config`.
        steps_per_epoch: number of steps in an epoch.
    """
    section = config.pruning
    schedule = Rounds.of_equal_share(section.sparsity, section.rounds, section.finetune_epochs * steps_per_epoch)
    return PruningCallback(schedule, **section.selection)


def build_admm(config):
    """Build the callback of the schedule "admm" (Ye et al. 2019)."""
    section = config.pruning
    return ADMMPruning(section.sparsity, frequency=section.admm_frequency, rho=section.rho, exclude=section.exclude)


def build_optimizer(section, learning_rate, *, averaged=False):
    """Build a new optimizer of the kind in a config.

    Args:
        section: the section `training` of a `Config`.
        learning_rate: number, or a Keras schedule.
        averaged: whether it keeps the moving average of the weights that the config asks for. Defaults to `False`.
    """
    options = {"learning_rate": learning_rate, "weight_decay": section.weight_decay or None}
    options["name"] = section.optimizer  # Keras counts the optimizers of a process, which a resumed run has fewer of
    options["global_clipnorm"] = section.clip_norm or None
    if averaged and section.ema_momentum:
        options |= {"use_ema": True, "ema_momentum": section.ema_momentum}
    if section.optimizer == "sgd":
        options |= {"momentum": section.momentum, "nesterov": section.momentum > 0}
    elif section.optimizer == "adamw":
        options["weight_decay"] = section.weight_decay  # it takes no `None`
    elif section.optimizer == "muon":
        options["adam_weight_decay"] = options["weight_decay"]
    classes = {name.lower(): getattr(keras.optimizers, name) for name in dir(keras.optimizers)}
    return classes[section.optimizer](**options)


def compile_model(model, config, learning_rate, **options):
    """Compile a model with a new optimizer of the kind in a config, and cross-entropy on logits.

    Args:
        model: a Keras model.
        config: a `Config`.
        learning_rate: number, or a Keras schedule.
        **options: as for `build_optimizer`.
    """
    smoothing = config.training.label_smoothing
    with model.distribute_strategy.scope():
        optimizer = build_optimizer(config.training, learning_rate, **options)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if smoothing:
            loss = SmoothedCrossentropy(smoothing)
        model.compile(optimizer, loss, metrics=["accuracy"])
