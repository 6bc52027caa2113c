"""Labels and first batches in every form that `fit` accepts."""

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.training.batches import class_indices, first_batch


@pytest.mark.parametrize("labels", [[2, 0, 1], [[2], [0], [1]], [[0.0, 0.2, 0.8], [0.9, 0.1, 0.0], [0.0, 1.0, 0.0]]])
def test_labels_become_class_numbers(labels):
    found = class_indices(tf.constant(labels), classes=3)
    assert found.dtype == tf.int64
    np.testing.assert_array_equal(found, [2, 0, 1])


def test_single_column_is_no_probability_of_one_class_among_several():
    np.testing.assert_array_equal(class_indices(tf.constant([[1], [0]]), classes=2), [1, 0])


def test_first_batch_of_arrays_is_their_beginning():
    x, y = np.arange(300), np.arange(300) % 7
    images, labels = first_batch(x, y)
    np.testing.assert_array_equal(images, np.arange(256))
    np.testing.assert_array_equal(labels, np.arange(256) % 7)


def test_first_batch_of_a_data_set_leaves_weights_out():
    data = tf.data.Dataset.from_tensor_slices((np.arange(6), np.arange(6) + 10, np.ones(6))).batch(4)
    images, labels = first_batch(data, None)
    np.testing.assert_array_equal(images, [0, 1, 2, 3])
    np.testing.assert_array_equal(labels, [10, 11, 12, 13])


def test_generator_is_not_consumed():
    batches = iter([(np.zeros(2), np.zeros(2))])
    assert first_batch(batches, None) is None
    assert len(list(batches)) == 1


def test_data_set_without_labels_is_refused():
    with pytest.raises(ValueError, match=r"`x` must be a data set of \(images, labels, ...\)\. Received: TensorSpec"):
        first_batch(tf.data.Dataset.range(4).batch(2), None)
