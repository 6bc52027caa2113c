"""Find the kernels and layers of a model that are noisy, can be pruned, or neither."""

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.keras_internals import nested_layers
from rsr_tf.layers.feature_noise import FeatureNoise
from rsr_tf.layers.noisy_layer import KernelRole, WeightNoise
from rsr_tf.layers.registry import is_convertible, is_functional, kernel_roles


@dataclass(frozen=True, eq=False)
class PrunableKernel:
    """A kernel that can be pruned, with its mask and noise scale.

    Objects of this class come from `prunable_kernels`.

    Args:
        path: string, unique in the model: the path of the layer, followed by the name of the kernel if the layer has
            two.
        layer: the layer that holds the kernel. A stock layer has no mask before `make_prunable`.
        role: `KernelRole`, which kernel of the layer it is.

    Example:
        >>> network = rsr_tf.models.small_cnn()
        >>> kernel = rsr_tf.layers.prunable_kernels(network)["logits"]
        >>> kernel.size, kernel.filter_axes, tuple(kernel.alpha.shape)
        (640, (-1,), (10,))
    """

    path: str
    layer: keras.layers.Layer
    role: KernelRole

    @property
    def kernel(self):
        """Variable of the layer's weights."""
        return getattr(self.layer, self.role.name)

    @property
    def mask(self):
        """Boolean variable of the kernel's shape, `False` where pruned; `None` for a stock layer."""
        return getattr(self.layer, self.role.attribute("mask"), None)

    @property
    def threshold(self):
        """float32 variable, gamma of the last pruning; `None` for a stock layer."""
        return getattr(self.layer, self.role.attribute("threshold"), None)

    @property
    def pruning_step(self):
        """int64 variable, optimizer iterations at the last pruning, -1 before; `None` for a stock layer."""
        return getattr(self.layer, "pruning_step", None)

    @property
    def alpha(self):
        """float32 variable, the noise scale; `None` without noise."""
        return getattr(self.layer, self.role.attribute("alpha"), None)

    @property
    def size(self):
        """Number of weights."""
        return math.prod(self.kernel.shape)

    @property
    def filter_axes(self):
        """Axes of the kernel that index filters: `(-1,)`; `(-2,)` if transposed; `(-2, -1)` if depthwise."""
        return self.role.filter_axes

    def value(self):
        """Return the kernel, zero where pruned, as a NumPy array to read from; no copy is made if nothing is pruned."""
        value = np.asarray(tf.convert_to_tensor(self.kernel))
        mask = None if self.mask is None else np.asarray(tf.convert_to_tensor(self.mask))
        return value if mask is None or mask.all() else np.where(mask, value, np.zeros((), value.dtype))


def layers_of(model):
    """List the layers of a functional or Sequential model and of the models nested in it.

    Args:
        model: a built functional or Sequential model.

    Returns:
        A list of layers in the order of the model, each once. Nested models are replaced by their layers; layers inside
        other layers are not listed.
    """
    found = {}
    for layer in model.layers:
        inner = layers_of(layer) if is_functional(layer) else [layer]
        found.update((id(one), one) for one in inner)
    return list(found.values())


def noisy_layers(model):
    """List the layers of a model that have a mask, nested ones included, each once.

    Args:
        model: a built Keras model or layer.

    Returns:
        A list of layers such as `NoisyConv2D`, in the order of the model; layers with `noise="none"` are included.

    Example:
        >>> [layer.path for layer in rsr_tf.layers.noisy_layers(rsr_tf.models.small_cnn())]
        ['conv1/convolution', 'conv2/convolution', 'conv3/convolution', 'logits']
    """
    return [layer for layer in _all_layers(model) if isinstance(layer, WeightNoise)]


def feature_noises(model):
    """List the layers of a model that add noise to pixels or features, nested ones included, each once.

    Args:
        model: a built Keras model or layer.

    Returns:
        A list of `FeatureNoise` layers, in the order of the model; layers with `std=0` are included.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), rsr_tf.layers.FeatureNoise(0.2, name="noise")])
        >>> [layer.name for layer in rsr_tf.layers.feature_noises(model)]
        ['noise']
    """
    return [layer for layer in _all_layers(model) if isinstance(layer, FeatureNoise)]


def draws_noise(model):
    """Return whether a model draws noise, of weights or of features.

    Args:
        model: a built Keras model or layer.

    Returns:
        A bool; `False` for layers that only have a mask (`noise="none"`) or no scale (`std=0`).

    Example:
        >>> rsr_tf.layers.draws_noise(rsr_tf.models.small_cnn())
        True
        >>> rsr_tf.layers.draws_noise(rsr_tf.models.small_cnn(noise="none"))
        False
    """
    weights = any(layer.noise != "none" for layer in noisy_layers(model))
    return weights or any(layer.std > 0 for layer in feature_noises(model))


def prunable_kernels(model):
    """Return every kernel of a model that can be pruned, each once.

    Args:
        model: a built Keras model or layer with noisy layers, stock layers or both. Stock layers are found only in a
            functional or Sequential model, and only where they are not inside another layer.

    Returns:
        A dict from path to `PrunableKernel`, in the order of the model.

    Example:
        >>> for path, kernel in rsr_tf.layers.prunable_kernels(rsr_tf.models.small_cnn()).items():
        ...     print(path, kernel.kernel.shape)
        conv1/convolution (3, 3, 1, 32)
        conv2/convolution (3, 3, 32, 32)
        conv3/convolution (3, 3, 32, 64)
        logits (64, 10)
    """
    stock = {id(layer) for layer in layers_of(model) if is_convertible(layer)} if is_functional(model) else set()
    layers = [layer for layer in _all_layers(model) if isinstance(layer, WeightNoise) or id(layer) in stock]
    kernels = {}
    for path, layer in by_path(layers).items():
        roles = kernel_roles(layer)
        for role in roles:
            name = path if len(roles) == 1 else f"{path}/{role.name}"
            kernels[name] = PrunableKernel(name, layer, role)
    return kernels


def unpruned_layers(model):
    """List the layers with weights that `rsr_tf.add_noise` and `rsr_tf.prune` do not change.

    These are layers of other classes, such as `Embedding`, `LSTM` or custom layers, and layers that contain others.
    Layers whose weights all have fewer than two axes, such as normalizations, are not listed.

    Args:
        model: a built functional or Sequential model.

    Returns:
        A list of layers, in the order of the model.

    Example:
        >>> words = keras.Input((6,))
        >>> x = keras.layers.Embedding(20, 4, name="embedding")(words)
        >>> model = keras.Model(words, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
        >>> [layer.name for layer in rsr_tf.unpruned_layers(model)]
        ['embedding']
    """
    return [
        layer
        for layer in layers_of(model)
        if not is_convertible(layer) and not noisy_layers(layer) and any(len(one.shape) >= 2 for one in layer.weights)
    ]


def reseed_noise(model, seed):
    """Reset the noise generators of a model, of weights and of features, to make its noise reproducible.

    Args:
        model: a built Keras model or layer. Layers with the seed `"fresh"` are skipped.
        seed: non-negative integer, from which a different seed for each layer is derived.

    Example:
        >>> network = rsr_tf.models.small_cnn()
        >>> image = tf.ones((1, 8, 8, 1))
        >>> rsr_tf.layers.reseed_noise(network, 0)
        >>> first = network(image)
        >>> rsr_tf.layers.reseed_noise(network, 0)
        >>> bool(tf.reduce_all(network(image) == first))
        True
    """
    drawing = [layer for layer in _all_layers(model) if isinstance(layer, WeightNoise | FeatureNoise)]
    layers = [layer for layer in drawing if layer.seed_generator is not None]
    seeds = np.random.SeedSequence(seed).generate_state(len(layers))
    for layer, layer_seed in zip(layers, seeds, strict=True):
        layer.seed_generator.state.assign(np.array([layer_seed, 0], layer.seed_generator.state.dtype))


def by_path(layers):
    """Return layers by path, with a number appended to paths that occur before, as in nested models.

    Args:
        layers: iterable of layers.

    Returns:
        A dict from path to layer, in the given order.
    """
    named = {}
    for layer in layers:
        path, number = layer.path, 1
        while path in named:
            number += 1
            path = f"{layer.path}#{number}"
        named[path] = layer
    return named


def _all_layers(layer):
    """List a layer and all layers inside it, depth first, each once.

    (`nested_layers` with `recursive=True` would reverse the order of nested layers.)
    """
    found = {id(layer): layer}
    for child in nested_layers(layer, include_self=False, recursive=False):
        found.update((id(one), one) for one in _all_layers(child))
    return list(found.values())
