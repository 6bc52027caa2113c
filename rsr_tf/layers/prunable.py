"""Add pruning masks to a stock model."""

import keras

from rsr_tf.keras_internals import nested_layers
from rsr_tf.layers.kernels import layers_of
from rsr_tf.layers.registry import NOISY_COUNTERPARTS, check_functional, is_convertible


def make_prunable(model):
    """Add a pruning mask to every conv and dense layer of a stock model, in place; `rsr_tf.prune` does this itself.

    Each of these layers becomes its noisy counterpart with `noise="none"`. The function of the model, its weights,
    optimizer and compilation stay the same; the mask is saved with the model, and pruned weights get no gradient.
    `rsr_tf.strip` converts the model back to stock layers.

    Call this before `load_weights` with weights saved from a pruned model. If another model contains these layers, such
    as a classifier on top of this model, and has been trained or traced before, it ignores the masks until it is
    compiled or traced again. Therefore prune the model that you fit.

    Args:
        model: a built functional or Sequential model. Layers inside other layers and layers of other classes stay
            unchanged; see `rsr_tf.unpruned_layers`.

    Raises:
        ValueError: if `model` is subclassed or not built.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> rsr_tf.make_prunable(model)
        >>> tuple(model.layers[0].mask.shape)
        (8, 4)
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
    """Discard the traced functions, which lack the masks; a running `fit` needs a new train function at once."""
    if model.train_function is not None:
        model.make_train_function(force=True)
    model.test_function = model.predict_function = None
