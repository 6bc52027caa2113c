"""What of a model is noisy, can be pruned, or is left as it is."""

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.keras_internals import nested_layers
from rsr_tf.layers import convolutions
from rsr_tf.layers.dense import NoisyDense
from rsr_tf.layers.noisy_layer import KernelRole, WeightNoise

NOISY_COUNTERPARTS = {
    keras.layers.Conv1D: convolutions.NoisyConv1D,
    keras.layers.Conv2D: convolutions.NoisyConv2D,
    keras.layers.Conv3D: convolutions.NoisyConv3D,
    keras.layers.Conv1DTranspose: convolutions.NoisyConv1DTranspose,
    keras.layers.Conv2DTranspose: convolutions.NoisyConv2DTranspose,
    keras.layers.Conv3DTranspose: convolutions.NoisyConv3DTranspose,
    keras.layers.DepthwiseConv1D: convolutions.NoisyDepthwiseConv1D,
    keras.layers.DepthwiseConv2D: convolutions.NoisyDepthwiseConv2D,
    keras.layers.SeparableConv1D: convolutions.NoisySeparableConv1D,
    keras.layers.SeparableConv2D: convolutions.NoisySeparableConv2D,
    keras.layers.Dense: NoisyDense,
}
"""The stock layers that can be noisy and pruned, and what they become."""


@dataclass(frozen=True, eq=False)
class PrunableKernel:
    """A kernel that is pruned or can be, with the variables that belong to it.

    Args:
        path: name of it in the model: the path of its layer, and the name of the kernel if the layer has two.
        layer: the layer that holds it; a stock one has no mask until `make_prunable`.
        role: which kernel of the layer it is.
    """

    path: str
    layer: keras.layers.Layer
    role: KernelRole

    @property
    def kernel(self):
        """The variable."""
        return getattr(self.layer, self.role.name)

    @property
    def mask(self):
        """Boolean variable of the kernel's shape, `False` where pruned; `None` for a stock layer."""
        return getattr(self.layer, self.role.beside("mask"), None)

    @property
    def threshold(self):
        """float32 variable: gamma of the last pruning; `None` for a stock layer."""
        return getattr(self.layer, self.role.beside("threshold"), None)

    @property
    def pruning_step(self):
        """int64 variable: optimizer steps at the last pruning, -1 before; `None` for a stock layer."""
        return getattr(self.layer, "pruning_step", None)

    @property
    def alpha(self):
        """float32 variable: the noise scale; `None` without noise."""
        return getattr(self.layer, self.role.beside("alpha"), None)

    @property
    def size(self):
        """Number of weights."""
        return math.prod(self.kernel.shape)

    @property
    def filter_axes(self):
        """The axes of the kernel that count filters, from the end: `(-1,)`, `(-2,)` if transposed, `(-2, -1)`."""
        return self.role.filter_axes

    def value(self):
        """The kernel as the network uses it, zero where pruned: a NumPy array for reading, made without a copy."""
        value = np.asarray(tf.convert_to_tensor(self.kernel))
        mask = None if self.mask is None else np.asarray(tf.convert_to_tensor(self.mask))
        return value if mask is None or mask.all() else np.where(mask, value, np.zeros((), value.dtype))


def is_functional(model):
    """Whether a model is a built functional or Sequential one, whose layers are known."""
    return isinstance(model, keras.Model) and bool(getattr(model, "inputs", None) and getattr(model, "outputs", None))


def check_functional(model):
    """Raise `ValueError` unless `model` is a built functional or Sequential model."""
    if not is_functional(model):
        raise ValueError(
            f"`model` must be a built functional or Sequential Keras model. Received: {type(model).__name__} {model}"
        )


def inputs_and_outputs(model):
    """The symbolic tensors of a functional or Sequential model in their structure; a list of one is the tensor."""
    ends = (model.inputs, model.outputs) if isinstance(model, keras.Sequential) else (model.input, model.output)
    return tuple(end[0] if isinstance(end, list | tuple) and len(end) == 1 else end for end in ends)


def is_convertible(layer):
    """Whether a layer is a built stock layer that can be noisy and pruned; quantized and LoRA layers cannot."""
    if type(layer) not in NOISY_COUNTERPARTS or not layer.built:
        return False
    kernels = [getattr(layer, role.name) for role in _roles(layer)]
    return all(isinstance(kernel, keras.Variable) and "float" in kernel.dtype for kernel in kernels)


def stock_class(layer):
    """The Keras class that a noisy layer extends; that of a stock layer is its own."""
    return next(stock for stock in NOISY_COUNTERPARTS if isinstance(layer, stock))


def copied(layer, /, **changes):
    """A new layer of the same class and settings, but for `changes` to its config; its weights are its own."""
    config = {**layer.get_config(), **changes}
    if isinstance(layer, keras.layers.Lambda):  # Keras refuses to load a Python lambda; this one runs here already
        return type(layer).from_config(config, safe_mode=False)
    return type(layer).from_config(config)


def layers_of(model):
    """The layers that a functional or Sequential model is made of, nested models opened, each once, in their order."""
    found = {}
    for layer in model.layers:
        inner = layers_of(layer) if is_functional(layer) else [layer]
        found.update((id(one), one) for one in inner)
    return list(found.values())


def noisy_layers(model):
    """Every layer of `model` that carries a mask, nested ones included, each once, in the order of the model.

    Args:
        model: a built Keras model or layer.

    Returns:
        A list of layers such as `NoisyConv2D`; those without noise, `noise="none"`, are among them.
    """
    return [layer for layer in _all_layers(model) if isinstance(layer, WeightNoise)]


def prunable_kernels(model):
    """Every kernel of a model that is pruned or can be, each once, in the order of the model.

    Args:
        model: a built Keras model or layer, noisy, stock or both. Of a stock layer, only one that is not inside
            another layer is found.

    Returns:
        A dict from path to `PrunableKernel`.

    Example:
        >>> for path, kernel in prunable_kernels(model).items():
        ...     print(path, kernel.kernel.shape, kernel.filter_axes)
    """
    stock = {id(layer) for layer in layers_of(model) if is_convertible(layer)} if is_functional(model) else set()
    layers = [layer for layer in _all_layers(model) if isinstance(layer, WeightNoise) or id(layer) in stock]
    kernels = {}
    for path, layer in by_path(layers).items():
        roles = _roles(layer)
        for role in roles:
            name = path if len(roles) == 1 else f"{path}/{role.name}"
            kernels[name] = PrunableKernel(name, layer, role)
    return kernels


def unpruned_layers(model):
    """The layers with weights of a model that noise and pruning leave as they are.

    These are layers of other kinds, such as `Embedding`, `LSTM` or one of your own, and what is inside other layers.
    Weights with less than two axes do not count: biases and normalizations are never pruned.

    Args:
        model: a built functional or Sequential model.

    Returns:
        A list of layers, in the order of the model.

    Example:
        >>> [layer.name for layer in rsr_tf.unpruned_layers(model)]
        ['embedding']
    """
    return [
        layer
        for layer in layers_of(model)
        if not is_convertible(layer) and not noisy_layers(layer) and any(len(one.shape) >= 2 for one in layer.weights)
    ]


def reseed_noise(model, seed):
    """Restart the noise of a model, so that what is drawn from now on can be drawn again.

    Args:
        model: a built Keras model or layer; layers whose seed is `"fresh"` are left alone.
        seed: integer of at least 0; every layer gets a seed of its own from it.
    """
    layers = [layer for layer in noisy_layers(model) if layer.seed_generator is not None]
    seeds = np.random.SeedSequence(seed).generate_state(len(layers))
    for layer, own in zip(layers, seeds, strict=True):
        layer.seed_generator.state.assign(np.array([own, 0], layer.seed_generator.state.dtype))


def by_path(layers):
    """Layers as a dict by path; where nested models repeat a path, the later ones get a number."""
    named = {}
    for layer in layers:
        path, number = layer.path, 1
        while path in named:
            number += 1
            path = f"{layer.path}#{number}"
        named[path] = layer
    return named


def _roles(layer):
    return NOISY_COUNTERPARTS.get(type(layer), layer).kernel_roles


def _all_layers(layer):
    """A layer and all inside it, depth first, each once. (Keras' own way down turns the order of nested ones round.)"""
    found = {id(layer): layer}
    for child in nested_layers(layer, include_self=False, recursive=False):
        found.update((id(one), one) for one in _all_layers(child))
    return list(found.values())
