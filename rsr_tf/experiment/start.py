"""Start a training from the weights of another network."""

import logging

from rsr_tf.errors import UserError, user_errors
from rsr_tf.experiment.load import load_network
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.files import expanded
from rsr_tf.identity import content_hash

log = logging.getLogger(__name__)


def load_start(network, start, folder):
    """Give a network the weights of another one, unless the training has begun.

    Every weight is matched by its path, masks and moving statistics included; optimizer and states of the noise are not
    taken.

    Args:
        network: a Keras model.
        start: a run folder, for its trained network, or a `.keras` file; an empty string for none.
        folder: the `RunFolder` of the training. If it has a checkpoint or a trained network, nothing is read.

    Raises:
        UserError: if the file is missing or cannot be read, or a weight is missing, of another shape or not known.
    """
    if not start or folder.model.exists() or any(folder.checkpoints.glob("train-*.keras")):
        return
    with user_errors("model"):
        path = expanded(start)
    path = path if path.suffix == ".keras" else RunFolder(path).model
    if not path.exists():
        raise UserError(f"`model.start` must be a run folder with model.keras, or a .keras file. Received: {start}")
    values = {weight.path: weight for weight in load_network(path).weights}
    weights = {weight.path: weight for weight in network.weights}
    for name in [*weights, *values]:
        ours, theirs = (str(tuple(found[name].shape)) if name in found else "none" for found in (weights, values))
        if ours != theirs:
            raise UserError(
                f"`model.start` must be a network like this one: {name} is {ours} here and {theirs} in {path}"
            )
    for name, weight in weights.items():
        weight.assign(values[name])
    log.info("starting from the weights of %s (SHA-256 %s)", path, content_hash(path)[:12])
