"""Masks for the layers of a stock model, in place."""

import keras

from rsr_tf.keras_internals import nested_layers
from rsr_tf.layers.kernels import NOISY_COUNTERPARTS, check_functional, is_convertible, layers_of


def make_prunable(model):
    """Give every conv and dense layer of a stock model a mask, in place; `rsr_tf.prune` does it where it is needed.

    The model computes what it did, with the same weights, optimizer and compilation. Each such layer becomes its noisy
    counterpart with `noise="none"`: so the mask is saved with the model and is there again after loading, and no pruned
    weight gets a gradient. `rsr_tf.strip` makes a model of stock layers again.

    Weights saved by a pruned model fit a stock one only after this call. Another model over the same layers, such as a
    classifier on top of this one, that was trained or traced before knows nothing of the masks until it is compiled or
    traced anew: prune the model that you fit.

    Args:
        model: a built functional or Sequential model. Layers inside other layers, and those of other kinds, are left
            as they are; see `rsr_tf.unpruned_layers`.

    Raises:
        ValueError: for a subclassed or unbuilt model.

    Example:
        >>> make_prunable(model)
        >>> model.load_weights("pruned.weights.h5")
    """
    check_functional(model)
    stock = [layer for layer in layers_of(model) if is_convertible(layer)]
    if not stock:
        return
    with model.distribute_strategy.scope():
        for layer in stock:
            NOISY_COUNTERPARTS[type(layer)].adopt(layer)
    for network in nested_layers(model):
        if isinstance(network, keras.Model):
            _forget_traces(network)


def _forget_traces(model):
    """What `fit`, `evaluate` and `predict` have traced knows no masks; a running `fit` wants a new function now."""
    if model.train_function is not None:
        model.make_train_function(force=True)
    model.test_function = model.predict_function = None
