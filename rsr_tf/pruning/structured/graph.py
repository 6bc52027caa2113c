"""The graph of a functional model, gone through from its inputs to its outputs."""

from rsr_tf.keras_internals import nodes_in_order


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
    for node in nodes_in_order(model.inputs, model.outputs):
        outputs = visit(node, known)
        known.update((id(tensor), value) for tensor, value in zip(node.outputs, outputs, strict=True))
    return [known[id(tensor)] for tensor in model.outputs]
