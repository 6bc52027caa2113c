import keras
import numpy as np
import pytest
import tensorflow as tf

import rsr_tf
from rsr_tf import models
from rsr_tf.layers import noisy_layers


@pytest.mark.parametrize(("depth", "width", "count"), [(10, 1, 77_850), (16, 1, 175_066), (16, 2, 691_674)])
def test_capacity_of_small_networks_is_that_of_the_formula(depth, width, count):
    """Convolutions 9ab or ab, normalizations 2a, dense layer 64k * 10 + 10."""
    units, k = (depth - 4) // 6, width
    total, inputs = 27 * 16, 16
    for filters in (16 * k, 32 * k, 64 * k):
        for _ in range(units):
            total += 2 * inputs + 9 * inputs * filters + 2 * filters + 9 * filters * filters
            total += inputs * filters if inputs != filters else 0
            inputs = filters
    total += 2 * inputs + inputs * 10 + 10
    network = models.wide_resnet(depth=depth, width=width, noise="none")
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == total == count


@pytest.mark.parametrize("depth", [4, 20, 29])
def test_depth_that_no_such_network_has_is_refused(depth):
    with pytest.raises(ValueError, match=rf"`depth` must be 6n \+ 4, such as 16, 28 or 34. Received: depth={depth}"):
        models.wide_resnet(depth=depth)


def test_normalization_and_activation_stand_before_each_convolution():
    """The sum of a unit goes on as it is, so a negative input of the first unit survives its identity shortcut."""
    network = models.wide_resnet(depth=10, width=1, noise="none")
    inner = {name: network.get_layer(f"stage1_unit1_{name}").output for name in ("add", "conv2", "normalization")}
    stem = network.get_layer("stem").output
    values = keras.Model(network.inputs, [stem, *inner.values()])(tf.random.uniform((2, 32, 32, 3)))
    stem, added, branch, _ = (np.array(value) for value in values)
    np.testing.assert_allclose(added, stem + branch, atol=1e-5)
    assert np.min(stem) < 0


def test_shortcut_of_another_shape_convolves_the_activated_input():
    network = models.wide_resnet(depth=10, width=1, noise="none")
    shortcut = network.get_layer("stage2_unit1_shortcut")
    assert shortcut.input is network.get_layer("stage2_unit1_relu").output
    assert (shortcut.kernel_size, shortcut.strides, shortcut.use_bias) == ((1, 1), (2, 2), False)


def test_folded_network_computes_the_same_at_inference():
    network = models.wide_resnet(depth=10, width=1, noise="none")
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if weight.name.startswith(("moving", "gamma", "beta")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    x = tf.random.uniform((2, 32, 32, 3))
    np.testing.assert_allclose(rsr_tf.strip(network, fold=True)(x), network(x), rtol=1e-3, atol=1e-3)


def test_whole_filters_can_be_removed():
    network = models.wide_resnet(depth=10, width=1)
    rsr_tf.prune_filters(network, share=0.5)
    small = rsr_tf.pruning.rebuild(network)
    x = tf.random.uniform((2, 32, 32, 3))
    for model in (network, small):
        for kernel in noisy_layers(model):
            kernel.alpha.assign(tf.zeros_like(kernel.alpha))
    np.testing.assert_allclose(small(x), network(x), atol=1e-4)
    assert small.count_params() < 0.6 * network.count_params()
