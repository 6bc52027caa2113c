"""First batches in every form that `fit` accepts, and the check of all others."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.training.batches import as_images, peek, range_errors, unpacked


def test_first_batch_of_arrays_is_their_beginning():
    x, y = np.arange(300), np.arange(300) % 7
    (images, labels), same = peek(x, y)
    assert same is x
    np.testing.assert_array_equal(images, np.arange(256))
    np.testing.assert_array_equal(labels, np.arange(256) % 7)


def test_first_batch_of_a_data_set_leaves_weights_out():
    data = tf.data.Dataset.from_tensor_slices((np.arange(6), np.arange(6) + 10, np.ones(6))).batch(4)
    (images, labels), _ = peek(data, None)
    np.testing.assert_array_equal(images, [0, 1, 2, 3])
    np.testing.assert_array_equal(labels, [10, 11, 12, 13])


def test_first_batch_of_a_generator_is_put_back():
    batches = ((np.full(2, number), np.zeros(2)) for number in range(3))
    (images, _), replaced = peek(batches, None)
    np.testing.assert_array_equal(images, [0, 0])
    assert [int(x[0]) for x, _ in replaced] == [0, 1, 2]


def test_batch_0_of_a_pydataset_is_read():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return np.full(2, index), np.full(2, index + 5)

    (images, labels), _ = peek(Batches(), None)
    assert (images.tolist(), labels.tolist()) == ([0, 0], [5, 5])


def test_iterator_that_cannot_be_put_back_is_not_consumed():
    batches = iter([(np.zeros(2), np.zeros(2))])
    assert peek(batches, None) == (None, batches)
    assert len(list(batches)) == 1


@pytest.mark.parametrize("structure", [{"image": 3}, [3], (3,), 3])
def test_structure_of_one_is_unpacked(structure):
    assert unpacked(structure) == 3


@pytest.mark.parametrize("pixel", [255.0, -0.1, np.nan])
def test_pixel_out_of_range_stops_the_step(pixel):
    step = tf.function(lambda x: as_images(x) * 2)
    np.testing.assert_array_equal(step(tf.constant([[0.0, 1.0]])), [[0, 2]])
    low, high = np.min([0.5, pixel]), np.max([0.5, pixel])
    message = rf"must be in \[0, 1\]. Received: pixels from {low:g} to {high:g} in a later batch"
    with pytest.raises(ValueError, match=message), range_errors():
        step(tf.constant([[0.5, pixel]]))
