import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.layers import batch_norm


@pytest.fixture
def reference():
    """Build a Keras layer with statistics and parameters that differ from the initial ones."""
    layer = keras.layers.BatchNormalization(momentum=0.0, epsilon=1e-3)
    layer.build((None, 6, 6, 3))
    random = np.random.default_rng(0)
    for variable in layer.weights:
        variable.assign(random.uniform(0.5, 2.0, variable.shape))
    return layer


def test_normalizing_a_batch_equals_keras_statistics_included(reference):
    x = tf.constant(np.random.default_rng(1).normal(2.0, 3.0, (5, 6, 6, 3)), tf.float32)
    outputs, mean, variance = batch_norm.normalize_batch(
        x, tf.convert_to_tensor(reference.gamma), tf.convert_to_tensor(reference.beta), 1e-3
    )
    expected = reference(x, training=True)  # momentum 0: the moving statistics are now those of the batch
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(mean, reference.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(variance, reference.moving_variance, rtol=1e-5)


def test_folding_equals_separate_convolution_and_normalization(reference):
    random = np.random.default_rng(1)
    x = tf.constant(random.normal(size=(2, 6, 6, 4)), tf.float32)
    kernel = tf.constant(random.normal(size=(3, 3, 4, 3)), tf.float32)
    folded, bias = batch_norm.fold(
        kernel,
        reference.gamma,
        reference.beta,
        reference.moving_mean,
        reference.moving_variance,
        reference.epsilon,
    )
    expected = reference(tf.nn.conv2d(x, kernel, 1, "SAME"), training=False)
    np.testing.assert_allclose(tf.nn.conv2d(x, folded, 1, "SAME") + bias, expected, atol=1e-4)
