import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf import models
from rsr_tf.layers import NoisyConvBlock, Orthogonality, QuantizedReLU, feature_noises, prunable_kernels
from rsr_tf.layers.quantized_relu import quantized_activations


def test_pixels_are_normalized_inside_without_weights():
    model = models.resnet20(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    normalize = model.get_layer("normalize")
    np.testing.assert_allclose(normalize(tf.ones((1, 1, 1, 3)))[0, 0, 0], [1.8, 3.2, 0.35], rtol=1e-6)
    assert normalize.weights == []


def test_wrong_lasso_and_width_are_refused():
    with pytest.raises(ValueError, match=r"`lasso` must not be negative. Received: lasso=-1"):
        models.resnet20(lasso=-1)
    with pytest.raises(ValueError, match=r"`group_lasso` must not be negative. Received: group_lasso=-1"):
        models.resnet20(group_lasso=-1)
    with pytest.raises(ValueError, match=r"`width` must be positive. Received: width=0"):
        models.resnet18(width=0)


def test_scheme_of_rse_puts_noise_before_every_convolution_and_the_normalization():
    scheme = models.Scheme(image_noise=0.2, feature_noise=0.1)
    network = models.resnet18(width=0.0625, noise="none", scheme=scheme)
    noises = {layer.name: layer.std for layer in feature_noises(network)}
    blocks = [layer.name for layer in network.layers if isinstance(layer, NoisyConvBlock)]
    assert noises.pop("image_noise") == 0.2
    assert noises == {f"{name}_noise": 0.1 for name in blocks if name != "stem"}
    assert network.layers[1].name == "image_noise"


def test_scheme_of_dq_quantizes_every_hidden_activation_and_no_logit():
    scheme = models.Scheme(activation=QuantizedReLU(4), orthogonality=1e-3)
    network = models.resnet20(noise="none", lasso=1e-4, scheme=scheme)
    levels = network.get_layer("stage3_unit3_relu")
    assert isinstance(levels.activation, QuantizedReLU)
    quantized = {layer.name for layer, *_ in quantized_activations(network)}
    assert len(quantized) == 1 + 9 + 9  # the stem, the first block of each unit, the sum of each unit
    assert {(type(penalty), penalty.beta, penalty.l1) for penalty in penalties_of(network)} == {
        (Orthogonality, 1e-3, 1e-4)
    }


def penalties_of(network):
    return [getattr(found.layer, found.role.regularizer) for found in prunable_kernels(network).values()]


def test_network_without_a_scheme_is_as_before():
    network = models.resnet20(lasso=1e-4)
    assert isinstance(network.get_layer("stage1_unit1_relu"), keras.layers.ReLU)
    assert {type(penalty) for penalty in penalties_of(network)} == {keras.regularizers.L1}
    assert feature_noises(network) == []


def test_wrong_scheme_is_refused():
    with pytest.raises(ValueError, match=r"`image_noise` must not be negative. Received: image_noise=-1"):
        models.Scheme(image_noise=-1)
    with pytest.raises(ValueError, match=r"`group_lasso` must be 0 with `orthogonality`"):
        models.small_cnn(group_lasso=1e-4, scheme=models.Scheme(orthogonality=1e-3))
