"""Certificates of a linear network with noise on its pixels, for which the true radius is known."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.evaluation import Certificates, as_model_fn, certify, dp_radius, smoothing_radius
from rsr_tf.evaluation.certification import MEANS
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.layers import FeatureNoise

STD = 0.3
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(size=(200, 3, 3, 1)).astype("float32")
DIRECTION = RANDOM.normal(size=9).astype("float32")
MARGINS = (IMAGES.reshape(200, 9) - 0.5) @ DIRECTION
LABELS = (MARGINS < 0).astype("int32")


def network(scale=20.0, kind="gaussian", seed=0):
    """Two classes; with a large scale the softmax is nearly a vote."""
    inputs = keras.Input((3, 3, 1))
    dense = keras.layers.Dense(2)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(FeatureNoise(STD, kind, seed)(inputs))))
    weights = scale * np.stack([DIRECTION, -DIRECTION], axis=1)
    dense.set_weights([weights, -0.5 * weights.sum(0)])
    return as_model_fn(model)


@pytest.mark.slow
@pytest.mark.parametrize("of", MEANS)
def test_no_certificate_exceeds_the_distance_to_the_boundary(of):
    """The mean of a linear network under Gaussian noise changes its class where the network does.

    At so high a confidence no bound is wrong by chance.
    """
    found = certify(network(), IMAGES, LABELS, draws=2000, std=STD, of=of, confidence=1 - 1e-6)
    distance = np.abs(MARGINS) / np.linalg.norm(DIRECTION)
    for radii in found.radii.values():
        assert np.all(radii[found.predictions == LABELS] <= distance[found.predictions == LABELS])
        assert np.all(radii[found.predictions != LABELS] == 0)
    assert np.mean(found.radii["smoothing"] > 0.5 * distance) > 0.3
    assert np.all(found.radii["pixeldp"] <= found.radii["smoothing"])
    assert np.mean(found.radii["pixeldp"] > 0) > 0.3


def test_certificates_exceed_the_distance_no_more_often_than_allowed():
    found = certify(network(), IMAGES, LABELS, draws=500, std=STD, of="votes", confidence=0.9)
    too_large = found.radii["smoothing"] > np.abs(MARGINS) / np.linalg.norm(DIRECTION)
    assert 0 < np.mean(too_large) <= 0.1  # none at all would be too careful


def test_votes_are_shares_of_the_normal_distribution():
    found = certify(network(), IMAGES[:20], LABELS[:20], draws=2000, std=STD, of="votes")
    share = tf.math.ndtri(tf.constant(found.means[:, 0]))  # std of the estimate is below 0.07 where it is finite
    expected = MARGINS[:20] / (STD * np.linalg.norm(DIRECTION))
    near = np.abs(expected) < 1.5
    np.testing.assert_allclose(np.array(share)[near], expected[near], atol=0.2)
    np.testing.assert_allclose(found.means.sum(1), 1)


@pytest.mark.slow
def test_laplace_noise_certifies_the_l1_norm():
    found = certify(network(kind="laplace"), IMAGES, LABELS, draws=1000, std=STD, kind="laplace")
    distance = np.abs(MARGINS) / np.abs(DIRECTION).max()
    assert set(found.radii) == {"pixeldp"}
    assert found.as_dict()["norm"] == "l1"
    assert np.all(found.radii["pixeldp"] <= distance)
    assert np.mean(found.radii["pixeldp"] > 0) > 0.3


def test_classes_are_chosen_by_other_draws_than_those_of_the_bounds():
    """A network that changes its answer after the choice is certified for nothing."""
    calls = tf.Variable(0)

    def model_fn(x):
        first = tf.cast(calls.assign_add(1) <= 5, tf.float32)
        return tf.stack([first, 1 - first])[tf.newaxis] + tf.zeros((len(x), 1))

    found = certify(model_fn, IMAGES[:4], LABELS[:4], draws=100, std=STD, selection_draws=5, of="votes")
    assert found.predictions.tolist() == [0] * 4
    np.testing.assert_array_equal(found.means, [[0, 1]] * 4)
    assert found.radii["smoothing"].tolist() == [0] * 4


def test_every_image_has_as_many_draws_as_asked_for_also_in_a_short_batch():
    calls = tf.Variable(0)

    def model_fn(x):
        calls.assign_add(1)
        return tf.reshape(x, (-1, 9))[:, :2]

    found = certify(model_fn, IMAGES[:5], LABELS[:5], draws=7, std=STD, selection_draws=1, batch_size=4)
    assert int(calls) == 2 * (7 + 1)
    np.testing.assert_allclose(found.means, tf.nn.softmax(IMAGES.reshape(200, 9)[:5, :2].astype("float64")), rtol=1e-6)


@pytest.mark.parametrize("of", MEANS)
def test_bounds_hold_together_for_all_classes(of):
    """Of 10 classes each bound may be wrong with a tenth of 5 %."""
    logits = np.zeros((1, 10), "float32")
    logits[0, 3] = 20
    found = certify(lambda x: logits + tf.zeros((len(x), 1)), IMAGES[:2], [3, 3], draws=2000, std=STD, of=of)
    width = {"votes": 0.002646, "probabilities": 0.03639}[of]
    np.testing.assert_allclose(found.low, 1 - width, atol=1e-5)
    np.testing.assert_allclose(found.high, width, atol=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
def test_radii_are_those_of_the_bounds_of_the_two_likeliest_classes(kind):
    logits = np.log([[0.6, 0.15, 0.25]]).astype("float32")
    found = certify(lambda x: logits + tf.zeros((len(x), 1)), IMAGES[:1], [0], draws=2000, std=STD, kind=kind)
    width = np.sqrt(np.log(3 / 0.05) / 4000)
    low, high = 0.6 - width, 0.25 + width
    assert (*found.low, *found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    pure = STD / np.sqrt(2) / 2 * np.log(low / high)
    expected = {
        "gaussian": {"pixeldp": dp_radius(low, high, STD), "smoothing": smoothing_radius(low, high, STD)},
        "laplace": {"pixeldp": pure},
    }[kind]
    assert {name: float(radii[0]) for name, radii in found.radii.items()} == pytest.approx(expected, rel=1e-4)


def test_confidence_is_reached():
    """Of 400 certificates at 80 %, no more than chance allows beyond a fifth claims a mean that is too high."""
    images = np.full((400, 3, 3, 1), 0.5, "float32")
    model_fn = tf.function(lambda x: tf.random.uniform((len(x), 2)))  # each class has half of the votes
    found = certify(model_fn, images, np.zeros(400), draws=50, std=STD, of="votes", confidence=0.8, batch_size=400)
    assert np.mean(found.low > 0.5) <= 0.2
    assert np.mean(found.low > 0.45) > 0


@pytest.mark.parametrize("of", MEANS)
def test_answers_that_are_no_numbers_certify_nothing(of):
    found = certify(lambda x: tf.fill((len(x), 2), np.nan), IMAGES[:2], [0, 0], draws=50, std=STD, of=of)
    assert found.radii["smoothing"].tolist() == [0, 0]
    assert found.accuracy == 0


def by_hand():
    radii = {"pixeldp": np.array([0.3, 0.2, 0.0, 0.4]), "smoothing": np.array([0.5, 0.3, 0.1, 0.9])}
    means = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])
    labels, predictions = np.array([0, 1, 0, 1]), np.array([0, 1, 0, 0])
    return Certificates(labels, predictions, means, means.max(1), means.min(1), radii, {"draws": 5})


def test_certified_accuracy_counts_images_that_are_right_with_so_large_a_radius():
    found = by_hand()
    shares = [found.certified_accuracy("pixeldp", radius) for radius in (0, 0.2, 0.25, 0.35)]
    assert shares == [0.5, 0.5, 0.25, 0]
    assert found.certified_accuracy("smoothing", 0) == found.accuracy == 0.75


def test_table_is_json_with_intervals():
    found = by_hand().as_dict(radii=[0, np.float32(0.25)])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found.items() >= {"draws": 5, "num_images": 4, "accuracy": 0.75}.items()
    rows = [(row["method"], row["radius"], row["accuracy"]) for row in found["certified"]]
    assert rows == [("pixeldp", 0, 0.5), ("pixeldp", 0.25, 0.25), ("smoothing", 0, 0.75), ("smoothing", 0.25, 0.5)]
    assert found["certified"][1]["interval"] == list(wilson_interval(0.25, 4))
    assert found["median_radius"] == {"pixeldp": 0.25, "smoothing": 0.4}


def test_settings_of_a_measurement_are_in_the_table():
    found = certify(network(), IMAGES[:3], LABELS[:3], draws=1, std=np.float32(STD), selection_draws=1).as_dict()
    settings = {"draws": 1, "selection_draws": 1, "of": "probabilities", "confidence": 0.95, "kind": "gaussian"}
    assert found.items() >= (settings | {"norm": "l2", "sensitivity": 1.0}).items()
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": 0}, "`draws` must be an integer of at least 1. Received: draws=0"),
        ({"selection_draws": 0}, "`selection_draws` must be an integer of at least 1"),
        ({"of": "logits"}, r"`of` must be one of .* Received: of='logits'"),
        ({"kind": "uniform"}, r"`kind` must be one of .* Received: kind='uniform'"),
        ({"confidence": 1}, r"`confidence` must be in \(0, 1\). Received: confidence=1"),
        ({"std": 0}, "`std` must be a positive finite number. Received: std=0"),
    ],
)
def test_arguments_outside_their_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        certify(lambda x: x[:, 0, 0], IMAGES, LABELS, **{"draws": 5, "std": STD, "selection_draws": 1, **changes})
