"""Checks of arguments, images and labels, and that every evaluation makes them."""

import numpy as np
import pytest

from rsr_tf import evaluation
from rsr_tf.attacks.pgd import PGD
from rsr_tf.validation import check_batch, check_integers, checked, renamed_argument

IMAGES = np.random.default_rng(0).uniform(size=(4, 2, 2, 1)).astype("float32")
LABELS = np.array([0, 1, 1, 0])


def test_labels_of_keras_data_sets_are_taken():
    images, labels = checked(IMAGES.astype("float64"), LABELS[:, np.newaxis].astype("uint8"))
    assert images.dtype == np.float32
    assert (labels.dtype, labels.tolist()) == (np.int32, LABELS.tolist())


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "uint16", "int64", "float16", "float32", "float64"])
def test_class_numbers_may_have_any_type(dtype):
    _, labels = checked(IMAGES, LABELS.astype(dtype))
    assert (labels.dtype, labels.tolist()) == (np.int32, LABELS.tolist())


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float32"])
def test_a_batch_may_have_class_numbers_of_any_type(dtype):
    check_batch(IMAGES, LABELS.astype(dtype), classes=2)
    with pytest.raises(ValueError, match=r"`labels` must be in \[0, 0\]"):
        check_batch(IMAGES, LABELS.astype(dtype), classes=1)


def test_a_batch_with_fractions_for_class_numbers_is_refused():
    with pytest.raises(ValueError, match=r"whole numbers .* Received: float64 .*, from 0\.0 to 0\.5"):
        check_batch(IMAGES, LABELS / 2, classes=2)


@pytest.mark.parametrize("shape", [(4, 4), (4, 2, 2), (4, 2, 2, 1, 1)])
def test_images_of_any_rank_are_taken(shape):
    images, _ = checked(np.full(shape, 0.5), LABELS)
    assert (images.shape, images.dtype) == (shape, "float32")


WRONG = {
    "pixels of 0 to 255": (255 * IMAGES, LABELS, r"`images` must be in \[0, 1\]. Received: pixels from 0.* to 2"),
    "no number": (
        np.where(IMAGES < 0.5, np.nan, IMAGES),
        LABELS,
        r"`images` must be in .* Received: pixels from nan to nan",
    ),
    "fewer labels": (IMAGES, LABELS[:3], "equal in number, .* Received: 4 and 3"),
    "no image": (IMAGES[:0], LABELS[:0], "equal in number, .* Received: 0 and 0"),
    "a vector": (IMAGES[:, 0, 0, 0], LABELS, r"shape \(n, \.\.\.\).* Received: shape \(4,\)"),
    "images without pixels": (IMAGES[:, :0], LABELS, r"shape \(n, \.\.\.\).* Received: shape \(4, 0, 2, 1\)"),
    "one-hot labels": (
        IMAGES,
        np.eye(2, dtype=int)[LABELS],
        r"`labels` must be class numbers.* Received: int64 of shape \(4, 2\)",
    ),
    "labels that are fractions": (
        IMAGES,
        LABELS / 2,
        r"`labels` must be class numbers.* Received: float64 of shape \(4,\)",
    ),
    "labels with nan": (IMAGES, np.where(LABELS, np.nan, 0.0), "`labels` must be class numbers.*, from 0.0 to nan"),
    "labels of words": (IMAGES, np.array(["a", "b", "b", "a"]), "`labels` must be class numbers.*, from a to b"),
    "a negative label": (IMAGES, LABELS - 1, "`labels` must be class numbers.* Received: int64 .*, from -1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_images_and_labels_are_refused(wrong):
    images, labels, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        checked(images, labels)


def bright(x):
    """Class 1 for bright images."""
    means = np.array(x).mean(axis=(1, 2, 3))
    return np.stack([np.full_like(means, 0.5), means], axis=-1)


EVALUATIONS = {
    "run_suite": lambda images, labels: evaluation.run_suite(bright, images, labels),
    "run_zoo": lambda images, labels: evaluation.run_zoo({"stripped": bright}, images, labels),
    "zoo_attack": lambda images, labels: evaluation.zoo_attack(bright, images, labels),
    "evaluate_transfer": lambda images, labels: evaluation.evaluate_transfer(
        {"a": bright}, {"a": bright}, images, labels, attack=PGD()
    ),
    "evaluate_whitebox": lambda images, labels: evaluation.evaluate_whitebox(
        bright, images, labels, epsilon=0.1, step_size=0.1, steps=1
    ),
}


@pytest.mark.parametrize("evaluate", EVALUATIONS)
def test_every_evaluation_checks_its_images(evaluate):
    with pytest.raises(ValueError, match="`images` must be in"):
        EVALUATIONS[evaluate](255 * IMAGES, LABELS)


# Batches for training


def test_batch_of_numbers_columns_or_probabilities_is_accepted():
    for labels in (LABELS, LABELS[:, np.newaxis], np.eye(2)[LABELS], np.full((4, 2), 0.5)):
        assert check_batch(IMAGES, labels, classes=2) is None


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            255 * IMAGES,
            LABELS,
            r"`images` must be in \[0, 1\]. Received: pixels from .* to 2\d\d.* in the first batch; divide",
        ),
        (np.full((4, 2, 2, 1), np.nan), LABELS, "`images` must be in .* Received: pixels from nan to nan"),
        (IMAGES, LABELS + 1, r"`labels` must be in \[0, 1\], .* 2 logits. Received: labels from 1 to 2"),
        (IMAGES, LABELS - 1, r"`labels` must be in \[0, 1\], .* Received: labels from -1 to 0"),
    ],
)
def test_wrong_batch_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        check_batch(images, labels, classes=2)


# Arguments


def test_integers_below_the_bound_and_other_numbers_are_refused():
    assert check_integers(1, steps=1, restarts=5) is None
    for value in (0, 1.0, "1", None):
        with pytest.raises(ValueError, match=f"`steps` must be an integer of at least 1. Received: steps={value}"):
            check_integers(1, restarts=5, steps=value)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
def test_counts_may_be_integers_of_numpy(dtype):
    assert check_integers(1, steps=dtype(5)) is None
    with pytest.raises(ValueError, match=r"`steps` must be an integer of at least 1\. Received: steps=0"):
        check_integers(1, steps=dtype(0))


@renamed_argument("draws", "samples")
class Renamed:
    def __init__(self, size=1, *, samples=2):
        self.values = (size, samples)


def test_old_name_of_an_argument_still_works_and_warns():
    with pytest.warns(DeprecationWarning, match="`draws` is now called `samples`"):
        assert Renamed(3, draws=4).values == (3, 4)


def test_new_name_does_not_warn():
    assert Renamed(3, samples=4).values == (3, 4)
    assert Renamed().values == (1, 2)


def test_both_names_at_once_are_refused():
    with pytest.raises(TypeError, match="pass only `samples`"):
        Renamed(draws=4, samples=4)
