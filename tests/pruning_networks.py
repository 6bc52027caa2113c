"""Small networks for the tests of pruning, by magnitude and of whole filters."""

import keras
import numpy as np
from helpers import silence

import rsr_tf
from rsr_tf.layers import noisy_layers, prunable_kernels

L = keras.layers


def network_of(*kernels):
    """A chain of dense layers with given kernels."""
    inputs = x = keras.Input((kernels[0].shape[0],))
    layers = [rsr_tf.NoisyDense(kernel.shape[1], use_bias=False, name=f"dense{i}") for i, kernel in enumerate(kernels)]
    for layer in layers:
        x = layer(x)
    for layer, kernel in zip(layers, kernels, strict=True):
        layer.kernel.assign(kernel)
    return keras.Model(inputs, x)


def stock_chain(*kernels):
    """The same of stock layers."""
    return rsr_tf.strip(network_of(*kernels))


def masks(model):
    return [np.array(layer.mask) for layer in noisy_layers(model)]


def chain(*kernels, bias=0.0):
    """Dense layers with given kernels and ReLU between them."""
    inputs = x = keras.Input((kernels[0].shape[0],))
    for index, kernel in enumerate(kernels):
        activation = "relu" if index < len(kernels) - 1 else None
        layer = L.Dense(kernel.shape[1], activation=activation, name=f"dense{index}")
        x = layer(x)
        layer.kernel.assign(kernel)
        layer.bias.assign(np.full(kernel.shape[1], bias))
    return keras.Model(inputs, x)


def randomize(model):
    """Give biases, normalizations and the like numbers that are not their first ones, negative ones too."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(rng.normal(size=variable.shape))
        elif variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def images_for(model, n=3):
    rng = np.random.default_rng(1)
    images = [rng.uniform(size=(n, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    return images if len(images) > 1 else images[0]


def outputs_of(model):
    return [np.array(output) for output in keras.tree.flatten(model(images_for(model), training=False))]


def shrunk(model, **options):
    """The network after `prune_filters` and `rebuild`, its outputs compared with those between the two."""
    silence(randomize(model))
    before = outputs_of(model)
    rsr_tf.prune_filters(model, **options)
    zeroed = outputs_of(model)
    small = rsr_tf.rebuild(model)
    for one, other, first in zip(zeroed, outputs_of(small), before, strict=True):
        assert one.std() > 1e-3
        assert not np.allclose(one, first, atol=1e-3)  # something was removed
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5 * max(1, np.abs(one).max()))
    return small


def filters_of(model):
    """Filters of each kernel of a model, by the last part of its layer's name."""
    return {path: kernel.kernel.shape[kernel.filter_axes[0]] for path, kernel in prunable_kernels(model).items()}


def functional(shape, build):
    inputs = keras.Input(shape)
    return keras.Model(inputs, build(inputs))


def conv(filters, name, **options):
    return L.Conv2D(filters, 3, padding="same", name=name, **options)


def head(x):
    return L.Dense(3, name="head")(L.GlobalAveragePooling2D()(x))


def residual(x):
    x = conv(8, "stem", activation="relu")(x)
    for unit in ("one", "two"):
        y = conv(6, f"{unit}_a", activation="relu")(x)
        x = L.ReLU()(L.Add()([x, L.BatchNormalization()(conv(8, f"{unit}_b")(y))]))
    return head(x)


def depthwise(x):
    x = conv(6, "one", activation="relu")(x)
    x = L.DepthwiseConv2D(3, depth_multiplier=2, activation="elu", name="depthwise")(x)
    return head(L.BatchNormalization()(x))


@keras.saving.register_keras_serializable("test_structured")
class Reversed(keras.layers.Layer):
    """A layer of a user: nobody can know that it turns the channels round."""

    def call(self, inputs):
        return inputs[..., ::-1]
