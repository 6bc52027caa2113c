"""Losses and margins, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks.losses import cross_entropy, difference_of_logits_ratio, is_correct, logit_margin


def test_dlr_by_hand():
    logits = tf.constant([[4.0, 1.0, 3.0, 0.0], [4.0, 1.0, 3.0, 0.0]])
    loss = difference_of_logits_ratio(tf.constant([0, 1]), logits)
    assert loss.numpy() == pytest.approx([-(4 - 3) / (4 - 1), -(1 - 4) / (4 - 1)])


def test_dlr_does_not_change_when_logits_are_scaled_and_shifted():
    logits = tf.constant(np.random.default_rng(0).normal(size=(20, 5)).astype("float32"))
    labels = tf.constant(np.arange(20) % 5)
    np.testing.assert_allclose(
        difference_of_logits_ratio(labels, logits),
        difference_of_logits_ratio(labels, 1e4 * logits + 7),
        rtol=1e-2,
        atol=1e-5,
    )


def test_dlr_of_two_classes_has_a_gradient():
    logits = tf.constant([[1.0, 3.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = difference_of_logits_ratio(tf.constant([0]), logits)
    assert loss.numpy() == [2.0]
    assert tape.gradient(loss, logits).numpy().tolist() == [[-1.0, 1.0]]


def test_dlr_of_three_classes_by_hand():
    loss = difference_of_logits_ratio(tf.constant([0, 2]), tf.constant([[5.0, 2.0, 1.0], [5.0, 2.0, 1.0]]))
    assert loss.numpy() == pytest.approx([-(5 - 2) / (5 - 1), -(1 - 5) / (5 - 1)])


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_dlr_of_equal_logits_is_finite_and_so_is_its_gradient(classes):
    logits = tf.ones((2, classes))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = difference_of_logits_ratio(tf.constant([0, 1]), logits)
    assert loss.numpy().tolist() == [0, 0]
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_margin_by_hand():
    logits = [[1.0, 3.0, 2.5], [1.0, 3.0, 2.5], [-1.0, -1.0, -4.0]]
    np.testing.assert_allclose(logit_margin(logits, tf.constant([1, 2, 0])), [0.5, -0.5, 0.0])


def test_a_prediction_with_nan_is_never_correct():
    logits = tf.constant([[2.0, 1.0], [2.0, 1.0], [float("nan"), 1.0], [2.0, float("nan")]])
    assert is_correct(logits, tf.constant([0, 1, 0, 0])).numpy().tolist() == [True, False, False, False]


def test_cross_entropy_of_numbers_columns_and_probabilities_by_hand():
    logits = tf.constant([[np.log(3.0), 0.0]])
    for label in ([1], [[1]], [[0.0, 1.0]]):
        assert cross_entropy(label, logits).numpy() == [pytest.approx(np.log(4))]
    assert cross_entropy([[0.5, 0.5]], logits).numpy() == [pytest.approx(np.log(4) - np.log(3) / 2)]


CLASS_NUMBER_TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


@pytest.mark.parametrize("dtype", CLASS_NUMBER_TYPES)
def test_class_numbers_may_have_any_type(dtype):
    logits = tf.constant([[np.log(3.0), 0.0], [0.0, np.log(3.0)]])
    labels = np.array([1, 1], dtype)
    np.testing.assert_allclose(cross_entropy(labels, logits), [np.log(4), np.log(4 / 3)], rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(labels[:, None], logits), [np.log(4), np.log(4 / 3)], rtol=1e-6)
    np.testing.assert_allclose(logit_margin(logits, labels), [-np.log(3), np.log(3)], rtol=1e-6)
    assert is_correct(logits, labels).numpy().tolist() == [False, True]


def test_boolean_labels_are_the_classes_0_and_1():
    loss = cross_entropy(np.array([False, True]), tf.constant([[np.log(3.0), 0.0], [np.log(3.0), 0.0]]))
    np.testing.assert_allclose(loss, [np.log(4 / 3), np.log(4)], rtol=1e-6)


@pytest.mark.parametrize("labels", [[0, 1], [[0], [1]]])
def test_single_column_of_logits_is_refused(labels):
    """The cross-entropy of one class would have the gradient 1 - label: half of the images would not be attacked."""
    logits, message = tf.constant([[2.0], [-1.0]]), r"a column for each class.*as_model_fn.* of shape \(2, 1\)"
    for function in (cross_entropy, difference_of_logits_ratio, lambda y, z: logit_margin(z, y)):
        with pytest.raises(
            ValueError, match=r"a column for each class.*as_model_fn.*Received: logits of shape \(2, 1\)"
        ):
            function(labels, logits)
    with pytest.raises(ValueError, match=message):
        is_correct(logits, labels)
