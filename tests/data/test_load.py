"""The function `load`: names, and the validation split."""

import numpy as np
import pytest

from rsr_tf.data import LOADERS, load


def rows(images):
    """Return the images as sorted bytes, to compare collections regardless of order."""
    return sorted(image.tobytes() for image in images)


def test_every_loader_is_named():
    assert tuple(LOADERS) == ("digits", "cifar10", "npz")


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
    with pytest.raises(ValueError, match=r"`name` must be one of \('digits', 'cifar10', 'npz'\).*name='mnist'"):
        load("mnist")
