"""The only door to private names of Keras, each function tested with Keras 3.12 to 3.15.

A test keeps these names out of every other module, so that a new version of Keras is adapted to here.
"""

import contextlib

import keras


def nested_layers(layer, *, include_self=True, recursive=True):
    """List the layers inside a layer, in the order in which Keras saves them.

    Args:
        layer: a Keras layer or model.
        include_self: start with the layer itself. Defaults to `True`.
        recursive: go all the way down, instead of one level. Defaults to `True`.

    Returns:
        A list of layers; one that is reached twice is in it twice.
    """
    return list(layer._flatten_layers(include_self=include_self, recursive=recursive))


def own_variables(layer):
    """List the variables that a layer holds itself, without those of the layers inside it."""
    return layer._trainable_variables + layer._non_trainable_variables


@contextlib.contextmanager
def unlocked(layer):
    """Allow a built layer to get new variables within the block, as Keras' own `enable_lora` does."""
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


def nodes_in_order(inputs, outputs):
    """List the calls of layers and operations between symbolic tensors, each after those that it depends on.

    Args:
        inputs, outputs: lists of `keras.KerasTensor`.

    Returns:
        A list of nodes, with `operation`, `arguments`, `input_tensors` and `outputs`.
    """
    nodes = keras.Function(inputs, outputs)._nodes_by_depth
    return [node for depth in sorted(nodes, reverse=True) for node in nodes[depth] if not node.is_input]


def input_name(tensor):
    """Return the name of the input layer that a symbolic input tensor comes from."""
    return tensor._keras_history.operation.name


def causal_padding(layer):
    """Return the padding that a `Conv1D` with `padding="causal"` puts before its inputs, as for `keras.ops.pad`."""
    return layer._compute_causal_padding()


def optimizer_slots(optimizer, variable):
    """List the variables in which an optimizer remembers something of one weight: momentum, averages, gradients.

    Args:
        optimizer: a Keras optimizer, not inside a `LossScaleOptimizer`.
        variable: the weight.

    Returns:
        A list of variables of the weight's shape; empty for an optimizer that is not built or does not train it. The
        accumulators of Adagrad and Ftrl are left out, as they divide by these.
    """
    if not optimizer.built:
        return []
    index = optimizer._trainable_variables_indices.get(optimizer._var_key(variable))
    if index is None:
        return []
    count = len(optimizer._trainable_variables)
    lists = [
        entries
        for name, entries in vars(optimizer).items()
        if name != "_accumulators" and isinstance(entries, list) and len(entries) == count
    ]
    slots = [entries[index] for entries in lists if isinstance(entries[index], keras.Variable)]
    return [slot for slot in slots if slot.shape == variable.shape]
