"""Networks that return probabilities, as SavedModels with a softmax do."""

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks import PGD, cross_entropy, input_gradient
from rsr_tf.attacks.losses import difference_of_logits_ratio
from rsr_tf.evaluation import evaluate_whitebox, with_logits
from rsr_tf.evaluation.probabilities import are_probabilities, is_one_probability

WEIGHTS = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
IMAGES = np.random.default_rng(1).uniform(size=(20, 6)).astype("float32")
LABELS = np.argmax(IMAGES @ WEIGHTS, axis=1).astype("int32")


def logits_fn(x):
    return x @ WEIGHTS


def softmax_fn(x):
    return tf.nn.softmax(logits_fn(x))


def sure(scale):
    return lambda x: tf.nn.softmax(scale * logits_fn(x))


def sigmoid_fn(x):
    """Return what `as_model_fn` makes of a SavedModel with one output."""
    probability = tf.sigmoid((x - 0.5) @ WEIGHTS[:, :1])
    return tf.concat([tf.zeros_like(probability), probability], axis=-1)


@pytest.mark.parametrize("loss", [cross_entropy, difference_of_logits_ratio])
def test_logarithms_have_the_losses_and_gradients_of_the_logits(loss):
    found, x = with_logits(softmax_fn, IMAGES), tf.constant(IMAGES)
    np.testing.assert_allclose(loss(LABELS, found(x)), loss(LABELS, logits_fn(x)), rtol=1e-4, atol=1e-6)
    ours, theirs = (input_gradient(fn, loss, x, LABELS) for fn in (found, logits_fn))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_probabilities_near_1_have_the_gradient_that_the_softmax_took():
    """The logits differ by up to 60, so that float32 rounds the largest probability to 1."""
    x = tf.constant([[0.5, 0.0, 0, 0, 0, 0]])
    weights = tf.constant([[120.0, 0, 60]] + [[0.0, 0, 0]] * 5)
    found = with_logits(lambda x: tf.nn.softmax(x @ weights), x)
    gradient = input_gradient(found, difference_of_logits_ratio, x, tf.constant([0]))
    np.testing.assert_allclose(found(x), [[0, -60, -30]], atol=1e-4)
    assert gradient.shape == x.shape
    np.testing.assert_allclose(PGD(epsilon=0.5, step_size=0.5, steps=1, random_start=False)(found, x, [0])[0, 0], 0)


def test_one_probability_becomes_the_logits_of_both_classes():
    found = with_logits(sigmoid_fn, IMAGES)(tf.constant(IMAGES)).numpy()
    np.testing.assert_allclose(found[:, 1] - found[:, 0], (IMAGES - 0.5) @ WEIGHTS[:, 0], rtol=1e-3, atol=1e-5)
    assert 0 < np.mean(np.argmax(found, axis=1)) < 1


def test_network_that_returns_logits_is_left_alone(caplog):
    assert with_logits(logits_fn, IMAGES) is logits_fn
    assert caplog.messages == []


@pytest.mark.parametrize(("scale", "share"), [(1, "0.0"), (1e6, "100.0")])
def test_share_of_images_whose_gradient_is_lost_is_in_the_warning(caplog, scale, share):
    with_logits(sure(scale), IMAGES)
    assert f"returns probabilities; attacks see their logarithms. On {share} % of 20 images" in caplog.text


@pytest.mark.parametrize(
    ("outputs", "several", "alone"),
    [
        ([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]], True, False),
        ([[0.703, 0.2, 0.101], [0.0, 0.996, 0.0]], True, False),  # rounded to bfloat16
        ([[0.7, 0.2, 0.1], [0.3, 0.3, 0.3]], False, False),
        ([[2.0, -0.5, -0.5]], False, False),
        ([[0.0, 0.7], [0.0, 0.1]], False, True),
        ([[0.0, 0.7], [0.0, 1.3]], False, False),
        ([[0.0, 0.0], [0.0, 0.0]], False, False),
        ([[0.1, 0.7], [0.0, 0.1]], False, False),
    ],
)
def test_probabilities_are_told_from_logits(outputs, several, alone):
    assert (are_probabilities(outputs), is_one_probability(outputs)) == (several, alone)


@pytest.mark.parametrize(("network", "warned"), [(softmax_fn, True), (sigmoid_fn, True), (logits_fn, False)])
def test_whitebox_accuracy_of_probabilities_has_a_warning(network, warned, caplog):
    labels = np.argmax(network(IMAGES), axis=1)
    evaluate_whitebox(network, IMAGES, labels, epsilon=0.1, step_size=0.1, steps=1, repeats=1)
    assert ("returns probabilities and not logits" in caplog.text) == warned
