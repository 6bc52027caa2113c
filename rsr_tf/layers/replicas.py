"""Training on several devices: what the replicas of a `tf.distribute.Strategy` have in common, and what each has alone.

All replicas hold the same weights and the same states of random numbers, so the noise of the weights (Eq. 4) is drawn
once for the whole batch of all devices. Random numbers of single images have to differ between the replicas.
"""

import keras
import tensorflow as tf

SEED_STRIDE = 0x9E3779B1
"""Distance between the seeds of two replicas: a prime, so that small seeds chosen by people do not meet."""


def replica_context():
    """Return the `tf.distribute.ReplicaContext` of the current replica; `None` where there is one replica, or none.

    Example:
        >>> from rsr_tf.layers.replicas import replica_context
        >>> replica_context() is None  # outside of a strategy
        True
    """
    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """Seed generator whose numbers differ between replicas, while its state is the same on all of them.

    On the first replica, and on one device, it is a `keras.random.SeedGenerator`.

    Args:
        seed: as for `keras.random.SeedGenerator`.

    Example:
        >>> from rsr_tf.layers.replicas import ReplicaSeedGenerator
        >>> bool(tf.reduce_all(ReplicaSeedGenerator(3).next() == keras.random.SeedGenerator(3).next()))
        True
    """

    def next(self, ordered=True):
        seed = super().next(ordered)
        context = replica_context()
        if context is None:
            return seed
        return seed + tf.cast(context.replica_id_in_sync_group, seed.dtype) * tf.constant([SEED_STRIDE, 0], seed.dtype)


def share_of_replica(count):
    """Return the share of the current replica in the images of a step.

    The loss of each replica is the mean over its own images, so the sum of the losses times the shares is the mean over
    all images, also where the replicas have different numbers of images, as in the last batch of an epoch.

    Args:
        count: int32 scalar tensor, number of images of this replica.

    Returns:
        A float32 scalar tensor; 1.0 where there is one replica. The shares of all replicas sum to 1.
    """
    context = replica_context()
    if context is None:
        return 1.0
    count = tf.cast(count, tf.float32)
    return count / context.all_reduce(tf.distribute.ReduceOp.SUM, count)
