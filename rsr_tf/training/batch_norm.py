"""Moving statistics that keep up with adversarial training."""

import contextlib

import keras
import tensorflow as tf

from rsr_tf.keras_internals import nested_layers
from rsr_tf.layers.replicas import replica_context


@contextlib.contextmanager
def bounded_momentum(model, bound):
    """Lower the momentum of the batch normalizations of a model to a bound within the `with` block.

    The attack of a training sees the network with its moving statistics. With Keras' default momentum of 0.99 and more,
    these lag so far behind the weights that the attack fools another network than the one that is trained
    (docs/evaluation.md has the measurement). The layers and their configs keep their own momentum.

    Args:
        model: a Keras model; a step that is traced in the block computes with the bound.
        bound: number in [0, 1); `None` changes nothing.
    """
    slow = [
        layer
        for layer in nested_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and bound is not None and layer.momentum > bound
    ]
    momenta = [layer.momentum for layer in slow]
    try:
        for layer in slow:
            layer.momentum = bound
        yield
    finally:
        for layer, momentum in zip(slow, momenta, strict=True):
            layer.momentum = momentum


def synchronize_statistics(model, share):
    """Give all replicas the same moving statistics: the mean of theirs, weighted by their numbers of images.

    Keras creates these variables without aggregation, so every replica would go on with a network of its own. Called
    after the passes of a step, as no replica can wait for another within a branch of the graph.

    Args:
        model: a Keras model; with layers that are frozen or `synchronized` nothing is done.
        share: result of `share_of_replica`.
    """
    context = replica_context()
    layers = [layer for layer in nested_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    own = [layer for layer in dict.fromkeys(layers) if layer.trainable and not layer.synchronized]
    variables = [variable for layer in own for variable in layer.non_trainable_variables]
    if context is None or not variables:
        return
    weighted = [share * tf.convert_to_tensor(variable) for variable in variables]
    for variable, mean in zip(variables, context.all_reduce(tf.distribute.ReduceOp.SUM, weighted), strict=True):
        variable.assign(mean)


def check_warmup(model):
    """Raise `ValueError` for a warm-up with `synchronized` batch normalization on several devices.

    No replica can wait for another within the branch of the graph in which a warm-up ends.

    Args:
        model: an `RSRModel`.
    """
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    if several and model.warmup_steps and any(getattr(layer, "synchronized", False) for layer in nested_layers(model)):
        raise ValueError(
            "`warmup_steps` must be 0 with `synchronized` batch normalization on several devices. "
            f"Received: warmup_steps={model.warmup_steps}"
        )
