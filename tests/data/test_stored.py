import numpy as np
import pytest
from image_folders import random_images

from rsr_tf.data import DataSet, Split, StoredImages, batches, reading_errors, stored, training_batches
from rsr_tf.data.stored import ImageError, is_kept, resized
from rsr_tf.errors import UserError


class ArrayStore:
    """Images that lie in an array after all, but are handed out one by one."""

    def __init__(self, images, broken=()):
        self.images, self.broken, self.asked = images, broken, []

    def name(self, number):
        return f"number {number}"

    def read(self, number):
        self.asked.append(int(number))
        if number in self.broken:
            raise OSError("the disk has a scratch")
        return self.images[number]


def stored_split(count, shape=(8, 8, 3), **options):
    images = random_images(count, shape)
    return Split(StoredImages(ArrayStore(images, **options), np.arange(count)), np.arange(count) % 3), images


def test_only_the_wanted_images_are_read():
    split, images = stored_split(20)
    part = split.take(np.array([7, 3, 11])).images[1:]
    assert split.images.store.asked == [0]
    np.testing.assert_array_equal(part.gather([1, 0, 1]), images[[11, 3, 11]])
    assert split.images.store.asked == [0, 11, 3, 11]


def test_shape_and_pixels_are_those_of_an_array():
    split, images = stored_split(5)
    assert (len(split.images), split.images.shape, split.images.dtype) == (5, images.shape, images.dtype)
    assert split.images.nbytes == images.nbytes
    np.testing.assert_array_equal(np.asarray(split.images), images)
    np.testing.assert_array_equal(split.first(2).pixels(), Split(images, split.labels).first(2).pixels())


@pytest.mark.parametrize("options", [{}, {"crop_and_flip": True}, {"start_step": 5}])
def test_training_batches_are_bit_equal_to_those_from_memory(options):
    split, images = stored_split(10)
    of_arrays = Split(images, split.labels)
    streams = [training_batches(each, batch_size=4, seed=3, **options).take(7) for each in (split, of_arrays)]
    for (x, y), (x_expected, y_expected) in zip(*streams, strict=True):
        assert x.shape == (4, 8, 8, 3)
        np.testing.assert_array_equal(x, x_expected)
        np.testing.assert_array_equal(y, y_expected)


def test_batches_in_order_are_those_from_memory():
    split, images = stored_split(10)
    of_arrays = batches(Split(images, split.labels), batch_size=4)
    assert len(batches(split, batch_size=4)) == len(of_arrays) == 3
    for (x, y), (x_expected, y_expected) in zip(batches(split, batch_size=4), of_arrays, strict=True):
        np.testing.assert_array_equal(x, x_expected)
        np.testing.assert_array_equal(y, y_expected)


def test_pixel_statistics_are_exactly_those_from_memory():
    split, images = stored_split(150)
    data_sets = [DataSet("", each, each, each, ()) for each in (split, Split(images, split.labels))]
    assert data_sets[0].pixel_statistics() == data_sets[1].pixel_statistics()


def test_pixel_statistics_of_many_images_are_of_images_spread_evenly(monkeypatch):
    monkeypatch.setattr("rsr_tf.data.base.STATISTICS_IMAGES", 5)
    split, images = stored_split(41)
    split.images.store.asked.clear()
    mean, _ = DataSet("", split, split, split, ()).pixel_statistics()
    assert split.images.store.asked == [0, 10, 20, 30, 40]
    np.testing.assert_allclose(mean, images[::10].reshape(-1, 3).mean(0) / 255)


def test_broken_image_is_named():
    split, _ = stored_split(5, broken=[3])
    with pytest.raises(ImageError, match=r"\Acannot read the image number 3: the disk has a scratch\Z"):
        split.pixels()
    assert issubclass(ImageError, UserError)
    assert issubclass(ImageError, ValueError)


@pytest.mark.parametrize(
    ("image", "finding"),
    [
        (np.zeros((8, 8, 1), "uint8"), r"expected the shape \(8, 8, 3\) of the first image\. Received: \(8, 8, 1\)"),
        (np.zeros((9, 8, 3), "uint8"), r"`resize` makes images of one size\. Received: \(9, 8, 3\)"),
        (np.zeros((8, 8, 3), "uint16"), r"expected uint8 \(h, w, c\)\. Received: uint16 \(8, 8, 3\)"),
        (np.zeros((8, 8), "uint8"), r"Received: uint8 \(8, 8\)"),
        (np.zeros((8, 0, 3), "uint8"), r"Received: uint8 \(8, 0, 3\)"),
    ],
)
def test_image_of_another_kind_is_named_whenever_it_is_read(image, finding):
    images = [*random_images(3, (8, 8, 3)), image]
    split = Split(StoredImages(ArrayStore(images), np.arange(4)), np.arange(4))
    with pytest.raises(ImageError, match=f"^cannot use the image number 3: .*{finding}"):
        split.images.gather([3])
    with pytest.raises(ImageError, match=f"^cannot use the image number 3: .*{finding}$"), reading_errors():
        list(batches(split, batch_size=2))


@pytest.mark.parametrize(
    ("cache", "count", "kept"),
    [("auto", 10, True), ("auto", 11, False), ("memory", 11, True), ("stream", 1, False)],
)
def test_automatic_cache_goes_by_the_bytes_of_the_images(monkeypatch, cache, count, kept):
    monkeypatch.setattr(stored, "IN_MEMORY", 10 * 4 * 4 * 3)
    assert is_kept((count, 4, 4, 3), cache) == kept


def test_resizing_averages_blocks_and_rounds_to_the_nearest():
    image = np.arange(16, dtype="uint8").reshape(4, 4, 1)
    assert resized(image, (4, 4)) is image
    assert resized(image, None) is image
    checkerboard = np.kron(np.indices((2, 2)).sum(0) % 2, np.ones((8, 8))).astype("uint8")[..., None] * 255
    np.testing.assert_array_equal(resized(checkerboard, (1, 1)), [[[128]]])  # 127.5, to even
    assert resized(np.full((5, 7, 3), 93, "uint8"), (11, 2)).tolist() == np.full((11, 2, 3), 93).tolist()
