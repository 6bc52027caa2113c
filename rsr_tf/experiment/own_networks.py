"""Networks that are not of this package: built for a config from `keras.applications` or a file of the user."""

from rsr_tf.config.networks import KERAS
from rsr_tf.errors import UserError, user_errors
from rsr_tf.evaluation.probabilities import are_probabilities
from rsr_tf.experiment.load import read_model
from rsr_tf.files import expanded
from rsr_tf.identity import content_hash
from rsr_tf.models.applications import application
from rsr_tf.models.own import own_network

SHARED = ("noise", "noise_scale", "group_lasso", "resize", "rescale", "offset", "image_noise")
"""Keys of the section `model` that are arguments of both functions that build a network."""


def identified(config):
    """Return a config with the hash of its file of weights, so that its run folder takes no other; see `_file`.

    Args:
        config: a `Config`.

    Returns:
        A `Config`: the same if it has no such file, or a hash already, as that of a run folder.

    Raises:
        UserError: if the file is missing or cannot be read.
    """
    section = config.model
    if section.file_of_weights is None or section.sha256:
        return config
    return config.changed(model={"sha256": content_hash(_file(section))})


def build_own_network(section, data_set, *, lasso):
    """Build a network of `keras.applications`, or read and convert that of a file.

    Args:
        section: section `model` of a `Config`, whose network is not built in.
        data_set: a `DataSet`, for shape and classes.
        lasso: non-negative number, lambda of Eq. 6.

    Returns:
        A Keras model.

    Raises:
        UserError: if the network is unknown, its file is missing, broken or another one, or it does not fit the data.
    """
    options = {**{name: getattr(section, name) for name in SHARED}, "lasso": lasso}
    shape, classes = data_set.image_shape, len(data_set.class_names)
    file = None if section.file_of_weights is None else _file(section)
    with user_errors("model"):
        if section.kind == "keras":
            name = section.name.removeprefix(KERAS)
            return application(name, shape, classes, weights=file or section.weights, **options)
        network = own_network(read_model(file), shape, classes, **options)
    if are_probabilities(network(data_set.train.first(16).pixels(), training=False)):
        raise UserError(f"[model] {file} must return logits: remove the softmax at its end. Received: probabilities")
    return network


def _file(section):
    """Return the path of the file of weights; raise `UserError` if there is none, or its hash is not `sha256`."""
    with user_errors("model"):
        path = expanded(section.file_of_weights)
    if not path.is_file():
        raise UserError(f"[model] cannot read {path}: no such file")
    if section.sha256 and content_hash(path) != section.sha256:
        raise UserError(f"[model] {path} is not the file that `model.sha256` names: it has changed")
    return path
