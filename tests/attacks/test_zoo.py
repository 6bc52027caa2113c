import json
import math

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.evaluation import TIERS, ZOOSettings, expected_queries, zoo_attack

SHAPE = (12, 12, 1)  # 144 coordinates, of which an iteration takes 128
SIZE = math.prod(SHAPE)
FAST = {"binary_steps": 2, "iterations": 60, "initial_c": 10.0}


@pytest.fixture
def linear():
    """Scores of a linear classifier in NumPy, each row by itself, and grey images that it gets right."""
    random = np.random.default_rng(0)
    weights = random.normal(size=(SIZE, 3))
    weights -= weights.mean(axis=0)  # no class is favoured by grey images
    images = random.uniform(0.3, 0.7, (9, *SHAPE)).astype("float32")

    def scores(x):
        return (x.reshape(-1, SIZE, 1).astype(float) * weights).sum(axis=1)

    return scores, images, scores(images).argmax(1)


def watched(scores):
    """A scores function that remembers how many images each call had."""
    calls = []

    def watching(x):
        calls.append(len(x))
        return scores(x)

    return watching, calls


def constant(x):
    """Scores that no image changes: class 0 is 2 ahead."""
    return np.tile([2.0, 0.0], (len(x), 1))


# The attack


@pytest.mark.slow
def test_perturbations_have_both_signs_and_stay_in_the_box(linear):
    scores, images, labels = linear
    result = zoo_attack(scores, images, labels, settings=ZOOSettings(**FAST))
    assert result.success.all()
    assert (scores(result.adversarial).argmax(1) != labels).all()
    change = (result.adversarial - images).reshape(9, -1)
    assert (change.max(1) > 0.004).all()
    assert (change.min(1) < -0.004).all()
    assert ((np.abs(change) > 1e-4).mean(1) > 0.8).all(), "every coordinate has its turn"
    assert result.adversarial.min() >= 0
    assert result.adversarial.max() <= 1
    assert result.adversarial.dtype == np.float32
    np.testing.assert_allclose(result.l2, np.sqrt((change**2).sum(1)), rtol=1e-5)
    np.testing.assert_allclose(result.linf, np.abs(change).max(1), rtol=1e-5)


@pytest.mark.slow
def test_distance_nears_the_least_possible_one(linear):
    """The nearest image of another class of a linear classifier lies on a hyperplane, straight ahead."""
    scores, images, labels = linear
    result = zoo_attack(scores, images[:2], labels[:2], settings=ZOOSettings(binary_steps=6, iterations=300))
    least = []
    for image, label in zip(images, labels, strict=True):
        base = scores(image[np.newaxis])[0]
        columns = np.stack([scores(unit[np.newaxis])[0] for unit in np.eye(SIZE)])
        others = [other for other in range(3) if other != label]
        least.append(min((base[label] - base[k]) / np.linalg.norm(columns[:, label] - columns[:, k]) for k in others))
    assert (result.l2 >= np.array(least[:2]) - 1e-5).all()
    np.testing.assert_allclose(result.l2, least[:2], rtol=0.05)


def test_a_network_with_small_logits_needs_a_larger_c(linear):
    """The image whose class is farthest ahead: the first steps of ADAM, whatever c, do not carry it across."""
    scores, images, labels = linear
    far = [np.ptp(np.sort(scores(images))[:, -2:], axis=1).argmax()]

    def success(binary_steps):
        settings = ZOOSettings(binary_steps=binary_steps, iterations=60)
        return zoo_attack(lambda x: 1e-3 * scores(x), images[far], labels[far], settings=settings).success[0]

    assert not success(3)
    assert success(6)


@pytest.mark.slow
@pytest.mark.parametrize("group", [1, 8])
def test_grouping_and_splitting_do_not_change_the_trajectory(linear, group):
    scores, images, labels = linear
    labels[3] = (labels[3] + 1) % 3  # wrong already: its place in the group is taken by the next
    settings = ZOOSettings(**FAST, patience=20)
    whole = zoo_attack(scores, images, labels, settings=settings, group=3)
    parts = [
        zoo_attack(scores, images[part], labels[part], settings=settings, group=group, indices=part)
        for part in (np.arange(8), np.array([8]))
    ]
    assert whole.success.sum() == 8
    for name in ("adversarial", "queries", "l2", "success", "attacked"):
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))


def test_every_image_and_every_seed_has_a_stream_of_its_own(linear):
    scores, images, labels = linear
    twins = [images[[0, 0]], labels[[0, 0]]]

    def adversarial(seed, indices):
        settings = ZOOSettings(**FAST, coordinates=100, seed=seed)
        return zoo_attack(scores, *twins, settings=settings, indices=indices).adversarial

    first, other_seed, same = adversarial(0, [0, 1]), adversarial(1, [0, 1]), adversarial(0, [1, 1])
    assert np.abs(first[0] - first[1]).max() > 1e-4
    assert np.abs(first[0] - other_seed[0]).max() > 1e-4
    np.testing.assert_array_equal(same[0], same[1])
    np.testing.assert_array_equal(same[0], first[1])


def test_one_call_holds_257_images_for_every_image_of_the_group(linear):
    scores, images, labels = linear
    scores, calls = watched(scores)
    zoo_attack(scores, images[:5], labels[:5], settings=ZOOSettings(binary_steps=1, iterations=3), group=4)
    assert calls == [4, *3 * [4 * 257], 1, *3 * [257]]


@pytest.mark.slow
def test_images_that_are_wrong_are_not_attacked(linear):
    scores, images, labels = linear
    labels[[1, 4]] = (labels[[1, 4]] + 1) % 3
    result = zoo_attack(scores, images, labels, settings=ZOOSettings(**FAST))
    np.testing.assert_array_equal(np.flatnonzero(~result.attacked), [1, 4])
    np.testing.assert_array_equal(np.flatnonzero(~result.success), [1, 4])
    np.testing.assert_array_equal(result.queries[[1, 4]], 1)
    np.testing.assert_array_equal(result.adversarial[[1, 4]], images[[1, 4]])
    assert np.isnan(result.l2[[1, 4]]).all()


def test_constant_scores_end_the_attack_after_twice_the_patience():
    images = np.full((2, *SHAPE), 0.5, "float32")
    settings = ZOOSettings(binary_steps=3, iterations=1000, patience=10, coordinates=2)
    result = zoo_attack(constant, images, np.zeros(2, int), settings=settings)
    np.testing.assert_array_equal(result.queries, 1 + 3 * 20 * 5)
    assert not result.success.any()
    np.testing.assert_array_equal(result.adversarial, images)


def test_expected_queries_are_the_worst_case():
    images = np.full((2, *SHAPE), 0.5, "float32")
    for options in ({}, {"coordinates": 500}, {"noise": "averaged", "eot_samples": 3}):
        settings = ZOOSettings(**{"binary_steps": 2, "iterations": 5, "coordinates": 4, "patience": 0, **options})
        result = zoo_attack(constant, images, np.zeros(2, int), settings=settings)
        assert result.queries.sum() == expected_queries(2, SIZE, settings)


def test_tiers_are_those_of_the_paper():
    assert expected_queries(1, 32 * 32 * 3, TIERS[1]) == 257_001
    assert expected_queries(2, 32 * 32 * 3, TIERS[2]) == 2 * (9 * 257_000 + 1)
    assert (TIERS[1].initial_c, TIERS[1].binary_steps) == (0.5, 1)
    assert (TIERS[2].initial_c, TIERS[2].binary_steps) == (0.01, 9)
    for settings in TIERS.values():
        assert (settings.learning_rate, settings.difference, settings.patience) == (0.01, 1e-4, 100)


@pytest.mark.parametrize(
    ("noise", "calls", "queries"),
    [
        ("shared", [2, 10, 10], 1 + 5 + 5),
        ("per_image", 22 * [1], 1 + 5 + 5),
        ("averaged", [*4 * [2], *8 * [10]], 4 * (1 + 5 + 5)),
    ],
)
def test_noise_is_drawn_as_asked_for(noise, calls, queries):
    scores, seen = watched(constant)
    settings = ZOOSettings(binary_steps=1, iterations=2, coordinates=2, noise=noise, eot_samples=4)
    result = zoo_attack(scores, np.full((2, 4, 4, 1), 0.5), np.zeros(2, int), settings=settings)
    assert seen == calls
    np.testing.assert_array_equal(result.queries, queries)


def test_averaging_is_over_the_scores_of_the_draws():
    """One call in four puts class 1 far ahead; the mean of eight calls never does."""
    calls = iter(range(10**6))

    def scores(x):
        return constant(x) + (np.array([0.0, 4.0]) if next(calls) % 4 == 3 else 0.0)

    images, labels = np.full((1, 4, 4, 1), 0.5), [0]
    options = {"binary_steps": 1, "iterations": 8, "coordinates": 2}
    assert zoo_attack(scores, images, labels, settings=ZOOSettings(**options)).success.all()
    averaged = zoo_attack(scores, images, labels, settings=ZOOSettings(**options, noise="averaged"))
    assert averaged.attacked.all()
    assert not averaged.success.any()


def test_a_class_that_changes_by_luck_is_not_confirmed():
    """As above: every fourth call is wrong, whatever the image."""

    def attack(confirmations, wrong):
        calls = iter(range(10**6))

        def scores(x):
            return constant(x) + (np.array([0.0, 4.0]) if next(calls) % 4 in wrong else 0.0)

        settings = ZOOSettings(binary_steps=1, iterations=8, coordinates=2, confirmations=confirmations)
        return zoo_attack(scores, np.full((1, 4, 4, 1), 0.5), [0], settings=settings)

    assert attack(0, {3}).success.all()
    unlucky = attack(8, {3})
    assert not unlucky.success.any()
    assert unlucky.queries[0] > attack(0, {3}).queries[0]
    assert attack(8, {1, 2, 3}).success.all()


def test_only_an_image_that_is_nearer_is_confirmed_again():
    """Right at first and wrong ever after: the image itself is the nearest one, and stays it."""
    calls = iter(range(10**6))

    def scores(x):
        return constant(x) if next(calls) == 0 else -constant(x)

    settings = ZOOSettings(binary_steps=1, iterations=8, coordinates=2, confirmations=3)
    result = zoo_attack(scores, np.full((1, 4, 4, 1), 0.5), [0], settings=settings)
    assert (result.success[0], result.queries[0]) == (True, 1 + 8 * 5 + 3)


def test_a_tensorflow_network_is_attacked_by_its_scores_alone(linear):
    _, images, labels = linear
    weights = tf.random.stateless_normal((SIZE, 3), (1, 2))

    def model_fn(x):
        return tf.stop_gradient(tf.reshape(x, (-1, SIZE)) @ weights)

    labels = np.argmax(model_fn(tf.constant(images)), axis=1)
    assert zoo_attack(model_fn, images, labels, settings=ZOOSettings(**FAST)).success.all()


# What comes out


def test_config_is_json_and_makes_the_same_settings():
    settings = ZOOSettings(initial_c=0.5, noise="averaged", seed=7)
    assert ZOOSettings(**json.loads(json.dumps(settings.get_config()))) == settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": "loud"}, r"`noise` must be one of \('shared', 'per_image', 'averaged'\). Received: noise='loud'"),
        ({"initial_c": 0}, "`initial_c` must be above 0. Received: initial_c=0"),
        ({"difference": -1}, "`difference` must be above 0. Received: difference=-1"),
        ({"learning_rate": 0}, "`learning_rate` must be above 0. Received: learning_rate=0"),
        ({"binary_steps": 0}, "`binary_steps` must be an integer of at least 1. Received: binary_steps=0"),
        ({"coordinates": 0.5}, "`coordinates` must be an integer of at least 1. Received: coordinates=0.5"),
        ({"patience": -1}, "`patience` must be an integer of at least 0. Received: patience=-1"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ZOOSettings(**options)


def test_wrong_images_labels_and_groups_are_refused(linear):
    scores, images, labels = linear
    with pytest.raises(ValueError, match=r"equal in number, at least one\. Received: 9 and 2"):
        zoo_attack(scores, images, labels[:2])
    with pytest.raises(ValueError, match=r"equal in number, at least one\. Received: 0 and 0"):
        zoo_attack(scores, images[:0], labels[:0])
    with pytest.raises(ValueError, match=r"`group` must be at least 1\. Received: group=0"):
        zoo_attack(scores, images, labels, group=0)
