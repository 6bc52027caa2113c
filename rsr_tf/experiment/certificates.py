"""Certificates of a run whose network has noise on its pixels (PixelDP, Lecuyer et al. 2019)."""

import logging

import keras

from rsr_tf import evaluation
from rsr_tf.errors import UserError, disk_errors
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.load import load_network
from rsr_tf.experiment.provenance import describe_network, versions
from rsr_tf.experiment.result_schema import read_result, write_result
from rsr_tf.identity import content_hash

log = logging.getLogger(__name__)

RADIUS = 0.1
"""The L of PixelDP: the l2 radius at which tables show the certified accuracy."""
RADII = (0.05, RADIUS, 0.25)


def has_certificates(folder, config, *, num_images, draws):
    """Return whether `certificates.json` is what `write_certificates` would write now.

    A file of an earlier version, without the identity of the network, counts as one of this network.

    Args:
        folder: a `RunFolder`.
        config: its `Config`.
        num_images, draws: as for `write_certificates`.

    Raises:
        ValueError: if the file cannot be read.
        UserError: if it has fewer images, and the data, which may have no more, is missing.
    """
    found = read_result(folder.certificates)
    if not found or found.get("draws", draws) != draws:
        return False
    if folder.model.exists() and found.get("identity") not in (None, content_hash(folder.model)):
        return False
    known = found.get("num_images", num_images)
    return known == num_images or (known < num_images and known == len(load_data(config).test))


def write_certificates(experiment, *, num_images, draws):
    """Certify the trained network of a run on test images drawn by class, and write `certificates.json`.

    Args:
        experiment: an `Experiment`, whose network is trained with `model.image_noise`.
        num_images: number of test images.
        draws: number of draws of the noise for each image.

    Raises:
        UserError: if the network has no noise on its pixels or is not trained, or the disk is full.
    """
    config, folder = experiment.config, experiment.folder
    if folder.certificates.exists():
        log.info("%s is of another network or of other settings: certifying again", folder.certificates)
    std = config.model.image_noise
    if not std:
        raise UserError("a network without noise on its pixels has no certificate: `model.image_noise` is 0")
    data_set = load_data(config)
    network = load_network(folder.model, data_set)
    labels = data_set.test.labels
    chosen = evaluation.draw_by_class(labels, min(num_images, len(labels)), seed=config.seed)
    keras.utils.set_random_seed(config.seed)
    images, options = data_set.test.take(chosen).pixels(), {"draws": draws, "std": std, "of": "votes"}
    found = evaluation.certify(evaluation.as_model_fn(network), images, labels[chosen], **options)
    content = describe_network(config, data_set, "trained", None) | {"identity": content_hash(folder.model)}
    content |= {"versions": versions(), **found.as_dict(RADII)}
    with disk_errors(folder.path):
        write_result(folder.certificates, content)
    log.info("certified accuracy at l2 %.2g: %.1f %%", RADIUS, 100 * found.certified_accuracy("pixeldp", RADIUS))
