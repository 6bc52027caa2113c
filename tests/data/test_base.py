import numpy as np
import pytest

from rsr_tf.data import DataSet, Split, as_pixels, channel_statistics


def numbered(count, dtype="uint8"):
    """Create random images, labelled by their position."""
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3)).astype("uint8")
    return Split(images if dtype == "uint8" else (images / 255).astype(dtype), np.arange(count))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pixel_statistics_are_those_of_the_training_pixels(dtype):
    train = numbered(7, dtype)
    others = Split(np.zeros_like(train.images), train.labels)
    mean, std = DataSet("numbered", train, others, others, ()).pixel_statistics()
    pixels = train.images.astype("float64") / (255 if dtype == "uint8" else 1)
    np.testing.assert_allclose(mean, pixels.reshape(-1, 3).mean(0), rtol=1e-9)
    np.testing.assert_allclose(std, pixels.reshape(-1, 3).std(0), rtol=1e-9)
    assert all(type(number) is float for number in mean + std)


def test_constant_channel_has_a_standard_deviation_to_divide_by():
    split = Split(np.full((3, 4, 4, 1), 0.5, "float32"), np.arange(3))
    assert DataSet("grey", split, split, split, ()).pixel_statistics() == ([0.5], [1e-3])


def test_uint8_is_divided_by_255_and_float_is_taken_as_it_is():
    np.testing.assert_allclose(as_pixels(np.array([0, 51, 255], "uint8")), [0, 0.2, 1], rtol=1e-6)
    np.testing.assert_array_equal(as_pixels(np.array([0.25, 1], "float32")), np.array([0.25, 1], "float32"))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16", "bool"])
def test_pixels_of_other_integers_are_refused(dtype):
    with pytest.raises(ValueError, match=rf"must be uint8, or floats in \[0, 1\]. Received: {dtype}"):
        as_pixels(np.array([0, 1], dtype))


def test_split_takes_its_first_examples_or_all():
    split = numbered(5)
    assert split.first(2).labels.tolist() == [0, 1]
    assert len(split.first(None)) == len(split) == 5


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_channel_statistics_are_in_the_unit_of_pixels(dtype):
    pixels = np.array([[0, 51], [102, 255]], "uint8")
    if dtype == "float32":
        pixels = (pixels / 255).astype(dtype)
    mean, std = channel_statistics(pixels)
    assert mean == pytest.approx(0.4, rel=1e-6)
    assert std == pytest.approx(np.sqrt(0.14), rel=1e-6)  # squared distances 0.16, 0.04, 0, 0.36
