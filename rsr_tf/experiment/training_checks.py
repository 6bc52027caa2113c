"""Check the settings and the images of a training before it begins or goes on."""

import logging
import zlib

import numpy as np

from rsr_tf.errors import UserError, disk_errors, shortened, user_errors
from rsr_tf.files import read_text, write_text

log = logging.getLogger(__name__)


def check_training(config, steps_per_epoch):
    """Check the section `training` of a config against the others.

    Args:
        config: a `Config`.
        steps_per_epoch: number of steps in an epoch.

    Raises:
        UserError: for settings that do not go together.
    """
    _check_average(config, config.training.epochs * steps_per_epoch)
    _check_best_epoch(config)


def warn_of_absent_classes(data_set):
    """Warn of classes without training images, as of class 0 where labels begin with 1.

    Args:
        data_set: a `DataSet`.
    """
    names = data_set.class_names
    counts = np.bincount(data_set.train.labels, minlength=len(names))
    absent = [name for name, count in zip(names, counts, strict=True) if not count]
    if absent:
        log.warning(
            "%d of %d classes have no training image: %s. The network has an output for each",
            *(len(absent), len(names), shortened(", ".join(absent))),
        )


def check_same_images(data_set, folder):
    """Check that a run resumes from its checkpoint on the images that it began with; without a checkpoint, record them.

    Number, shape and labels of the images are compared; pixels are not read.

    Args:
        data_set: a `DataSet`.
        folder: a `RunFolder`.

    Raises:
        UserError: if the images have changed.
    """
    images = data_set.train
    shape = "x".join(map(str, data_set.image_shape))
    found = f"{len(images):,} of {shape} pixels, checksum of the labels {zlib.crc32(images.labels.tobytes()):08x}"
    if folder.training_images.exists() and any(folder.checkpoints.glob("*.keras")):
        with user_errors():
            noted = read_text(folder.training_images).strip()
        if noted != found:
            raise UserError(
                f"the training images have changed since the run {folder.path} began with {noted}. Restore them, or "
                f"choose another --output. Received: {found}"
            )
    elif folder.writes:
        with disk_errors(folder.path):
            write_text(folder.training_images, f"{found}\n")


def _check_best_epoch(config):
    """Check that some epoch can be the best, if that is asked for."""
    section = config.training
    asked = {"training.keep": (section.keep, "last"), "training.patience": (section.patience, 0)}
    for key, (value, default) in asked.items():
        if value == default:
            continue
        if not config.attack.steps:
            raise UserError(f"`{key}` looks at the accuracy under attack, but `attack.steps` is 0. Received: {value}")
        if section.warmup_epochs >= section.epochs:
            raise UserError(f"`{key}` needs an epoch after the {section.warmup_epochs} of warm-up. Received: {value}")


def _check_average(config, steps):
    """Check that the average of the weights keeps zeros, and warn if it keeps the initial weights as well."""
    momentum = config.training.ema_momentum
    if not momentum:
        return
    if config.model.lasso_step == "proximal" and config.model.lasso:
        raise UserError(
            '`training.ema_momentum` must be 0 with `model.lasso_step` "proximal", whose zeros an average does not '
            f"keep. Received: {momentum:g}"
        )
    if config.training.optimizer == "muon" and config.pruning.in_training:
        raise UserError(
            "`training.ema_momentum` must be 0 with the optimizer muon and pruning in training: muon moves pruned "
            f"weights before their average is taken. Received: {momentum:g}"
        )
    if momentum**steps > 0.01:
        log.warning(
            "`training.ema_momentum` is large for a training of %d steps: %.0f %% of the average are the initial "
            "weights. %.2g would leave 1 %%",
            steps,
            100 * momentum**steps,
            0.01 ** (1 / steps),
        )
