"""Rebuild a model without its unused channels: the same function in a smaller shape."""

import keras
import numpy as np

from rsr_tf.keras_internals import input_name
from rsr_tf.layers import prunable_kernels
from rsr_tf.layers.copying import keep_inner_state
from rsr_tf.layers.noise import kernel_std
from rsr_tf.layers.registry import (
    clone_layer,
    inputs_and_outputs,
    is_functional,
    live_config,
    without_initial_arrays,
)
from rsr_tf.pruning.structured.channels import ChannelMap, traverse
from rsr_tf.pruning.structured.filters import preserve_noise_std


def rebuild(model):
    """Build a smaller copy of a model that computes the same function, without channels whose readers are all zero.

    A channel is removed if every weight of the later layers that reads it is zero, in all layers that it passes
    through. `prune_filters` produces such zeros; those of any other kind of pruning count too. Layers keep their class,
    name and settings, batch normalization its statistics, and noisy layers their masks, seeds and the noise of every
    remaining weight.

    Args:
        model: a built functional or Sequential model, noisy or stock, or an `RSRModel`.

    Returns:
        A functional `keras.Model` with the same inputs and outputs, not compiled. It can be trained, saved, exported
        and pruned like any other.

    Raises:
        ValueError: for a subclassed model.

    Example:
        >>> layers = [keras.layers.Dense(8, name="hidden"), keras.layers.Dense(2)]
        >>> model = keras.Sequential([keras.Input((4,)), *layers])
        >>> table = rsr_tf.prune_filters(model, share=0.75)
        >>> small = rsr_tf.rebuild(model)
        >>> small.get_layer("hidden").units
        2
        >>> np.allclose(small(np.ones((1, 4))), model(np.ones((1, 4))), atol=1e-5)
        True
    """
    channels = ChannelMap(model)
    return _Rebuilder(channels, _remaining(channels)).rebuilt(model)


def _remaining(channels):
    """Return for each root whether its channels remain; of each kernel, at least the first filter does."""
    read, unread = np.zeros((2, len(channels.roots)), bool)
    for port in channels.readers:
        roots, used = channels.roots[port.labels], port.used()
        read[roots[used]] = True
        unread[roots[~used]] = True
    remaining = channels.kept | read | ~unread
    for port in channels.filters:
        roots = channels.roots[port.labels]
        if not remaining[roots].any():
            remaining[roots[0]] = True
    return remaining


class _Rebuilder:
    """Builder of the smaller model, which builds each layer once, in its new shape.

    Args:
        channels: a `ChannelMap` of the model.
        remaining: bool array, one entry for each label: whether the channels with this root remain.
    """

    def __init__(self, channels, remaining):
        self.channels = channels
        self.remaining = remaining
        self.built = {}

    def rebuilt(self, model):
        """Return the smaller functional model of a functional or Sequential one, nested models included."""
        labels = self.channels.nested_inputs.get(id(model))
        inputs = []
        for index, tensor in enumerate(model.inputs):
            shape = tensor.shape if labels is None else (*tensor.shape[:-1], self._count(labels[index]))
            inputs.append(keras.Input(batch_shape=shape, dtype=tensor.dtype, name=input_name(tensor)))
        outputs = traverse(model, inputs, self._call)
        old_inputs, old_outputs = inputs_and_outputs(model)
        return keras.Model(
            _arranged(old_inputs, dict(zip(map(id, model.inputs), inputs, strict=True))),
            _arranged(old_outputs, dict(zip(map(id, model.outputs), outputs, strict=True))),
            name=model.name,
        )

    def _call(self, node, known):
        """Call the new layer in place of the old one, with the tensors of the smaller model."""
        old = node.operation
        new = self.built.get(id(old)) or self._replacement(old)
        args, kwargs = node.arguments.fill_in(known)
        outputs = keras.tree.flatten(new(*args, **kwargs))
        if id(old) not in self.built:
            self.built[id(old)] = new
            if not is_functional(old):
                self._copy_weights(old, new)
        return outputs

    def _replacement(self, old):
        if is_functional(old):
            return self.rebuilt(old)
        change = self.channels.changes.get(id(old))
        return clone_layer(old, **_initializers(old), **(change(self._count) if change else {}))

    def _copy_weights(self, old, new):
        for source, target in zip(_variables(old), _variables(new), strict=True):
            value = np.array(source)
            for axis, labels in self.channels.cuts.get(id(source), []):
                value = np.compress(self._remain(labels), value, axis=axis)
            target.assign(value)
        if not isinstance(old, keras.layers.Layer):
            return
        keep_inner_state(old, new)
        if hasattr(new, "finalize_state"):  # preprocessing layers compute with constants derived from their weights
            new.finalize_state()
        for source, target in zip(prunable_kernels(old).values(), prunable_kernels(new).values(), strict=True):
            preserve_noise_std(target, kernel_std(source.kernel))

    def _remain(self, labels):
        return self.remaining[self.channels.roots[labels]]

    def _count(self, labels):
        return int(self._remain(labels).sum())


def _initializers(operation):
    """Return the initializers in the config of a layer, for weights of any shape."""
    config = live_config(operation) if isinstance(operation, keras.layers.Layer) else {}
    found = {key: value for key, value in config.items() if key.endswith("_initializer") and isinstance(value, dict)}
    return without_initial_arrays(found)


def _variables(operation):
    return getattr(operation, "variables", [])


def _arranged(structure, replacements):
    """Return a structure of tensors with each replaced; `replacements` is a dict from the `id` of the old tensor."""
    return keras.tree.map_structure(lambda tensor: replacements[id(tensor)], structure)
