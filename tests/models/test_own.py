import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import silence, tiny_network

import rsr_tf
from rsr_tf.layers import prunable_kernels
from rsr_tf.models.own import own_network

SHAPE = (8, 8, 1)


def stock(*head, shape=SHAPE):
    layers = [keras.layers.Conv2D(4, 3, activation="relu", name="conv"), keras.layers.Flatten()]
    return keras.Sequential([keras.Input(shape), *layers, *head])


HEADS = {
    "logits": lambda: [keras.layers.Dense(5, name="head")],
    "softmax of the layer": lambda: [keras.layers.Dense(5, activation="softmax", name="head")],
    "softmax as a layer": lambda: [keras.layers.Dense(5, name="head"), keras.layers.Softmax()],
    "softmax as an activation": lambda: [keras.layers.Dense(5, name="head"), keras.layers.Activation("softmax")],
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_weights_are_kept_and_a_softmax_is_removed(head):
    model = stock(*head())
    network = silence(own_network(model, SHAPE, 5, rescale=2.0, offset=-1.0))
    x = tf.random.uniform((3, *SHAPE))
    conv, dense = model.get_layer("conv"), model.get_layer("head")
    features = tf.reshape(conv(2 * x - 1), (3, -1))
    np.testing.assert_allclose(network(x), features @ dense.kernel + dense.bias, atol=1e-5)


def test_every_kernel_gets_noise_and_lasso():
    network = own_network(stock(keras.layers.Dense(5)), SHAPE, 5, noise="layer", noise_scale=0.5, lasso=1e-3)
    kernels = prunable_kernels(network).values()
    assert [kernel.alpha.numpy().tolist() for kernel in kernels] == [0.5, 0.5]
    expected = 1e-3 * sum(np.abs(kernel.kernel).sum() for kernel in kernels)
    assert sum(map(float, network.losses)) == pytest.approx(expected, rel=1e-4)


def test_model_of_this_package_keeps_weights_and_masks_but_not_its_noise_scales():
    before = tiny_network()
    rsr_tf.prune(before, sparsity=0.5)
    model = rsr_tf.RSRModel(before.inputs, before.outputs)
    network = own_network(model, SHAPE, 10, noise="element", noise_scale=0.125)
    assert rsr_tf.sparsity(network) == pytest.approx(0.5, abs=0.01)
    assert {float(np.max(kernel.alpha)) for kernel in prunable_kernels(network).values()} == {0.125}
    x = tf.random.uniform((3, *SHAPE))
    np.testing.assert_allclose(silence(network)(x), silence(model)(x), atol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: stock(keras.layers.Dense(7)),
            r"each of the 5 classes of the data. Received: 1 inputs, .* \(None, 7\)",
        ),
        (lambda: stock(keras.layers.Dense(5, activation="sigmoid")), "logits or a softmax. Received: a sigmoid"),
        (lambda: stock(keras.layers.Dense(5), shape=(16, 16, 1)), r"`resize = \[16, 16\]` makes them so"),
        (lambda: keras.Sequential([keras.layers.Dense(5)]), "`model` must be a built functional or Sequential"),
    ],
)
def test_network_that_does_not_fit_the_data_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        own_network(build(), SHAPE, 5)
