import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from rsr_tf.data.base import CROP_PADDING, DataSet, Split, as_pixels, batches, load, steps_per_epoch, training_batches

CIFAR10 = Path(__file__).parent.parent.parent.parent / "shared" / "tfds"


def numbered(count, dtype="uint8", shape=(6, 5, 3)):
    """Random images without a single zero, and their own numbers as labels."""
    images = np.random.default_rng(0).integers(1, 256, (count, *shape)).astype("uint8")
    return Split(images if dtype == "uint8" else (images / 255).astype(dtype), np.arange(count))


def take(split, count, **options):
    """The first batches of a stream as lists of images and labels."""
    stream = training_batches(split, **{"batch_size": 4, "seed": 0} | options).take(count)
    x, y = zip(*stream.as_numpy_iterator(), strict=True)
    return np.stack(x), np.stack(y)


def rows(images):
    """Each image as bytes, in an order of their own: equal for equal collections."""
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


def test_splits_of_digits_are_the_whole_data_set_and_each_image_is_in_one():
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


def test_same_seed_holds_out_the_same_images():
    again = load("digits", seed=0)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(digits(), name).images, getattr(again, name).images)
        np.testing.assert_array_equal(getattr(digits(), name).labels, getattr(again, name).labels)


def test_other_seed_holds_out_other_images_but_keeps_the_test_split():
    other = digits(seed=1)
    assert rows(other.validation.images) != rows(digits().validation.images)
    np.testing.assert_array_equal(other.test.images, digits().test.images)


@pytest.mark.parametrize(("share", "held_out"), [(0.5, 674), (0.1, 135), (1e-9, 1)])
def test_validation_is_the_wanted_share_of_the_training_images(share, held_out):
    data_set = digits(validation=share)
    assert (len(data_set.validation), len(data_set.train)) == (held_out, 1347 - held_out)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_impossible_validation_share_is_refused(share):
    with pytest.raises(ValueError, match=rf"`validation` must be in \(0, 1\)\. Received: validation={share}"):
        load("digits", validation=share)


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"`name` must be one of \('digits', 'cifar10', 'npz'\).*name='mnist'"):
        load("mnist")


def arrays(count=10, dtype="float32"):
    x = np.random.default_rng(0).uniform(0, 255 if dtype == "uint8" else 1, (count, 4, 4, 2)).astype(dtype)
    return {"x_train": x, "y_train": np.arange(count) % 3, "x_test": x[:4], "y_test": np.arange(4) % 3}


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_npz_is_read(tmp_path, dtype):
    content = arrays(dtype=dtype)
    np.savez(tmp_path / "flowers.npz", **content)
    data_set = load("npz", directory=str(tmp_path / "flowers.npz"), validation=0.2)
    assert (data_set.title, data_set.class_names) == ("flowers", ("0", "1", "2"))
    assert (len(data_set.train), len(data_set.validation)) == (8, 2)
    assert data_set.train.images.dtype == ("uint8" if dtype == "uint8" else "float32")
    assert data_set.test.labels.dtype == np.int32
    scale = 255 if dtype == "uint8" else 1
    np.testing.assert_allclose(data_set.test.pixels(), content["x_test"] / scale, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"x_train": np.zeros((10, 4, 4))}, r"images \(10, 4, 4\) and labels \(10,\)"),
        ({"y_train": np.zeros((10, 3), "int32")}, r"labels \(10, 3\)"),
        ({"y_train": np.zeros(10)}, "uint8 or float and labels of integers. Received: .* and float64"),
        ({"x_train": np.zeros((10, 4, 4, 2), bool)}, "Received: bool and int64"),
        ({"y_test": np.zeros(3, "int32")}, r"images \(4, 4, 4, 2\) and labels \(3,\)"),
        (
            {"x_test": np.zeros((0, 4, 4, 2)), "y_test": np.zeros(0, int)},
            r"at least one. Received: images \(0, 4, 4, 2\)",
        ),
        ({"x_test": np.zeros((4, 6, 6, 2))}, r"of one shape. Received: \(4, 4, 2\) and \(6, 6, 2\)"),
        ({"y_train": np.arange(10) + 2**40}, r"labels must be in \[0, 100000\). Received: labels from 1099511627776"),
        ({"y_train": np.arange(10) - 1}, "Received: labels from -1 to 8"),
    ],
)
def test_npz_with_arrays_of_the_wrong_kind_is_refused(tmp_path, changes, finding):
    np.savez(tmp_path / "own.npz", **arrays() | changes)
    with pytest.raises(ValueError, match=rf"own.npz`.*{finding}"):
        load("npz", directory=tmp_path / "own.npz")


def test_npz_without_an_array_names_it(tmp_path):
    content = arrays()
    del content["y_test"]
    np.savez(tmp_path / "own.npz", **content)
    with pytest.raises(ValueError, match=r"with the arrays x_train, y_train, x_test, y_test\. .*y_test"):
        load("npz", directory=tmp_path / "own.npz")


@pytest.mark.parametrize("content", ["text", "nothing", "one array", "half"])
def test_npz_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays())
    half = path.read_bytes()[: path.stat().st_size // 2]
    if content == "one array":
        np.save(tmp_path / "one.npy", np.zeros(3))
        path.write_bytes((tmp_path / "one.npy").read_bytes())
    else:
        path.write_bytes({"text": b"not an archive", "nothing": b"", "half": half}[content])
    with pytest.raises(ValueError, match=r"own\.npz` must be an \.npz file with the arrays x_train, y_train"):
        load("npz", directory=path)


@pytest.mark.parametrize("directory", [None, "/nowhere/own.npz", "/"])
def test_missing_npz_says_what_is_wanted(directory):
    with pytest.raises(FileNotFoundError, match=r"`directory` must be the path of an \.npz file with x_train"):
        load("npz", directory=directory)


def test_missing_cifar10_folder_says_how_to_get_it():
    command = r"python -c \"import tensorflow_datasets as tfds; tfds\.load\('cifar10', data_dir='/nowhere'\)\""
    with pytest.raises(FileNotFoundError, match=f"Received: '/nowhere'. To get one: {command}"):
        load("cifar10", directory="/nowhere")


def test_empty_cifar10_folder_says_that_tfds_could_not_load_it(tmp_path):
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(FileNotFoundError, match=r"could not be loaded by TFDS; set `directory`.*Received: \w+: "):
        load("cifar10", directory=tmp_path)


@pytest.mark.skipif(not (CIFAR10 / "cifar10").is_dir(), reason=f"no prepared CIFAR-10 in {CIFAR10}")
def test_prepared_cifar10_is_whole_and_says_that_it_is_a_jpeg_copy():
    data_set = load("cifar10", directory=CIFAR10, validation=0.04)
    assert data_set.title == "CIFAR-10 (JPEG copy)"
    assert data_set.class_names[:3] == ("airplane", "automobile", "bird")
    assert [len(split) for split in (data_set.train, data_set.validation, data_set.test)] == [48000, 2000, 10000]
    for split in (data_set.train, data_set.validation, data_set.test):
        assert split.images.shape == (len(split), 32, 32, 3)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int32)
        assert len(split) == len(split.labels)
    assert np.bincount(data_set.test.labels).tolist() == [1000] * 10
    mean, std = data_set.pixel_statistics()
    np.testing.assert_allclose(mean, (0.4914, 0.4822, 0.4465), atol=0.01)
    np.testing.assert_allclose(std, (0.2470, 0.2435, 0.2616), atol=0.01)


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


def test_split_takes_its_first_examples_or_all():
    split = numbered(5)
    assert split.first(2).labels.tolist() == [0, 1]
    assert len(split.first(None)) == len(split) == 5


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
    """Every crop of the zero-padded images, and its mirror image: `(row, column, mirrored)` -> images."""
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
    """For each of 1,000 augmented images, which crops of its original it equals."""
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
def test_every_augmented_image_is_a_crop_of_the_padded_one_possibly_mirrored(dtype):
    x, hits = drawn_crops(dtype)
    assert (x.dtype, x.shape) == (np.float32, (1, 1000, 5, 5, 1))
    assert x.min() == 0
    assert x.max() <= 1
    assert all(hits)


def test_every_offset_is_drawn_and_an_image_may_come_out_as_it_went_in():
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
