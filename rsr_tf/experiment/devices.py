"""The devices that a run trains on."""

from rsr_tf.errors import UserError, user_errors
from rsr_tf.training.distribution import choose_strategy


def build_strategy(config):
    """Return the `tf.distribute.Strategy` that a config trains under, see `choose_strategy`.

    Args:
        config: a `Config`.

    Raises:
        UserError: for several devices, with settings that were not tested on them, or a batch that they cannot share
            equally.
    """
    with user_errors():
        strategy = choose_strategy(config.training.devices)
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return strategy
    untested = {
        "training.precision": (config.training.precision, "float32"),
        "attack.overfitting_watch": (config.attack.overfitting_watch, "off"),
        "training.checkpoint_minutes": (config.training.checkpoint_minutes, 0),
    }
    for key, (value, tested) in untested.items():
        if value != tested:
            raise UserError(f"`{key}` must be {tested} on {replicas} devices, other values were not tested on several")
    if config.training.batch_size % replicas:
        raise UserError(
            f"`training.batch_size` must be a multiple of the {replicas} devices, which share it. "
            f"Received: {config.training.batch_size}"
        )
    return strategy
