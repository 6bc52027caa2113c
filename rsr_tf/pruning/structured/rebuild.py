"""A network without the channels that nothing reads: the same function in a smaller shape."""

import keras
import numpy as np

from rsr_tf.keras_internals import input_name
from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.registry import clone_layer, inputs_and_outputs, is_functional
from rsr_tf.pruning.structured.channels import ChannelMap
from rsr_tf.pruning.structured.filters import hold_noise
from rsr_tf.pruning.structured.graph import follow


def rebuild(model):
    """A copy of a network in the smallest shape that computes the same: without the channels whose readers are zero.

    A channel goes if every weight of the later layers that reads it is zero, in all layers that it comes through, as
    after `prune_filters`; zeros of any other kind of pruning count too. Layers keep their class, names and settings,
    batch normalization its statistics, noisy layers their masks, seeds and the noise of every weight that stays.

    Args:
        model: a built functional or Sequential model, noisy or stock, `RSRModel` included.

    Returns:
        A functional `keras.Model` with the same inputs and outputs, not compiled. It can be trained, saved, exported
        and pruned like any other.

    Raises:
        ValueError: for a subclassed model.

    Example:
        >>> rsr_tf.prune_filters(model, share=0.5)
        >>> small = rsr_tf.rebuild(model)
        >>> small.count_params() / model.count_params()  # ResNet-20, masks counted
        0.2527
    """
    channels = ChannelMap(model)
    return _Rebuilder(channels, _alive(channels)).network(model)


def _alive(channels):
    """For every root, whether its channels stay. Of a kernel whose filters could all go, the first stays."""
    read, unread = np.zeros((2, len(channels.roots)), bool)
    for port in channels.readers:
        roots, used = channels.roots[port.labels], port.used()
        read[roots[used]] = True
        unread[roots[~used]] = True
    alive = channels.kept | read | ~unread
    for port in channels.filters:
        roots = channels.roots[port.labels]
        if not alive[roots].any():
            alive[roots[0]] = True
    return alive


class _Rebuilder:
    """Builds every layer once, in its new shape."""

    def __init__(self, channels, alive):
        self.channels = channels
        self.alive = alive
        self.built = {}

    def network(self, model):
        """A functional model in place of a functional or Sequential one."""
        labels = self.channels.nested_inputs.get(id(model))
        inputs = []
        for index, tensor in enumerate(model.inputs):
            shape = tensor.shape if labels is None else (*tensor.shape[:-1], self._count(labels[index]))
            inputs.append(keras.Input(batch_shape=shape, dtype=tensor.dtype, name=input_name(tensor)))
        outputs = follow(model, inputs, self._call)
        old_inputs, old_outputs = inputs_and_outputs(model)
        return keras.Model(
            _arranged(old_inputs, dict(zip(map(id, model.inputs), inputs, strict=True))),
            _arranged(old_outputs, dict(zip(map(id, model.outputs), outputs, strict=True))),
            name=model.name,
        )

    def _call(self, node, known):
        old = node.operation
        new = self.built.get(id(old)) or self._replacement(old)
        args, kwargs = node.arguments.fill_in(known)
        outputs = keras.tree.flatten(new(*args, **kwargs))
        if id(old) not in self.built:
            self.built[id(old)] = new
            if not is_functional(old):
                self._carry(old, new)
        return outputs

    def _replacement(self, old):
        if is_functional(old):
            return self.network(old)
        change = self.channels.changes.get(id(old))
        return clone_layer(old, **(change(self._count) if change else {}))

    def _carry(self, old, new):
        for source, target in zip(_variables(old), _variables(new), strict=True):
            value = np.array(source)
            for axis, labels in self.channels.cuts.get(id(source), []):
                value = np.compress(self._stays(labels), value, axis=axis)
            target.assign(value)
        if not isinstance(old, keras.layers.Layer):
            return
        if hasattr(new, "finalize_state"):  # preprocessing layers compute with constants made from their weights
            new.finalize_state()
        for source, target in zip(prunable_kernels(old).values(), prunable_kernels(new).values(), strict=True):
            hold_noise(target, np.std(source.kernel))

    def _stays(self, labels):
        return self.alive[self.channels.roots[labels]]

    def _count(self, labels):
        return int(self._stays(labels).sum())


def _variables(operation):
    return getattr(operation, "variables", [])


def _arranged(structure, replacements):
    """New tensors in the places of the old ones, by the `id` of these."""
    return keras.tree.map_structure(lambda tensor: replacements[id(tensor)], structure)
