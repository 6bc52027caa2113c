"""On which devices, and with which other processes, a training runs."""

import functools

import tensorflow as tf

from rsr_tf.choices import DEVICES
from rsr_tf.training.cluster import Cluster, find_cluster
from rsr_tf.training.peers import Peers

_joined = [Peers(Cluster())]


def choose_strategy(devices="one"):
    """Return the `tf.distribute.Strategy` for one device, for all devices of this host, or for those of several hosts.

    Create, compile and restore a model within its `scope()`, and call `fit` as usual. Of a host without GPUs, all CPU
    devices are taken: one, unless TensorFlow was told to divide it.

    Several processes, on one host or on several, train together if `TF_CONFIG` or the variables of a SLURM step name
    them. They wait for each other here, up to 150 seconds. If one of them dies, the others print a line and end with
    code 75, as a step needs all of them.

    Args:
        devices: one of `rsr_tf.choices.DEVICES`. Defaults to `"one"`, which changes nothing.

    Returns:
        A `tf.distribute.MirroredStrategy`, or a `tf.distribute.MultiWorkerMirroredStrategy`; the current strategy for
        `"one"`, or if there is one device.

    Raises:
        ValueError: for unknown `devices`, a cluster that cannot be read, a process that does not come, or if TensorFlow
            was used before by one of several processes.

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
    cluster = find_cluster()
    if cluster.count > 1:
        return _of_workers(cluster)
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) == 1:
        return tf.distribute.get_strategy()
    return _mirrored(tuple(device.name for device in found))


def peers():
    """Return the `rsr_tf.training.peers.Peers` of this process, which is alone unless `choose_strategy` found others.

    Example:
        >>> from rsr_tf.training.distribution import peers
        >>> peers().cluster.is_chief
        True
    """
    return _joined[-1]


@functools.cache
def _mirrored(names):
    """Return the one strategy of this process: two number their collective operations alike, and would mix them up."""
    return tf.distribute.MirroredStrategy(list(names))


@functools.cache
def _of_workers(cluster):
    _joined.append(Peers(cluster))
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:  # TensorFlow cannot join a cluster any more
        raise ValueError(
            "call `choose_strategy` before anything else of TensorFlow if several processes train together. "
            f"Received: {str(error).splitlines()[0]}"
        ) from error
