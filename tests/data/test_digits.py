import functools

import numpy as np
from sklearn.datasets import load_digits

from rsr_tf.data import load


def rows(images):
    """Return the images as sorted bytes, to compare collections regardless of order."""
    return sorted(image.tobytes() for image in images)


@functools.cache
def digits(**options):
    return load("digits", **options)


def test_digits_have_the_stated_sizes_shapes_and_types():
    data_set = digits()
    assert [len(split) for split in (data_set.train, data_set.validation, data_set.test)] == [1212, 135, 450]
    assert data_set.title == "scikit-learn digits"
    assert data_set.class_names == tuple("0123456789")
    assert data_set.image_shape == (8, 8, 1)
    for split in (data_set.train, data_set.validation, data_set.test):
        assert split.images.shape == (len(split), 8, 8, 1)
        assert (split.images.dtype, split.labels.dtype) == (np.float32, np.int32)


def test_digits_fill_the_range_of_pixels_and_labels():
    data_set = digits()
    assert (data_set.train.images.min(), data_set.train.images.max()) == (0.0, 1.0)
    for split in (data_set.train, data_set.validation, data_set.test):
        assert set(split.labels) == set(range(10))


def test_splits_of_digits_partition_the_data_set():
    data_set = digits()
    splits = (data_set.train, data_set.validation, data_set.test)
    everything = (load_digits().images / 16).astype("float32")
    assert rows(np.concatenate([split.images[..., 0] for split in splits])) == rows(everything)


def test_labels_of_digits_stay_with_their_images():
    images, labels = load_digits(return_X_y=True)
    known = {image.astype("float32").tobytes(): label for image, label in zip(images, labels, strict=True)}
    for split in (digits().train, digits().validation, digits().test):
        assert [known[(16 * image).tobytes()] for image in split.images] == split.labels.tolist()


def test_test_split_of_digits_has_a_quarter_of_each_class():
    np.testing.assert_allclose(np.bincount(digits().test.labels), np.bincount(load_digits().target) / 4, atol=1)
