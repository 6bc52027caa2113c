"""Every use of private names of Keras. Tested with Keras 3.12.4 and 3.15.1.

Other modules must not use such names (there is a test for it), so a new version of Keras requires changes here only.
"""

import contextlib

import keras
from keras.src.backend.common import global_state


def nested_layers(layer, *, include_self=True, recursive=True):
    """List the layers inside a layer, in the order of Keras.

    Args:
        layer: a Keras layer or model.
        include_self: bool, whether the list starts with the layer itself. Defaults to `True`.
        recursive: bool, whether to list all levels of nesting instead of one. Defaults to `True`.

    Returns:
        A list of layers. Layers that can be reached in two ways are listed twice.
    """
    return list(layer._flatten_layers(include_self=include_self, recursive=recursive))


def own_variables(layer):
    """List the variables of a layer, without those of the layers inside it; trainable ones first."""
    return layer._trainable_variables + layer._non_trainable_variables


@contextlib.contextmanager
def unlocked(layer):
    """Allow new variables in a built layer within the `with` block, as Keras does in `enable_lora`."""
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


@contextlib.contextmanager
def deferred_variables():
    """Give new variables their memory at the end of the `with` block, and none if the block raises.

    Within the block a layer has its variables with their shapes, but no values.
    """
    with keras.StatelessScope():  # at its end, Keras makes the variables that were created in it
        try:
            yield
        except BaseException:
            global_state.set_global_attribute("uninitialized_variables", [])
            raise


def nodes_in_order(inputs, outputs):
    """List the calls of layers and operations between symbolic tensors in topological order.

    Args:
        inputs, outputs: lists of `keras.KerasTensor`.

    Returns:
        A list of nodes with the attributes `operation`, `arguments`, `input_tensors` and `outputs`, each after the
        nodes that it depends on. Inputs are not listed.
    """
    nodes = keras.Function(inputs, outputs)._nodes_by_depth
    return [node for depth in sorted(nodes, reverse=True) for node in nodes[depth] if not node.is_input]


def input_name(tensor):
    """Return the name of the input layer of a symbolic input tensor."""
    return tensor._keras_history.operation.name


def causal_padding(layer):
    """Return the padding of the inputs of a `Conv1D` with `padding="causal"`, in the format of `keras.ops.pad`."""
    return layer._compute_causal_padding()


def optimizer_slots(optimizer, variable):
    """List the variables in which an optimizer stores state of one weight: momentum, averages, gradients.

    Args:
        optimizer: a Keras optimizer; of a `LossScaleOptimizer`, the inner one.
        variable: the weight.

    Returns:
        A list of variables of the weight's shape; empty if the optimizer is not built or does not train the weight. The
        accumulators of Adagrad and Ftrl are omitted, because these optimizers divide by them.
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
    return [slot for slot in slots if slot is not variable and slot.shape == variable.shape]
