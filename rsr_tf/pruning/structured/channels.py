"""Follow each channel of a model through its graph, to find the channels that must be removed together."""

from dataclasses import dataclass

import numpy as np

from rsr_tf.keras_internals import nodes_in_order
from rsr_tf.layers import PrunableKernel, prunable_kernels
from rsr_tf.layers.registry import check_functional, is_functional
from rsr_tf.pruning.structured.channel_rules import rule_for


@dataclass(frozen=True, eq=False)
class Port:
    """An axis of a kernel that corresponds to channels: its filters (output channels) or its input channels.

    Args:
        kernel: a `rsr_tf.layers.PrunableKernel`.
        axis: negative integer, the axis counted from the end.
        labels: int array, the label of the channel at each position of the axis.
    """

    kernel: PrunableKernel
    axis: int
    labels: np.ndarray

    def rows(self):
        """Return the kernel as the forward pass uses it, as an array `(positions of the axis, weights of each)`."""
        return self._by_position(self.kernel.value())

    def used(self):
        """Return for each position whether any of its weights matters: one that is nonzero, or has noise."""
        weights = self.kernel.value() if self.kernel.alpha is None else np.array(self.kernel.mask)
        return self._by_position(weights).any(axis=1)

    def _by_position(self, weights):
        weights = np.moveaxis(weights, self.axis, 0)
        return weights.reshape(len(weights), -1)


class ChannelMap:
    """The channels of a model, and the axes of its weights that correspond to them.

    Every channel of every tensor gets a label, an integer. Labels that must be removed together, such as the channels
    of two tensors that are added, are tied (a union-find structure); each set of tied labels is identified by one of
    them, its root. Channels of the inputs and outputs of the model are kept, and so are the input channels of layers
    without a rule, the barriers.

    Args:
        model: a built functional or Sequential model.

    Attributes:
        filters: list of `Port`, one for each kernel with filters, in the order of the model.
        readers: list of `Port`, one for each kernel with input channels.
        cuts: dict from the `id` of a variable to a list of `(axis, labels)`: the axes to shorten.
        changes: dict from the `id` of a layer or operation to a function `count -> dict` that returns the changed
            entries of its config; `count` is a function from labels to the number of them that remain.
        nested_inputs: dict from the `id` of a nested model to the labels of each of its inputs.
        roots: int array, the root of every label.
        kept: bool array, one entry for each label: whether the set with this root is never removed.
        barriers: list of strings, names of the layers because of which further channels are kept.

    Raises:
        ValueError: for a subclassed model.
    """

    def __init__(self, model):
        check_functional(model)
        self.filters, self.readers = [], []
        self.cuts, self.changes, self.nested_inputs = {}, {}, {}
        self._parents, self._calls, self._ends, self._held = [], {}, [], []
        self._kernels = {}
        for kernel in prunable_kernels(model).values():
            self._kernels.setdefault(id(kernel.layer), []).append(kernel)
        inputs = [self.new(tensor.shape[-1]) for tensor in model.inputs]
        self._ends += [*inputs, *traverse(model, inputs, self._visit)]
        self._finish()

    # Called by the rules

    def new(self, count):
        """Return an array of labels for `count` new channels."""
        first = len(self._parents)
        self._parents.extend(range(first, first + (count or 0)))
        return np.arange(first, len(self._parents))

    def tie(self, one, other):
        """Tie two arrays of labels of equal length, entry by entry: tied channels are removed together."""
        for a, b in zip(one, other, strict=True):
            self._parents[self._root(a)] = self._root(b)

    def hold(self, operation, labels):
        """Keep channels because of a layer or operation."""
        self._held.append((operation, labels))

    def cut(self, variable, axis, labels):
        """Record that an axis of a variable corresponds to channels; does nothing if the variable is `None`."""
        if variable is not None:
            self.cuts.setdefault(id(variable), []).append((axis, labels))

    def cut_kernel(self, kernel, axes):
        """Record channels along axes of a kernel, its mask and its noise scale.

        Args:
            kernel: a `rsr_tf.layers.PrunableKernel`.
            axes: dict from axis, counted from the end, to labels. Axes that the noise scale lacks, or on which it has
                size 1, are skipped for it.
        """
        for variable in (kernel.kernel, kernel.mask, kernel.alpha):
            for axis, labels in axes.items():
                if variable is not None and -axis <= len(variable.shape) and variable.shape[axis] == len(labels):
                    self.cut(variable, axis, labels)

    def change(self, operation, entries):
        """Record the entries of a config that depend on the number of channels; see the attribute `changes`."""
        self.changes[id(operation)] = entries

    def add_filters(self, kernel, axis, labels):
        """Record the axis of a kernel that corresponds to its filters."""
        self.filters.append(Port(kernel, axis, labels))

    def add_reader(self, kernel, axis, labels):
        """Record the axis of a kernel that corresponds to its input channels."""
        self.readers.append(Port(kernel, axis, labels))

    def kernels_of(self, layer):
        """Return the prunable kernels of a layer, a list that may be empty."""
        return self._kernels.get(id(layer), [])

    # Results

    def groups(self):
        """Return the removable channels, grouped by the kernels whose filters produce them.

        Returns:
            A dict from a tuple of indices into `filters` to an array of roots.
        """
        producers = {}
        for index, port in enumerate(self.filters):
            for root in np.unique(self.roots[port.labels]):
                if not self.kept[root]:
                    producers.setdefault(root, []).append(index)
        groups = {}
        for root, indices in sorted(producers.items()):
            groups.setdefault(tuple(indices), []).append(root)
        return {indices: np.array(roots) for indices, roots in groups.items()}

    # Traversal of the graph

    def _visit(self, node, known):
        """Return the labels of the outputs of one call of a layer or operation, a list of arrays."""
        operation = node.operation
        inputs = [known[id(tensor)] for tensor in node.input_tensors]
        rule, cuts = rule_for(operation)
        outputs = None
        if is_functional(operation) and len(inputs) == len(operation.inputs):
            self.nested_inputs.setdefault(id(operation), inputs)
            outputs = self._once(operation, inputs, lambda: traverse(operation, inputs, self._visit))
        elif rule and cuts:
            outputs = self._once(operation, inputs, lambda: _as_list(rule(self, node, inputs)))
        elif rule:
            outputs = _as_list(rule(self, node, inputs))
        return self._barrier(node, inputs) if outputs is None else outputs

    def _once(self, operation, inputs, make):
        """Return the output labels of a layer's first call; tie the inputs of further calls to those of the first."""
        if id(operation) not in self._calls:
            self._calls[id(operation)] = inputs, make()
            return self._calls[id(operation)][1]
        before, outputs = self._calls[id(operation)]
        for one, other in zip(before, inputs, strict=True):
            if len(one) == len(other):
                self.tie(one, other)
            else:
                outputs = None
                self.hold(operation, one)
        return outputs

    def _barrier(self, node, inputs):
        """Keep the input channels of a call without a rule; return new labels for its outputs, which are kept too."""
        for labels in inputs:
            self.hold(node.operation, labels)
        outputs = [self.new(tensor.shape[-1] if tensor.shape else 0) for tensor in node.outputs]
        self._ends += outputs
        return outputs

    def _root(self, label):
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label

    def _finish(self):
        """Set `roots`, `kept` and `barriers` once all labels are known."""
        self.roots = np.array([self._root(label) for label in range(len(self._parents))], int)
        self.kept = np.zeros(len(self.roots), bool)
        for labels in self._ends:
            self.kept[self.roots[labels]] = True
        names = [operation.name for operation, labels in self._held if not self.kept[self.roots[labels]].all()]
        self.barriers = list(dict.fromkeys(names))
        for _, labels in self._held:
            self.kept[self.roots[labels]] = True


def _as_list(labels):
    return None if labels is None else [labels]


def traverse(model, values, visit):
    """Propagate values through the graph of a model, from its inputs to its outputs.

    Args:
        model: a built functional or Sequential model.
        values: list, one value of any kind for each of `model.inputs`.
        visit: function `(node, known) -> list`, called for each call of a layer or operation, in order. `node` is that
            call; `known` is a dict from the `id` of a tensor to its value. Returns the values of `node.outputs`.

    Returns:
        A list, one value for each of `model.outputs`.
    """
    known = {id(tensor): value for tensor, value in zip(model.inputs, values, strict=True)}
    for node in nodes_in_order(model.inputs, model.outputs):
        outputs = visit(node, known)
        known.update((id(tensor), value) for tensor, value in zip(node.outputs, outputs, strict=True))
    return [known[id(tensor)] for tensor in model.outputs]
