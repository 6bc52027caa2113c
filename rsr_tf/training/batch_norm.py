"""Moving statistics that keep up with adversarial training."""

import contextlib

import keras

from rsr_tf.keras_internals import nested_layers


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
