"""The graph of a functional model, gone through from its inputs to its outputs."""

import keras


def follow(model, values, visit):
    """Send values through the graph of a model, whatever they are: tensors, or what is known about tensors.

    Args:
        model: a built functional or Sequential model.
        values: list, one for each of `model.inputs`.
        visit: function `(node, known) -> list`; `node` is one call of a layer or operation, `known` has the values of
            the tensors before it by their `id`. Returns the values of `node.outputs`.

    Returns:
        A list, one for each of `model.outputs`.
    """
    known = {id(tensor): value for tensor, value in zip(model.inputs, values, strict=True)}
    nodes = keras.Function(model.inputs, model.outputs)._nodes_by_depth
    for depth in sorted(nodes, reverse=True):
        for node in nodes[depth]:
            if not node.is_input:
                outputs = visit(node, known)
                known.update((id(tensor), value) for tensor, value in zip(node.outputs, outputs, strict=True))
    return [known[id(tensor)] for tensor in model.outputs]
