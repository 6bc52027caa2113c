"""Which channels of a network belong together, found by following each of them through the graph."""

from dataclasses import dataclass

import numpy as np

from rsr_tf.layers import PrunableKernel, prunable_kernels
from rsr_tf.layers.registry import check_functional, is_functional
from rsr_tf.pruning.structured.channel_rules import rule_for
from rsr_tf.pruning.structured.graph import follow


@dataclass(frozen=True, eq=False)
class Port:
    """An axis of a kernel along which channels lie: the filters that make them, or the rows that read them.

    Args:
        kernel: a `rsr_tf.layers.PrunableKernel`.
        axis: from the end.
        labels: int array, one entry for each place on the axis.
    """

    kernel: PrunableKernel
    axis: int
    labels: np.ndarray

    def rows(self):
        """The kernel as the network uses it, as an array `(places on the axis, weights of each)`."""
        return self._by_place(self.kernel.value())

    def used(self):
        """Whether each place has a weight other than zero; a weight that has noise is one."""
        weights = self.kernel.value() if self.kernel.alpha is None else np.array(self.kernel.mask)
        return self._by_place(weights).any(axis=1)

    def _by_place(self, weights):
        weights = np.moveaxis(weights, self.axis, 0)
        return weights.reshape(len(weights), -1)


class ChannelMap:
    """The channels of a network and where they lie.

    Every channel of every tensor gets a label, an integer. Labels that must live or die together, as where two tensors
    are added, are tied, and a tied set is known by one of them, its root. Channels of the inputs and outputs of the
    network are kept; so are those that go into a layer without a rule, a barrier.

    Args:
        model: a built functional or Sequential model.

    Attributes:
        filters: list of `Port`, one for each kernel that makes channels, in the order of the model.
        readers: list of `Port`, one for each kernel that reads channels.
        cuts: dict from the `id` of a variable to a list of `(axis, labels)`.
        changes: dict from the `id` of a layer or operation to a function `count -> dict` of new entries of its config;
            `count` is a function from labels to the number of them that are left.
        nested_inputs: dict from the `id` of a nested model to the labels of each of its inputs.
        roots: int array, the root of every label.
        kept: bool array, whether a root is never removed.
        barriers: names of the layers that keep channels which could be removed otherwise.

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
        self._ends += [*inputs, *follow(model, inputs, self._visit)]
        self._finish()

    # What the rules tell

    def new(self, count):
        """Labels of channels that were not there before."""
        first = len(self._parents)
        self._parents.extend(range(first, first + (count or 0)))
        return np.arange(first, len(self._parents))

    def tie(self, one, other):
        """Say that two rows of channels are the same, place by place."""
        for a, b in zip(one, other, strict=True):
            self._parents[self._root(a)] = self._root(b)

    def hold(self, operation, labels):
        """Say that channels cannot be removed because of a layer or operation."""
        self._held.append((operation, labels))

    def cut(self, variable, axis, labels):
        """Say that channels lie along an axis of a variable; `None` is no variable."""
        if variable is not None:
            self.cuts.setdefault(id(variable), []).append((axis, labels))

    def cut_kernel(self, kernel, axes):
        """`cut` for a kernel, its mask and its noise scale, which may have fewer axes, or axes of size 1."""
        for variable in (kernel.kernel, kernel.mask, kernel.alpha):
            for axis, labels in axes.items():
                if variable is not None and -axis <= len(variable.shape) and variable.shape[axis] == len(labels):
                    self.cut(variable, axis, labels)

    def change(self, operation, entries):
        """Say which entries of a config depend on the number of channels."""
        self.changes[id(operation)] = entries

    def add_filters(self, kernel, axis, labels):
        """Say which axis of a kernel makes channels."""
        self.filters.append(Port(kernel, axis, labels))

    def add_reader(self, kernel, axis, labels):
        """Say which axis of a kernel reads channels."""
        self.readers.append(Port(kernel, axis, labels))

    def kernels_of(self, layer):
        """The kernels of a layer that noise and pruning know; an empty list if there are none."""
        return self._kernels.get(id(layer), [])

    # What came out

    def groups(self):
        """The channels that can be removed, sorted by who makes them.

        Returns:
            A dict from the indices in `filters` of those that make them, a tuple, to an array of roots.
        """
        makers = {}
        for index, port in enumerate(self.filters):
            for root in np.unique(self.roots[port.labels]):
                if not self.kept[root]:
                    makers.setdefault(root, []).append(index)
        groups = {}
        for root, indices in sorted(makers.items()):
            groups.setdefault(tuple(indices), []).append(root)
        return {indices: np.array(roots) for indices, roots in groups.items()}

    # How they are followed

    def _visit(self, node, known):
        operation = node.operation
        inputs = [known[id(tensor)] for tensor in node.input_tensors]
        rule, cuts = rule_for(operation)
        outputs = None
        if is_functional(operation) and len(inputs) == len(operation.inputs):
            self.nested_inputs.setdefault(id(operation), inputs)
            outputs = self._once(operation, inputs, lambda: follow(operation, inputs, self._visit))
        elif rule and cuts:
            outputs = self._once(operation, inputs, lambda: _listed(rule(self, node, inputs)))
        elif rule:
            outputs = _listed(rule(self, node, inputs))
        return self._barrier(node, inputs) if outputs is None else outputs

    def _once(self, operation, inputs, make):
        """The labels that come out of a layer; every further call of it goes in and comes out by the same ones."""
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
        self.roots = np.array([self._root(label) for label in range(len(self._parents))], int)
        self.kept = np.zeros(len(self.roots), bool)
        for labels in self._ends:
            self.kept[self.roots[labels]] = True
        names = [operation.name for operation, labels in self._held if not self.kept[self.roots[labels]].all()]
        self.barriers = list(dict.fromkeys(names))
        for _, labels in self._held:
            self.kept[self.roots[labels]] = True


def _listed(labels):
    return None if labels is None else [labels]
