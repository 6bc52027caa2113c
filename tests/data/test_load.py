"""The function `load`: names, and the validation split."""

import numpy as np
import pytest

from rsr_tf.data import LOADERS, DataSet, Split, load


def rows(images):
    """Return the images as sorted bytes, to compare collections regardless of order."""
    return sorted(image.tobytes() for image in images)


def test_every_loader_is_named():
    assert tuple(LOADERS) == ("digits", "cifar10", "npz", "folder", "tfds:NAME")


def test_same_seed_holds_out_the_same_images():
    again = load("digits", seed=0)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(load("digits"), name).images, getattr(again, name).images)
        np.testing.assert_array_equal(getattr(load("digits"), name).labels, getattr(again, name).labels)


def test_other_seed_holds_out_other_images_but_keeps_the_test_split():
    other = load("digits", seed=1)
    assert rows(other.validation.images) != rows(load("digits").validation.images)
    np.testing.assert_array_equal(other.test.images, load("digits").test.images)


@pytest.mark.parametrize(("share", "held_out"), [(0.5, 674), (0.1, 135), (1e-9, 1)])
def test_validation_is_the_given_share_of_the_training_images(share, held_out):
    data_set = load("digits", validation=share)
    assert (len(data_set.validation), len(data_set.train)) == (held_out, 1347 - held_out)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_impossible_validation_share_is_refused(share):
    with pytest.raises(ValueError, match=rf"`validation` must be in \(0, 1\)\. Received: validation={share}"):
        load("digits", validation=share)


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"`name` must be one of \('digits', 'cifar10', 'npz', 'folder', 'tfds:NAME'\).*name='mnist'"
    ):
        load("mnist")


def test_single_class_is_refused(tmp_path):
    images, labels = np.full((20, 8, 8, 1), 9, "uint8"), np.zeros(20, int)
    np.savez(tmp_path / "one.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(ValueError, match=r"`npz` must have two classes or more\. Received: \('0',\)"):
        load("npz", directory=tmp_path / "one.npz")


def test_share_that_leaves_no_training_image_is_refused():
    with pytest.raises(ValueError, match=r"`validation` must leave .* of the 1347 .*\. Received: validation=0.9999"):
        load("digits", validation=0.9999)


def toys(directory, *, size=2):
    split = Split(np.zeros((10, size, size, 1), "uint8"), np.arange(10))
    return DataSet(f"toys of {directory}", split, None, split, tuple("0123456789"))


def test_a_new_source_is_one_row_and_its_keywords_are_its_options(monkeypatch):
    monkeypatch.setitem(LOADERS, "toys", toys)
    found = load("toys", directory="here", validation=0.3, size=5)
    assert (found.title, found.image_shape, len(found.train), len(found.validation)) == (
        "toys of here",
        (5, 5, 1),
        7,
        3,
    )
    with pytest.raises(ValueError, match=r"`size` is used by toys\. Received: 5 with digits"):
        load("digits", size=5)
    with pytest.raises(ValueError, match=r"`weight` is used by no source\. Received: 1 with toys"):
        load("toys", weight=1)


def test_validation_images_of_a_source_are_kept(monkeypatch):
    own = Split(np.ones((4, 2, 2, 1), "uint8"), np.arange(4))
    monkeypatch.setitem(LOADERS, "toys", lambda directory: DataSet("toys", own, own, own, tuple("0123")))
    assert load("toys").validation is own
    assert len(load("toys").train) == 4


def test_a_row_may_stand_for_any_name(monkeypatch):
    monkeypatch.setitem(LOADERS, "shelf:NAME", lambda name, directory: toys(f"{directory}/{name}"))
    assert load("shelf:books", directory="d").title == "toys of d/books"
    for wrong in ("shelf", "shelf:", "digits:books"):
        with pytest.raises(ValueError, match=rf"`name` must be one of .*'shelf:NAME'.*Received: name='{wrong}'"):
            load(wrong)
