import json
import math

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks.zoo_single_image import (
    Adam,
    BinarySearch,
    has_stalled,
    hinge,
    is_correct,
    probes_round,
    symmetric_difference,
    to_pixels,
    to_tanh_space,
    zoo_path,
)
from rsr_tf.evaluation import TIERS, ZOOResult, ZOOSettings, expected_queries, zoo_attack
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.evaluation.zoo import describe_result

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


# The mathematics


def test_tanh_space_keeps_pixels_in_the_box():
    pixels = np.array([0.0, 0.1, 0.5, 1.0])
    w = to_tanh_space(pixels)
    np.testing.assert_allclose(to_pixels(w), pixels, atol=1e-6)
    np.testing.assert_allclose(w[1:3], [0.5 * np.log(0.1 / 0.9), 0], atol=1e-5)
    assert np.isfinite(w).all()
    far = to_pixels(np.array([-1e3, 1e3]))
    np.testing.assert_array_equal(far, [0, 1])


def test_hinge_by_hand():
    scores = np.array([[1.0, 4.0, 2.0], [3.0, 1.0, 2.0], [0.0, 5.0, 5.0]])
    np.testing.assert_allclose(hinge(scores, 1), [2.0, 0.0, 0.0])
    np.testing.assert_allclose(hinge(scores, 0), [0.0, 1.0, 0.0])


def test_hinge_of_logits_is_that_of_log_probabilities():
    logits = np.random.default_rng(0).normal(size=(20, 5))
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(hinge(logits, 2), hinge(log_probabilities, 2), atol=1e-12)


def test_adam_counts_the_steps_of_each_coordinate():
    """Three coordinates by hand: 0 has its second step when 2 has its first, and 1 has none."""
    adam = Adam(3)
    adam.step(np.array([0]), np.array([2.0]), 0.1)
    step = adam.step(np.array([2, 0]), np.array([-3.0, 1.0]), 0.1)
    mean = (0.9 * 0.1 * 2 + 0.1 * 1) / (1 - 0.9**2)
    variance = (0.999 * 0.001 * 4 + 0.001 * 1) / (1 - 0.999**2)
    np.testing.assert_allclose(step, [-0.1, 0.1 * mean / math.sqrt(variance)], rtol=1e-6)
    np.testing.assert_array_equal(adam.steps, [2, 0, 1])


def test_adam_equals_that_of_keras_where_every_coordinate_is_chosen():
    import keras

    random, ours, mine = np.random.default_rng(0), Adam(5), np.zeros(5)
    theirs, variable = keras.optimizers.Adam(0.01, epsilon=1e-8), keras.Variable(np.zeros(5, "float32"))
    for _ in range(10):
        gradient = random.normal(size=5)
        mine -= ours.step(np.arange(5), gradient, 0.01)
        theirs.apply([tf.constant(gradient, tf.float32)], [variable])
    np.testing.assert_allclose(mine, variable, atol=1e-6)


def test_probes_are_the_point_and_its_neighbours_with_their_distances():
    random = np.random.default_rng(0)
    w, origin, chosen = random.normal(size=6), random.uniform(size=6), np.array([4, 1])
    pixels, squared_l2 = probes_round(w, chosen, origin, 0.3)
    expected = np.tile(w, (5, 1))
    for row, (coordinate, step) in enumerate([(4, 0.3), (1, 0.3), (4, -0.3), (1, -0.3)], start=1):
        expected[row, coordinate] += step
    expected = (np.tanh(expected) + 1) / 2
    np.testing.assert_allclose(pixels, expected)
    np.testing.assert_allclose(squared_l2, ((expected - origin) ** 2).sum(1))


def test_symmetric_difference_is_the_gradient_of_the_loss():
    """Of c times the hinge of a smooth network, plus distance, through tanh; against TensorFlow's."""
    random = np.random.default_rng(0)
    w, weights, origin = random.normal(size=SIZE), random.normal(size=(SIZE, 3)), random.uniform(size=SIZE)
    chosen = random.choice(SIZE, 20, replace=False)
    pixels, squared_l2 = probes_round(w, chosen, origin, 1e-4)
    loss = squared_l2 + 0.7 * hinge(np.sin(pixels @ weights), int(np.sin(pixels[0] @ weights).argmax()))
    point = tf.Variable(w)
    with tf.GradientTape() as tape:
        x = (tf.tanh(point) + 1) / 2
        best, second = tf.unstack(tf.math.top_k(tf.sin(tf.linalg.matvec(weights, x, transpose_a=True)), 2).values)
        exact = tf.reduce_sum((x - origin) ** 2) + 0.7 * (best - second)
    gradient = tape.gradient(exact, point).numpy()[chosen]
    np.testing.assert_allclose(loss[0], exact)
    np.testing.assert_allclose(symmetric_difference(loss, 1e-4), gradient, atol=1e-6)
    assert np.abs(gradient).max() > 0.1


def test_binary_search_by_hand():
    search, tried = BinarySearch(0.01), []
    for success in (False, False, True, True, False, True):
        tried.append(search.c)
        search = search.after(success)
    assert [*tried, search.c] == pytest.approx([0.01, 0.1, 1, 0.55, 0.325, 0.4375, 0.38125])


def test_binary_search_lowers_c_after_an_early_success():
    search = BinarySearch(0.01).after(True)
    assert (search.c, search.after(False).c) == (0.005, 0.0075)


@pytest.mark.parametrize(
    ("losses", "still"),
    [
        ([2, 2, 2], False),  # there is nothing before to compare with
        ([2, 2, 2, 2, 2, 2], True),
        ([2, 2, 2, 2, 2, 2, 2], False),  # not a multiple of three
        ([2, 2, 2, 2, 2, 1.99], False),
        ([2, 2, 2, 2, 2, 1.9995], True),  # a mean lower by less than 1/10,000
        ([9, 9, 0, 5, 5, 5], False),  # a lucky draw before does not end it
        ([0, 0, 0, 0, 0, 0], True),
        ([5, 5, 5, 1, 1, 1, 1, 1, 1], True),  # only the last six count
    ],
)
def test_standing_still_by_hand(losses, still):
    assert has_stalled(losses, 3) is still


def test_patience_of_0_never_has_stalled():
    assert not has_stalled([1.0] * 1000, 0)


# One image


def test_first_step_has_the_length_of_the_learning_rate():
    random = np.random.default_rng(0)
    image, slope = random.uniform(0.3, 0.7, (3, 3, 1)).astype("float32"), random.normal(size=9)
    settings = ZOOSettings(coordinates=9, iterations=2, binary_steps=1, initial_c=1.0)
    path = zoo_path(image, 0, settings, np.random.default_rng(0))

    def scores(x):
        return np.stack([5 + x.reshape(-1, 9) @ slope, np.zeros(len(x))], axis=1)

    path.send(None)
    first = path.send(scores(image[np.newaxis]))
    second = path.send(scores(first))
    np.testing.assert_allclose(first[0], image, atol=1e-6)
    w = to_tanh_space(image.ravel().astype(float)) - 0.01 * np.sign(slope)
    np.testing.assert_allclose(second[0].ravel(), to_pixels(w), atol=1e-6)


def test_each_c_starts_anew_from_the_image(linear):
    scores, images, labels = linear
    settings = ZOOSettings(iterations=3, binary_steps=4)
    path = zoo_path(images[0], labels[0], settings, np.random.default_rng(0))
    probes, points = next(path), []
    for _ in range(12):
        probes = path.send(scores(probes))
        points.append(probes[0])
    starts = [np.abs(point - images[0]).max() < 1e-5 for point in points]
    assert starts == 4 * [True, False, False]


# The attack


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


def test_both_denominators_by_hand():
    result = ZOOResult(
        attacked=np.array([True, True, True, True, False]),
        success=np.array([True, True, True, False, False]),
        adversarial=np.zeros((5, 2, 2, 1), "float32"),
        l2=np.array([0.4, 0.6, 0.2, np.nan, np.nan]),
        linf=np.array([0.2, 0.03, 0.01, np.nan, np.nan]),
        queries=np.array([10, 20, 30, 70, 1]),
    )
    summary = json.loads(json.dumps(describe_result(result)))
    assert (summary["n"], summary["attacked"], summary["queries"], summary["median_queries"]) == (5, 4, 131, 25)
    assert summary["median_l2"] == pytest.approx(0.4)
    for name, hits in (("success", 3), ("success_l2_0.5", 2), ("success_linf_8/255", 2)):
        assert summary[name]["images"] == hits
        for denominator, n in (("of_attacked", 4), ("of_all", 5)):
            assert summary[name][denominator]["mean"] == hits / n
            assert summary[name][denominator]["interval"] == pytest.approx(wilson_interval(hits / n, n))
            assert summary[name][denominator]["n"] == n


def test_result_without_a_right_image_has_no_share_of_the_attacked():
    result = zoo_attack(constant, np.full((2, 4, 4, 1), 0.5), [1, 1])
    summary = json.loads(json.dumps(describe_result(result)))
    assert summary["success"] == {"images": 0, "of_attacked": None, "of_all": summary["success"]["of_all"]}
    assert summary["success"]["of_all"]["mean"] == 0
    assert (summary["median_l2"], summary["median_queries"]) == (None, None)


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


def test_score_that_is_nan_is_never_correct():
    assert is_correct(np.array([2.0, 1.0]), 0)
    assert not is_correct(np.array([2.0, 1.0]), 1)
    assert not is_correct(np.array([np.nan, 1.0]), 0)  # whose largest NumPy takes to be the first
