"""Attacks on inputs that are not of shape (n, h, w, c), against the same attack on the same numbers as images."""

import numpy as np
import pytest
import tensorflow as tf
from linear_networks import linear_classifier, random_images

from rsr_tf.attacks import APGD, EOTPGD, FGSM, PGD, HopSkipJump, Square
from rsr_tf.attacks.baselines import RandomSigns

ATTACKS = {
    f"{kind.__name__}, {norm}": kind(epsilon=epsilon, norm=norm, **settings)
    for norm, epsilon in (("linf", 0.05), ("l2", 0.2))
    for kind, settings in (
        (FGSM, {}),
        (PGD, {"steps": 4, "step_size": 0.02}),
        (EOTPGD, {"steps": 4, "eot_samples": 2, "restarts": 2}),
        (APGD, {"steps": 8, "eot_samples": 2, "restarts": 2}),
        (APGD, {"steps": 8, "eot_samples": 1, "loss": "dlr", "random_start": False}),
    )
} | {
    "HopSkipJump": HopSkipJump(epsilon=0.05, iterations=3, initial_samples=8, starts=4),
    "random noise": RandomSigns(0.05),
}


@pytest.mark.parametrize("shape", [(36,), (9, 4), (3, 2, 3, 2)], ids=str)
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_does_to_inputs_of_any_rank_what_it_does_to_images(name, shape):
    model_fn, _, _ = linear_classifier(3)  # flattens its inputs
    images = random_images(8)
    labels = np.argmax(model_fn(images), axis=-1).astype("int32")
    attack = ATTACKS[name]
    expected = attack(model_fn, images, labels, seed=0).numpy()
    found = tf.function(attack)(model_fn, images.reshape(8, *shape), labels, seed=0)
    assert found.shape == (8, *shape)
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, atol=1e-5)
    assert np.any(expected != images)


@pytest.mark.parametrize("shape", [(36,), (9, 4), (1, 6, 6, 1)], ids=str)
def test_square_says_that_it_needs_images(shape):
    model_fn, _, _ = linear_classifier(3)
    with pytest.raises(ValueError, match=r"`x` must be of shape \(n, h, w, c\), as .* Received: shape \(2, "):
        Square(queries=2)(model_fn, np.zeros((2, *shape), "float32"), np.array([0, 1]))
