"""On which devices a training runs."""

import functools
import json
import os

import tensorflow as tf

from rsr_tf.choices import DEVICES


def choose_strategy(devices="one"):
    """Return the `tf.distribute.Strategy` for one device, or for all devices of this host.

    Create, compile and restore a model within its `scope()`, and call `fit` as usual. Of a host without GPUs, all CPU
    devices are taken: one, unless TensorFlow was told to divide it.

    Args:
        devices: one of `rsr_tf.choices.DEVICES`. Defaults to `"one"`, which changes nothing.

    Returns:
        A `tf.distribute.MirroredStrategy`; the current strategy for `"one"`, or if there is one device.

    Raises:
        ValueError: for unknown `devices`, or if `TF_CONFIG` names several processes, which is not supported.

    Example:
        >>> from rsr_tf.training.distribution import choose_strategy
        >>> strategy = choose_strategy("one")
        >>> with strategy.scope():
        ...     network = rsr_tf.models.small_cnn()
        >>> strategy.num_replicas_in_sync
        1
    """
    if devices not in DEVICES:
        raise ValueError(f"`devices` must be one of {DEVICES}. Received: devices={devices!r}")
    if devices == "one":
        return tf.distribute.get_strategy()
    if _processes() > 1:
        raise ValueError(
            f"`devices` can be 'all' on one host only. Received: a cluster of {_processes()} processes in TF_CONFIG"
        )
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) == 1:
        return tf.distribute.get_strategy()
    return _mirrored(tuple(device.name for device in found))


@functools.cache
def _mirrored(names):
    """Return the one strategy of this process: two number their collective operations alike, and would mix them up."""
    return tf.distribute.MirroredStrategy(list(names))


def _processes():
    """Return the number of processes in the cluster of `TF_CONFIG`; 0 without one."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
        return sum(len(addresses) for addresses in cluster.values())
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"TF_CONFIG must be a JSON object with a cluster. Received: {error}") from error
