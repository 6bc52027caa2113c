"""What EOT-PGD and APGD share, against the exact worst case of linear networks."""

import json

import numpy as np
import pytest
import tensorflow as tf
from linear_networks import exact_robust, linear_classifier, random_images

from rsr_tf.attacks import APGD, EOTPGD


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
@pytest.mark.parametrize("kind", [EOTPGD, APGD])
def test_the_exact_worst_case_of_two_classes_is_met_and_not_passed(kind, loss):
    assert_exact(2, [kind(epsilon=0.05, steps=20, eot_samples=1, loss=loss)])


@pytest.mark.slow
@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize("kind", [EOTPGD, APGD])
def test_the_exact_worst_case_of_many_classes_is_met_by_two_losses(kind, classes):
    """One ascent of the cross-entropy ends at the wrong class for up to 4 % of these images, however linear."""
    settings = {"epsilon": 0.05, "steps": 40, "eot_samples": 1, "restarts": 5}
    assert_exact(classes, [kind(**settings), kind(**settings, loss="dlr")])


def assert_exact(classes, attacks):
    """Together, the attacks break just the images that some point of the ball breaks, to 0.5 points."""
    model_fn, weights, bias = linear_classifier(classes)
    x = random_images(400)
    labels = np.argmax(model_fn(x), -1).astype("int32")
    robust = np.ones(len(x), bool)
    for attack in attacks:
        x_adv = tf.function(attack)(model_fn, x, labels, seed=0).numpy()
        robust &= np.argmax(model_fn(x_adv), -1) == labels
        assert np.abs(x_adv - x).max() <= 0.05 + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
    exact = exact_robust(x, labels, weights, bias, 0.05)
    assert 0.1 < exact.mean() < 0.9
    assert np.all(robust >= exact)
    assert robust.mean() - exact.mean() <= 0.005 + 1e-9


@pytest.mark.parametrize("kind", [EOTPGD, APGD])
def test_the_exact_worst_case_in_l2_is_met(kind):
    """Far from the box, epsilon in the direction of the difference of the weights is the worst."""
    model_fn, weights, bias = linear_classifier(2)
    x = (0.5 + 0.05 * (random_images(400) - 0.5)).astype("float32")
    labels = np.argmax(model_fn(x), -1).astype("int32")
    epsilon = 0.02
    x_adv = kind(epsilon=epsilon, norm="l2", eot_samples=1)(model_fn, x, labels, seed=0).numpy()
    margin = np.abs(x.reshape(-1, 36) @ (weights[:, 1] - weights[:, 0]) + bias[1] - bias[0])
    exact = margin > epsilon * np.linalg.norm(weights[:, 1] - weights[:, 0])
    robust = np.argmax(model_fn(x_adv), -1) == labels
    assert np.linalg.norm((x_adv - x).reshape(-1, 36), axis=1).max() <= epsilon * (1 + 1e-4)
    assert abs(robust.mean() - exact.mean()) <= 0.005 + 1e-9


@pytest.mark.parametrize("kind", [EOTPGD, APGD])
def test_labels_of_any_integer_type_are_the_same(kind):
    model_fn, _, _ = linear_classifier(3)
    attack = kind(steps=3, eot_samples=1, random_start=False)
    short, long = (attack(model_fn, random_images(3), np.arange(3, dtype=dtype)) for dtype in ("int32", "int64"))
    np.testing.assert_array_equal(short, long)


def test_an_image_does_not_depend_on_its_neighbours():
    model_fn, _, _ = linear_classifier(10)
    x, labels = random_images(4), np.arange(4, dtype="int32")
    for kind in (EOTPGD, APGD):
        attack = kind(steps=20, eot_samples=1, random_start=False)
        together, alone = attack(model_fn, x, labels).numpy(), attack(model_fn, x[2:3], labels[2:3]).numpy()
        np.testing.assert_allclose(together[2:3], alone, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [EOTPGD, APGD])
def test_more_steps_samples_and_restarts_need_no_more_traces(kind):
    def traces(**settings):
        calls = []

        def model_fn(x):
            calls.append(1)
            return linear_classifier(3)[0](x)

        tf.function(kind(**settings))(model_fn, random_images(2), np.array([0, 1], "int32"), seed=0)
        return len(calls)

    assert traces(steps=2, eot_samples=2, restarts=1) == traces(steps=9, eot_samples=5, restarts=4)


@pytest.mark.parametrize("kind", [EOTPGD, APGD])
def test_config_is_json_and_complete(kind):
    config = kind(epsilon=0.1, steps=10).get_config()
    assert json.loads(json.dumps(config)) == config
    assert kind(**config).get_config() == config


@pytest.mark.parametrize("kind", [EOTPGD, APGD])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 8}, r"`epsilon` must be in \(0, 1\]. Received: epsilon=8"),
        ({"epsilon": 0, "norm": "l2"}, r"`epsilon` must be positive"),
        ({"norm": "l1"}, r"`norm` must be one of \('linf', 'l2'\). Received: norm='l1'"),
        ({"loss": "hinge"}, r"`loss` must be one of \('cross_entropy', 'dlr'\). Received: loss='hinge'"),
        ({"steps": 0}, r"`steps` must be an integer of at least 1. Received: steps=0"),
        ({"eot_samples": 0.5}, r"`eot_samples` must be an integer of at least 1. Received: eot_samples=0.5"),
        ({"restarts": 0}, r"`restarts` must be an integer of at least 1. Received: restarts=0"),
    ],
)
def test_impossible_settings_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)
