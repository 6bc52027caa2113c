import os

import numpy as np
import pytest
import tensorflow as tf
from image_folders import random_images, write_classes, write_image

from rsr_tf.data import StoredImages, load
from rsr_tf.data.folder import ImageFiles


def names_of(images):
    """Return class and file name of stored images."""
    return ["/".join(images.store.name(number).split("/")[-2:]) for number in images.numbers]


def test_files_of_three_splits_become_images_with_the_labels_of_sorted_classes(tmp_path):
    images = random_images(6)
    places = [
        "train/b/1.png",
        "train/a/2.PNG",
        "test/a/1.png",
        "test/b/1.png",
        "validation/a/x.png",
        "validation/b/x.png",
    ]
    for place, image in zip(places, images, strict=True):
        write_image(tmp_path / "toys" / f"{place}.{'PNG' if place == 'train/a/2' else 'png'}", image)
    (tmp_path / "toys" / "train" / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "toys" / ".cache").mkdir()
    found = load("folder", directory=tmp_path / "toys")
    assert (found.title, found.class_names, found.image_shape) == ("toys", ("a", "b"), (8, 8, 1))
    for split, expected in ((found.train, images[[1, 0]]), (found.test, images[2:4]), (found.validation, images[4:])):
        np.testing.assert_array_equal(split.images, expected)
        assert (split.images.dtype, split.labels.dtype, split.labels.tolist()) == (np.uint8, np.int32, [0, 1])


def test_files_whose_name_begins_with_a_dot_are_left_out(tmp_path):
    """macOS writes `._1.png` beside `1.png` on foreign disks and in archives; it is no image."""
    write_classes(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "._001.png").write_bytes(b"\0\5\x16\7 AppleDouble")
    found = load("folder", directory=tmp_path, validation=0.25)
    assert sum(map(len, (found.train, found.validation, found.test))) == 6


def test_without_validation_folder_training_images_are_held_out(tmp_path):
    for split in ("train", "test"):
        write_classes(tmp_path / split, {"a": 10, "b": 10})
    found = load("folder", directory=tmp_path, validation=0.2)
    assert [len(split) for split in (found.train, found.validation, found.test)] == [16, 4, 20]


def test_class_folders_alone_are_split_with_the_same_share_of_each_class(tmp_path):
    write_classes(tmp_path, {"few": 5, "many": 40})
    found = load("folder", directory=tmp_path, test=0.2, validation=0.25, cache="stream")
    assert np.bincount(found.test.labels).tolist() == [1, 8]
    assert (len(found.train), len(found.validation)) == (27, 9)
    files = [name for split in (found.train, found.validation, found.test) for name in names_of(split.images)]
    assert len(set(files)) == 45
    for split in (found.train, found.validation, found.test):
        assert [found.class_names[label] for label in split.labels] == [
            name.split("/")[0] for name in names_of(split.images)
        ]


def test_another_seed_holds_out_others_but_tests_on_the_same_images(tmp_path):
    write_classes(tmp_path, {"a": 20, "b": 20})
    first, second = (load("folder", directory=tmp_path, seed=seed, cache="stream") for seed in (0, 1))
    assert names_of(first.test.images) == names_of(second.test.images)
    assert set(names_of(first.validation.images)) != set(names_of(second.validation.images))


def test_file_that_comes_or_goes_makes_no_test_images_of_training_images(tmp_path):
    """A broken image that is removed, or one that is added, must not let a trained network see what it is tested on."""
    write_classes(tmp_path, {"a": 40, "b": 40})
    before = set(names_of(load("folder", directory=tmp_path, cache="stream").test.images))
    first = min(name for name in before if name.startswith("a/"))
    for change in (lambda: write_image(tmp_path / "a" / "!.png", random_images(1)[0]), (tmp_path / first).unlink):
        change()
        after = set(names_of(load("folder", directory=tmp_path, cache="stream").test.images))
        assert len(after) == 16
        assert len(after - before) <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_channels_are_those_of_the_file(tmp_path, suffix, channels):
    image = np.full((6, 5, channels), 200, "uint8")
    write_image(tmp_path / f"one.{suffix}", image)
    np.testing.assert_allclose(ImageFiles([tmp_path / f"one.{suffix}"], None).read(0), image, atol=2)


def test_bmp_is_read(tmp_path):
    """By hand: one row of a blue and a red pixel, padded to eight bytes."""
    header = b"BM" + (62).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    info = [(40, 4), (2, 4), (1, 4), (1, 2), (24, 2), (0, 4), (8, 4), (0, 4), (0, 4), (0, 4), (0, 4)]
    content = header + b"".join(value.to_bytes(size, "little") for value, size in info)
    (tmp_path / "two.bmp").write_bytes(content + bytes([255, 0, 0, 0, 0, 255, 0, 0]))
    assert ImageFiles([tmp_path / "two.bmp"], None).read(0).tolist() == [[[0, 0, 255], [255, 0, 0]]]


@pytest.mark.parametrize("gray", [True, False])
def test_bmp_whose_bytes_are_numbers_of_colors_is_refused(tmp_path, gray):
    """TensorFlow gives these numbers for the pixels, which is right for a palette of grays alone. One pixel by hand."""
    header = b"BM" + (1082).to_bytes(4, "little") + bytes(4) + (1078).to_bytes(4, "little")
    info = [(40, 4), (1, 4), (1, 4), (1, 2), (8, 2), (0, 4), (4, 4), (0, 4), (0, 4), (256, 4), (0, 4)]
    palette = b"".join(bytes([number, number if gray else 7, number, 0]) for number in range(256))
    content = header + b"".join(value.to_bytes(size, "little") for value, size in info) + palette
    (tmp_path / "one.bmp").write_bytes(content + bytes([100, 0, 0, 0]))
    files = ImageFiles([tmp_path / "one.bmp"], None)
    if gray:
        assert files.read(0).tolist() == [[[100]]]
    else:
        with pytest.raises(ValueError, match=r"expected a BMP without a palette of colors\. Received: 256 colors"):
            files.read(0)


def test_images_of_different_sizes_are_resized_by_the_stated_definition(tmp_path):
    for place, size in (("train/a", 8), ("train/b", 12), ("test/a", 20), ("test/b", 7)):
        write_image(tmp_path / place / "1.png", random_images(1, (size, size + 1, 3))[0])
    found = load("folder", directory=tmp_path, resize=[8, 9], validation=0.5, cache="stream")
    assert found.image_shape == (8, 9, 3)
    original = random_images(1, (20, 21, 3))[0].astype("float32")
    expected = np.round(tf.image.resize(original, (8, 9), "bilinear", antialias=True)).clip(0, 255)
    np.testing.assert_array_equal(found.test.images.gather([0])[0], expected)


def test_image_of_another_size_is_named_when_it_is_read(tmp_path):
    write_classes(tmp_path / "train", {"a": 2, "b": 2})
    write_classes(tmp_path / "test", {"a": 1, "b": 1})
    write_image(tmp_path / "train" / "b" / "001.png", np.zeros((8, 9, 1), "uint8"))
    message = r"image .*train/b/001.png: expected the shape \(8, 8, 1\).*`resize` makes.*Received: \(8, 9, 1\)"
    with pytest.raises(ValueError, match=message):
        load("folder", directory=tmp_path)
    assert isinstance(load("folder", directory=tmp_path, cache="stream").train.images, StoredImages)


def test_gray_image_among_colored_ones_is_named(tmp_path):
    write_classes(tmp_path, {"a": 3, "b": 3}, (8, 8, 3))
    write_image(tmp_path / "b" / "001.png", np.zeros((8, 8, 1), "uint8"))
    with pytest.raises(ValueError, match=r"b/001.png: expected the shape \(8, 8, 3\) of the first image\. Received"):
        load("folder", directory=tmp_path, resize=(8, 8))


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("text", b"not an image", "Unknown image file format"),
        ("nothing", b"", "mpty"),
        ("half", None, "PNG"),
        ("alpha", tf.io.encode_png(np.zeros((8, 8, 4), "uint8")).numpy(), r"gray .* or RGB .*Received: 4 channels"),
    ],
)
def test_unreadable_image_is_named(tmp_path, name, content, finding):
    write_classes(tmp_path, {"a": 3, "b": 3})
    path = tmp_path / "b" / "001.png"
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    with pytest.raises(ValueError, match=f"cannot read the image {path}: .*{finding}") as caught:
        load("folder", directory=tmp_path)
    assert "{{" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": ["a", "b"], "test": ["a", "c"]}, r"`train` and `test` must have the same.*`b` in `train` alone"),
        ({"train": ["a", "b"], "test": ["a", "b", "c"]}, "`c` in `test` alone"),
        ({"train": ["a", "b"], "test": ["a", "b"], "validation": ["a", "c"]}, "`train` and `validation` .*`b` in"),
        ({"train": ["a"], "test": ["a"]}, r"subfolder for each of two classes or more. Received: \['a'\]"),
        ({"train": ["a", "b"], "validation": ["a", "b"]}, "the class folder .*train must hold PNG, JPEG or BMP"),
    ],
)
def test_splits_that_do_not_fit_are_refused(tmp_path, splits, message):
    for split, classes in splits.items():
        write_classes(tmp_path / split, dict.fromkeys(classes, 2))
    with pytest.raises(ValueError, match=message):
        load("folder", directory=tmp_path)


def test_class_folder_whose_name_is_no_text_is_refused(tmp_path):
    """Archives of Windows hold names in its own encodings; results could be written with them, but not read."""
    write_classes(tmp_path, {"a": 3, "b": 3})
    os.rename(os.fsencode(tmp_path / "b"), os.fsencode(tmp_path) + b"/caf\xe9")
    with pytest.raises(ValueError, match=r"must have names in UTF-8\. Received: b'caf\\xe9'"):
        load("folder", directory=tmp_path)


@pytest.mark.parametrize("directory", [None, "", "/nowhere"])
def test_missing_folder_is_refused(directory):
    with pytest.raises(FileNotFoundError, match=rf"subfolder for each class\. Received: '{directory or ''}'"):
        load("folder", directory=directory)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"test": 1.0}, r"`test` must be in \(0, 1\)"), ({"cache": "disk"}, "`cache` must be one of .*cache='disk'")],
)
def test_wrong_option_is_refused(tmp_path, options, message):
    write_classes(tmp_path, {"a": 3, "b": 3})
    with pytest.raises(ValueError, match=message):
        load("folder", directory=tmp_path, **options)


def test_class_of_one_image_cannot_be_split(tmp_path):
    write_classes(tmp_path, {"a": 3, "b": 1})
    with pytest.raises(ValueError, match="b must hold two images, to train and to test"):
        load("folder", directory=tmp_path)
