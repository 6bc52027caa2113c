import functools
import itertools

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from rsr_tf.data import Split, balanced_weights, batches, steps_per_epoch, training_batches
from rsr_tf.data.augmentation import CROP_PADDING


def numbered(count, dtype="uint8", shape=(6, 5, 3)):
    """Create random images without zeros, labelled by their position."""
    images = np.random.default_rng(0).integers(1, 256, (count, *shape)).astype("uint8")
    return Split(images if dtype == "uint8" else (images / 255).astype(dtype), np.arange(count))


def take(split, count, **options):
    """Return the first batches of a stream as stacked images and labels."""
    stream = training_batches(split, **{"batch_size": 4, "seed": 0} | options).take(count)
    x, y = zip(*stream.as_numpy_iterator(), strict=True)
    return np.stack(x), np.stack(y)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_training_batches_hold_each_label_with_its_image(dtype):
    split = numbered(10, dtype)
    x, y = take(split, 3)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    assert x.shape == (3, 4, 6, 5, 3)
    np.testing.assert_allclose(x, split.pixels()[y], rtol=1e-6)


@pytest.mark.parametrize("count", [4, 5, 8, 11, 100])
def test_epoch_is_a_permutation_without_repeats(count):
    split = numbered(count)
    steps = steps_per_epoch(split, 4)
    assert steps == count // 4
    _, y = take(split, 3 * steps)
    for epoch in y.reshape(3, -1):
        assert len(set(epoch)) == len(epoch)
        assert set(epoch) <= set(range(count))


def test_every_epoch_has_another_order_and_leaves_out_other_images():
    _, y = take(numbered(11), 2 * 10)
    epochs = y.reshape(10, -1)
    assert len({tuple(epoch) for epoch in epochs}) == 10
    assert len({frozenset(range(11)) - frozenset(epoch) for epoch in epochs}) > 1


def test_other_seed_gives_another_order():
    split = numbered(40)
    assert not np.array_equal(take(split, 10)[1], take(split, 10, seed=1)[1])


@pytest.mark.parametrize("crop_and_flip", [False, True])
def test_batch_is_a_function_of_seed_and_step_alone(crop_and_flip):
    split = numbered(10)
    x, y = take(split, 7, crop_and_flip=crop_and_flip)
    for start in (0, 1, 3):  # an epoch has two steps
        later_x, later_y = take(split, 7 - start, crop_and_flip=crop_and_flip, start_step=start)
        np.testing.assert_array_equal(later_x, x[start:])
        np.testing.assert_array_equal(later_y, y[start:])


def test_batch_larger_than_the_split_is_refused():
    with pytest.raises(ValueError, match=r"`batch_size` must be at most the 3 training images\. Received: 4"):
        training_batches(numbered(3), batch_size=4, seed=0)


def crops_and_mirrors(images):
    """Return every crop of the zero-padded images and its mirror image, by `(row, column, mirrored)`."""
    _, height, width, _ = images.shape
    margin = (CROP_PADDING, CROP_PADDING)
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)))
    crops = {}
    for row, column in itertools.product(range(2 * CROP_PADDING + 1), repeat=2):
        crop = padded[:, row : row + height, column : column + width]
        crops[row, column, False], crops[row, column, True] = crop, crop[:, :, ::-1]
    return crops


@functools.cache
def drawn_crops(dtype):
    """Return 1,000 augmented images and, for each, the crops of its original that it equals."""
    split = numbered(1000, dtype, shape=(5, 5, 1))
    x, y = take(split, 1, batch_size=1000, crop_and_flip=True)
    originals = (split.pixels() * 255).round().astype(int)[y[0]]
    augmented = (x[0] * 255).round().astype(int)
    hits = [[] for _ in augmented]
    for place, crop in crops_and_mirrors(originals).items():
        for index in np.flatnonzero((crop == augmented).all((1, 2, 3))):
            hits[index].append(place)
    return x, hits


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_augmented_image_is_a_crop_of_the_padded_one_possibly_mirrored(dtype):
    x, hits = drawn_crops(dtype)
    assert (x.dtype, x.shape) == (np.float32, (1, 1000, 5, 5, 1))
    assert x.min() == 0
    assert x.max() <= 1
    assert all(hits)


def test_every_offset_is_drawn_the_central_one_included():
    _, hits = drawn_crops("uint8")
    places = [hit[0] for hit in hits if len(hit) == 1]  # a crop of one corner pixel may be two crops
    assert {row for row, _, _ in places} == {column for _, column, _ in places} == set(range(9))
    assert (4, 4, False) in places


def test_half_of_the_augmented_images_are_mirrored():
    _, hits = drawn_crops("uint8")
    mirrored = [hit[0][2] for hit in hits if len(hit) == 1]
    assert np.mean(mirrored) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(mirrored)))


def test_augmentation_changes_from_step_to_step():
    x, y = take(numbered(4), 2, crop_and_flip=True)
    first, second = (images[np.argsort(labels)] for images, labels in zip(x, y, strict=True))
    assert not np.array_equal(first, second)


def test_batches_keep_the_order_and_the_last_short_batch():
    split = numbered(10)
    x, y = zip(*batches(split, batch_size=4).as_numpy_iterator(), strict=True)
    assert [len(labels) for labels in y] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(y), split.labels)
    np.testing.assert_allclose(np.concatenate(x), split.pixels(), rtol=1e-6)
    assert (x[0].dtype, y[0].dtype) == (np.float32, np.int32)


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.array([0, 0, 0, 1, 1, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(balanced_weights(labels, 3), expected, rtol=1e-6)
    np.testing.assert_allclose(balanced_weights(labels, 4), [*(expected * 3 / 4), 0], rtol=1e-6)


def test_batches_with_weights_hold_that_of_each_label():
    train = Split(np.zeros((10, 4, 4, 1), "uint8"), np.arange(10) % 3)
    x, y, weights = next(iter(training_batches(train, batch_size=6, seed=0, class_weights=[1.0, 2.0, 0.5])))
    assert x.shape == (6, 4, 4, 1)
    np.testing.assert_array_equal(weights, np.array([1.0, 2.0, 0.5], "float32")[y.numpy()])
