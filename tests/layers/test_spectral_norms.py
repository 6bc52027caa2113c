import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import tiny_network

import rsr_tf
from rsr_tf.layers import spectral_norms


def dense(kernel):
    model = keras.Sequential(
        [keras.Input((len(kernel),)), keras.layers.Dense(len(kernel[0]), name="dense")], name="net"
    )
    model.layers[0].kernel.assign(kernel)
    return model


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]], 2.0),
        ([[1.0, 1.0], [0.0, 1.0]], (1 + np.sqrt(5)) / 2),
        ([[3.0, 4.0]], 5.0),
    ],
)
def test_dense_kernel_by_hand(kernel, expected):
    norms = spectral_norms(dense(kernel))
    assert norms["net/dense"].plain == pytest.approx(expected)
    assert norms["net/dense"].folded is None


def test_convolution_in_a_block_with_its_normalization_folded():
    model = tiny_network()
    block = model.layers[1]
    scale = np.array(block.normalization.gamma) / np.sqrt(np.array(block.normalization.moving_variance) + 1.001e-5)
    matrix = np.array(block.convolution.kernel).reshape(9, 4)
    found = next(iter(spectral_norms(model).values()))
    assert found.plain == pytest.approx(np.linalg.svd(matrix)[1].max(), rel=1e-5)
    assert found.folded == pytest.approx(np.linalg.svd(matrix * scale)[1].max(), rel=1e-5)


def test_pruned_weights_are_zero():
    model = dense([[2.0, 0.0], [0.0, 1.0]])
    rsr_tf.prune(model, gamma=0.5)
    model.layers[0].mask.assign([[False, True], [True, True]])
    assert spectral_norms(model)["net/dense"].plain == pytest.approx(1.0)


def test_transposed_and_depthwise_kernels_have_their_filters_elsewhere():
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2DTranspose(2, 2, name="transposed")(inputs)
    model = keras.Model(inputs, keras.layers.DepthwiseConv2D(2, depth_multiplier=5, name="depthwise")(x))
    kernels = {layer.name: np.array(layer.kernel) for layer in model.layers[1:]}
    found = {path: norm.plain for path, norm in spectral_norms(model).items()}
    transposed = np.swapaxes(kernels["transposed"], -1, -2).reshape(-1, 2)
    depthwise = [kernels["depthwise"][:, :, channel].reshape(4, 5) for channel in range(2)]
    assert found["transposed"] == pytest.approx(np.linalg.svd(transposed)[1].max(), rel=1e-5)
    assert found["depthwise"] == pytest.approx(max(np.linalg.svd(each)[1].max() for each in depthwise), rel=1e-5)


def test_convolution_expands_no_more_than_the_root_of_its_kernel_size_times_the_value():
    """A kernel of norm 1 that adds up what is alike in all patches reaches the bound, but for the border."""
    layer = keras.layers.Conv2D(1, 3, padding="same", use_bias=False, name="conv")
    model = keras.Sequential([keras.Input((99, 99, 1)), layer])
    layer.kernel.assign(tf.fill((3, 3, 1, 1), 1 / 3))
    image = tf.ones((1, 99, 99, 1))
    gain = float(tf.norm(model(image)) / tf.norm(image))
    (norm,) = spectral_norms(model).values()
    assert norm.plain == pytest.approx(1.0)
    assert 2.9 < gain <= 3 * norm.plain
