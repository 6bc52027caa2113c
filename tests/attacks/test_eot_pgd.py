"""What is particular to EOT-PGD; `test_gradient_attack.py` holds what it shares with APGD."""

import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent
from linear_networks import linear_classifier, random_images

from rsr_tf import evaluation
from rsr_tf.attacks import EOTPGD


def test_any_number_of_samples_is_one_for_a_network_without_noise():
    model_fn, _, _ = linear_classifier(10)
    x, labels = random_images(8), np.arange(8, dtype="int32")
    one, many = (
        EOTPGD(steps=5, eot_samples=samples, random_start=False)(model_fn, x, labels).numpy() for samples in (1, 7)
    )
    np.testing.assert_allclose(one, many, atol=1e-6)


def test_one_sample_from_the_image_itself_is_cleverhans_pgd():
    """On a linear network the loss rises with every step, so the best point is the last."""
    model_fn, _, _ = linear_classifier(10)
    x, labels = random_images(8), np.argmax(linear_classifier(10)[0](random_images(8)), -1).astype("int32")
    ours = EOTPGD(epsilon=0.03, step_size=0.01, steps=7, eot_samples=1, random_start=False)(model_fn, x, labels)
    theirs = projected_gradient_descent(
        model_fn, tf.constant(x), 0.03, 0.01, 7, np.inf, y=labels, rand_init=False, clip_min=0.0, clip_max=1.0
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_restarts_never_help_the_defender_and_start_elsewhere():
    x, labels = np.full((1, 1, 1, 1), 0.5, "float32"), np.array([0], "int32")

    def two_peaks(x):  # a low one in reach of every start below 0.52, a high one above
        pixel = x[:, 0, 0]
        height = tf.where(pixel < 0.52, 1 - tf.abs(pixel - 0.3), 5 - tf.abs(pixel - 0.7))
        return tf.concat([tf.zeros_like(height), height], -1)

    def found(restarts):
        attack = EOTPGD(epsilon=0.3, steps=3, step_size=0.01, eot_samples=1, restarts=restarts)
        return attack(two_peaks, x, labels, seed=3).numpy().item()

    starts = {found(1), found(8)}
    assert len(starts) == 2
    assert found(8) > 0.52


def test_a_seed_repeats_the_attack_and_another_does_not():
    model_fn, _, _ = linear_classifier(10)
    x, labels = random_images(4), np.arange(4, dtype="int32")
    attack = EOTPGD(steps=1, step_size=0.001, eot_samples=1)
    first, again, other = (attack(model_fn, x, labels, seed=seed).numpy() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_default_step_size_follows_the_rule_and_stays_in_the_ball():
    assert EOTPGD(epsilon=0.1, steps=10).get_config()["step_size"] == pytest.approx(0.025)
    assert EOTPGD(epsilon=0.1, steps=1).get_config()["step_size"] == pytest.approx(0.1)


def test_pgd_refuses_a_step_backwards():
    with pytest.raises(ValueError, match=r"`step_size` must be positive. Received: step_size=-0.1"):
        EOTPGD(step_size=-0.1)


def test_adaptive_pgd_is_its_name_up_to_version_0_2_0():
    assert evaluation.AdaptivePGD is EOTPGD
