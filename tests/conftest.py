import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
import tensorflow as tf

import rsr_tf


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory):
    """Tests neither see nor touch the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def fresh_state():
    """Every test starts from the same seed and policy."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(0, 10, 16).astype("int32")


@pytest.fixture
def noisy_model():
    """A tiny network with every kind of layer: block, convolution, dense; its statistics are not the initial ones."""
    return tiny_network()


def tiny_network(noise="channel", lasso=0.0, filters=4):
    inputs = keras.Input((8, 8, 1))
    knobs = {"noise": noise, "kernel_regularizer": keras.regularizers.L1(lasso) if lasso else None}
    x = rsr_tf.NoisyConvBlock(filters, 3, activation="relu", **knobs)(inputs)
    x = rsr_tf.NoisyConv2D(filters, 3, strides=2, activation="relu", bias_initializer="normal", **knobs)(x)
    x = keras.layers.Flatten()(x)
    outputs = rsr_tf.NoisyDense(10, dtype="float32", **knobs)(x)
    model = keras.Model(inputs, outputs)
    block = model.layers[1].normalization
    for variable in (block.gamma, block.beta, block.moving_mean, block.moving_variance):
        variable.assign(np.random.default_rng(2).uniform(0.5, 1.5, variable.shape))
    return model


def silence(model):
    """Take the noise out of a network by its scale."""
    for kernel in rsr_tf.layers.prunable_kernels(model).values():
        if kernel.alpha is not None:
            kernel.alpha.assign(tf.zeros_like(kernel.alpha))
    return model


def compiled(model, optimizer="sgd", loss=None, **kwargs):
    model.compile(
        optimizer, loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"], **kwargs
    )
    return model
