"""A mistake in the test images or labels is told by every evaluation, and never counted as robustness."""

import numpy as np
import pytest

from rsr_tf import evaluation
from rsr_tf.attacks.pgd import PGD
from rsr_tf.validation import checked

IMAGES = np.random.default_rng(0).uniform(size=(4, 2, 2, 1)).astype("float32")
LABELS = np.array([0, 1, 1, 0])


def test_labels_of_keras_data_sets_are_taken():
    images, labels = checked(IMAGES.astype("float64"), LABELS[:, np.newaxis].astype("uint8"))
    assert images.dtype == np.float32
    assert (labels.dtype, labels.tolist()) == (np.int32, LABELS.tolist())


WRONG = {
    "pixels of 0 to 255": (255 * IMAGES, LABELS, r"Pixels must be in \[0, 1\]. Received: "),
    "no number": (np.where(IMAGES < 0.5, np.nan, IMAGES), LABELS, r"Pixels must be in \[0, 1\]. Received: nan to nan"),
    "fewer labels": (IMAGES, LABELS[:3], "equal in number, at least one. Received: 4 and 3"),
    "no image": (IMAGES[:0], LABELS[:0], "equal in number, at least one. Received: 0 and 0"),
    "flat images": (IMAGES.reshape(4, 4), LABELS, r"shape \(n, h, w, c\). Received: shape \(4, 4\)"),
    "one-hot labels": (IMAGES, np.eye(2, dtype=int)[LABELS], r"class numbers .* Received: int64 of shape \(4, 2\)"),
    "labels of float": (IMAGES, LABELS / 1, r"class numbers .* Received: float64 of shape \(4,\)"),
    "a negative label": (IMAGES, LABELS - 1, "class numbers from 0 on"),
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
def test_every_evaluation_looks(evaluate):
    with pytest.raises(ValueError, match="Pixels must be in"):
        EVALUATIONS[evaluate](255 * IMAGES, LABELS)
