"""Put the layers of a functional model into another graph, and find its logits."""

import keras

from rsr_tf.keras_internals import nodes_in_order
from rsr_tf.layers.registry import check_functional, clone_layer


def call_layers(model, tensor):
    """Call the layers of a functional model on another tensor, so that they stand side by side in a larger model.

    Args:
        model: a built functional or Sequential model with one input.
        tensor: symbolic tensor in place of its input.

    Returns:
        A list of symbolic tensors, one for each of `model.outputs`.
    """
    known = {id(model.inputs[0]): tensor}
    for node in nodes_in_order(model.inputs, model.outputs):
        args, kwargs = node.arguments.fill_in(known)
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        known.update((id(old), new) for old, new in zip(node.outputs, outputs, strict=True))
    return [known[id(output)] for output in model.outputs]


def with_logits(model):
    """Return a network without the softmax at its end, whether a layer of its own or the activation of the last one.

    Args:
        model: a built functional or Sequential model with one output.

    Returns:
        A functional model with the same layers but the last one; `model` itself if no softmax is seen at its end.

    Raises:
        ValueError: if `model` is subclassed, or ends with a sigmoid.

    Example:
        >>> from rsr_tf.layers.graphs import with_logits
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, activation="softmax")])
        >>> with_logits(model).layers[-1].activation.__name__
        'linear'
    """
    check_functional(model)
    *_, node = nodes_in_order(model.inputs, model.outputs)
    last = node.operation
    if getattr(last, "activation", None) is keras.activations.sigmoid:
        raise ValueError("the network must end with logits or a softmax. Received: a sigmoid")
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(model.inputs, node.input_tensors[0], name=model.name)
    if getattr(last, "activation", None) is not keras.activations.softmax:
        return model
    new = clone_layer(last, activation="linear")
    outputs = new(node.input_tensors[0])
    new.set_weights(last.get_weights())
    return keras.Model(model.inputs, outputs, name=model.name)
