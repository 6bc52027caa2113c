import json

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks.square import changed_share, paint_square, square_side, stripes
from rsr_tf.evaluation import Square

EPSILON = 0.04


def linear_problem(classes, n=100):
    """Images of 6x6 and a linear classifier of them, with its exact worst case.

    For each other class the worst image of the ball is a corner of it, cut to [0,1], that every pixel chooses for
    itself; the image survives if it is ahead of every class at its own corner.
    """
    random = np.random.default_rng(0)
    weights = random.normal(size=(36, classes)).astype("float32")
    weights -= weights.mean(axis=0)  # no class is favoured by grey images
    images = random.uniform(size=(n, 6, 6, 1)).astype("float32")
    labels = (images.reshape(n, -1) @ weights).argmax(1).astype("int32")
    labels[::10] = (labels[::10] + 1) % classes
    worst = np.full(n, np.inf)
    for other in range(classes):
        ahead = (weights[:, labels] - weights[:, [other]]).T.reshape(images.shape)
        corner = np.clip(images - EPSILON * np.sign(ahead), 0, 1)
        margin = (corner * ahead).sum((1, 2, 3))
        worst = np.where(labels == other, worst, np.minimum(worst, margin))
    return lambda x: tf.reshape(x, (-1, 36)) @ weights, images, labels, worst > 0


def right(model_fn, images, labels):
    return np.argmax(model_fn(tf.constant(images)), axis=1) == labels


@pytest.mark.parametrize(
    ("query", "queries", "share"),
    [
        *((1, 10_000, 0.8), (10, 10_000, 0.8), (11, 10_000, 0.4), (50, 10_000, 0.4), (51, 10_000, 0.2)),
        *((201, 10_000, 0.1), (501, 10_000, 0.05), (1001, 10_000, 0.025), (2001, 10_000, 0.0125)),
        *((4001, 10_000, 0.8 / 128), (6001, 10_000, 0.8 / 256), (8000, 10_000, 0.8 / 256), (8001, 10_000, 0.8 / 512)),
        *((5, 5000, 0.8), (6, 5000, 0.4), (25, 5000, 0.4), (26, 5000, 0.2), (4999, 5000, 0.8 / 512)),
    ],
)
def test_share_of_changed_pixels_follows_the_schedule_of_the_paper(query, queries, share):
    assert float(changed_share(query, queries, 0.8)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("query", "shape", "side"),
    [
        (1, (5, 32, 32, 3), 29),  # sqrt(0.8 * 1024) = 28.6
        (9999, (5, 32, 32, 3), 1),  # sqrt(1.6) = 1.3
        (1001, (5, 32, 32, 3), 5),  # sqrt(0.025 * 1024) = 5.06
        (1, (5, 2, 8, 1), 2),  # sqrt(12.8) = 3.6 is higher than the image
        (9999, (5, 2, 2, 1), 1),  # sqrt(0.006) rounds to 0
    ],
)
def test_side_of_the_square(query, shape, side):
    assert int(square_side(query, 10_000, 0.8, shape)) == side


def test_stripes_are_columns_of_plus_and_minus_epsilon():
    change = np.array(stripes(tf.fill((4, 5, 20, 3), 0.5), 0.1, tf.constant([1, 2]))) - 0.5
    np.testing.assert_allclose(np.abs(change), 0.1, atol=1e-6)
    np.testing.assert_array_equal(change, np.broadcast_to(change[:, :1], change.shape))
    signs = change[:, 0] > 0
    assert 0.3 < signs.mean() < 0.7
    assert len({column.tobytes() for column in np.moveaxis(signs, 2, 1).reshape(12, 20)}) == 12


def test_painted_square_has_a_random_place_and_a_sign_per_channel():
    n, height, width, side = 400, 4, 6, 3
    clean, kept = tf.fill((n, height, width, 2), 0.5), tf.fill((n, height, width, 2), 0.55)
    change = np.array(paint_square(kept, clean, 0.1, side, tf.constant([1, 2]))) - 0.5
    places, signs = set(), set()
    for image in change:
        painted = np.abs(np.abs(image) - 0.1) < 1e-6
        rows, columns, _ = np.nonzero(painted)
        top, left = rows.min(), columns.min()
        inside = np.zeros((height, width, 2), bool)
        inside[top : top + side, left : left + side] = True
        np.testing.assert_array_equal(painted, inside)
        np.testing.assert_allclose(image[~inside], 0.05, atol=1e-6)
        assert np.ptp(image[top : top + side, left : left + side], axis=(0, 1)).max() == 0
        places.add((top, left))
        signs.add(tuple(image[top, left] > 0))
    assert places == {(top, left) for top in range(2) for left in range(4)}
    assert len(signs) == 4


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_accuracy_of_a_linear_classifier_is_its_exact_worst_case(classes):
    """Within half a point: the margin to the nearest of ten classes has local minima in which a search can end."""
    model_fn, images, labels, survives = linear_problem(classes, n=1000)
    attack = Square(epsilon=EPSILON, queries=1500, rescore=False)
    x_adv = tf.function(lambda: attack(model_fn, images, labels, seed=0))().numpy()
    survived = right(model_fn, x_adv, labels)
    assert not (survives & ~survived).any(), "beyond what is possible"
    assert survived.mean() - survives.mean() <= 0.005
    assert 0.1 < survives.mean() < right(model_fn, images, labels).mean() - 0.1
    assert np.abs(x_adv - images).max() <= EPSILON + 1e-6
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1


def test_rescoring_changes_nothing_for_a_network_without_noise():
    model_fn, images, labels, _ = linear_problem(3)
    run = [
        Square(epsilon=EPSILON, queries=50, rescore=rescore)(model_fn, images, labels, seed=3)
        for rescore in (True, False)
    ]
    np.testing.assert_array_equal(*run)


@pytest.mark.slow
def test_lucky_draws_do_not_stop_the_search():
    """The noise moves the logits of a whole call alike; the attack on the network without it is the one to reach."""
    model_fn, images, labels, survives = linear_problem(2)

    def noisy(x):
        return model_fn(x) + tf.random.normal((2,), stddev=3.0)

    survivors = {}
    for rescore in (True, False):
        attack = Square(epsilon=EPSILON, queries=1000, rescore=rescore)
        x_adv = tf.function(lambda attack=attack: attack(noisy, images, labels, seed=0))()
        survivors[rescore] = right(model_fn, x_adv, labels).mean()
    assert survivors[True] <= survives.mean() + 0.02
    assert survivors[False] > survives.mean() + 0.1, "the trap that rescoring avoids"


def test_images_that_are_wrong_stay_as_they_are():
    model_fn, images, labels, _ = linear_problem(2)
    x_adv = Square(epsilon=EPSILON, queries=20)(model_fn, images, labels, seed=0).numpy()
    before = right(model_fn, images, labels)
    np.testing.assert_array_equal(x_adv[~before], images[~before])
    assert (np.abs(x_adv - images).max((1, 2, 3))[before] > 0.9 * EPSILON).all()


def test_an_image_that_is_wrong_now_and_then_is_attacked():
    def coin(x):
        return tf.one_hot(tf.random.uniform((tf.shape(x)[0],), maxval=2, dtype=tf.int32), 2)

    images, labels = np.full((50, 4, 4, 1), 0.5, "float32"), np.zeros(50, "int32")
    x_adv = Square(epsilon=EPSILON, queries=2)(coin, images, labels, seed=0).numpy()
    assert (np.abs(x_adv - images).max((1, 2, 3)) > 0).all()


def test_what_becomes_of_an_image_does_not_depend_on_its_neighbours():
    """The first image breaks early; the second one is wrong from the start in one batch, unbreakable in the other."""
    model_fn, images, labels, survives = linear_problem(2)
    was_right = right(model_fn, images, labels)
    broken, hard, wrong = (np.flatnonzero(kind)[0] for kind in (was_right & ~survives, survives, ~was_right))
    first = []
    for neighbour in (hard, wrong):
        batch = [broken, neighbour]
        attack = Square(epsilon=EPSILON, queries=600, confirmations=3)
        run = tf.function(lambda x, y, attack=attack: attack(model_fn, x, y, seed=0))
        first.append(run(images[batch], labels[batch])[0].numpy())
        assert not right(model_fn, first[-1][np.newaxis], labels[[broken]])[0]
    np.testing.assert_array_equal(*first)


def counting(model_fn):
    calls = []

    def counted(x):
        tf.py_function(lambda: calls.append(1), [], [])
        return model_fn(x)

    return counted, calls


def test_attack_stops_when_every_image_was_wrong_often_enough():
    images = np.full((4, 4, 4, 1), 0.5, "float32")
    dark, calls = counting(lambda x: tf.stack([tf.fill((tf.shape(x)[0],), 0.01), 0.5 - x[:, 0, 0, 0]], axis=1))
    attack = Square(epsilon=EPSILON, queries=5000, confirmations=20)
    x_adv = tf.function(lambda: attack(dark, images, np.zeros(4, "int32"), seed=0))()
    assert (x_adv[:, 0, 0, 0] < 0.5).numpy().all()
    assert 40 < len(calls) < 200


def test_margins_are_averaged_over_draws():
    model_fn, images, labels, _ = linear_problem(2, n=5)
    counted, calls = counting(model_fn)
    attack = Square(epsilon=EPSILON, queries=4, eot_samples=3, confirmations=20)
    tf.function(lambda: attack(counted, images, labels, seed=0))()
    assert len(calls) == 20 + 4 * 3  # the clean images, the stripes and three squares


@pytest.mark.slow
def test_an_averaged_margin_decides():
    """Draws favour bright or dark images by 1, and bright ones by 0.2 besides: one draw may mislead, 200 do not."""
    images, labels = np.full((100, 3, 3, 1), 0.5, "float32"), np.zeros(100, "int32")

    def model_fn(x):
        bright = 20 * (tf.reduce_mean(x, (1, 2, 3)) - 0.5)  # from -1 to 1
        coin = tf.where(tf.random.uniform(()) < 0.5, 1.0, -1.0)
        return tf.stack([10.0 - (0.2 + coin) * bright, tf.zeros_like(bright)], axis=1)

    def brightness(draws):
        attack = Square(epsilon=EPSILON, queries=100, eot_samples=draws)
        return float(tf.reduce_mean(tf.function(lambda: attack(model_fn, images, labels, seed=0))())) - 0.5

    assert brightness(200) > 0.9 * EPSILON
    assert brightness(1) < 0.5 * EPSILON


@pytest.mark.slow
def test_network_may_be_anything_that_cannot_be_differentiated():
    model_fn, images, labels, survives = linear_problem(2)

    def numpy_fn(x):
        return tf.numpy_function(lambda pixels: model_fn(pixels).numpy().astype("float32"), [x], tf.float32)

    attack = Square(epsilon=EPSILON, queries=1000, rescore=False)
    x_adv = tf.function(lambda x, y: attack(numpy_fn, x, y, seed=0))(images, labels)
    assert right(model_fn, x_adv, labels).mean() <= survives.mean() + 0.02


def test_number_of_queries_and_draws_does_not_enlarge_the_graph():
    _, images, labels, _ = linear_problem(2, n=5)
    traces = []
    for queries, draws in ((3, 1), (50, 7)):
        seen = []

        def model_fn(x, seen=seen):
            seen.append(x.shape)
            return tf.reshape(x, (-1, 36))[:, :2]

        attack = Square(queries=queries, eot_samples=draws)
        tf.function(lambda attack=attack, fn=model_fn: attack(fn, images, labels, seed=0))()
        traces.append(len(seen))
    assert traces[0] == traces[1]


def test_a_seed_repeats_the_attack():
    model_fn, images, labels, _ = linear_problem(2, n=10)
    attack = Square(epsilon=EPSILON, queries=10)
    first, again, other = (attack(model_fn, images, labels, seed=seed).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > EPSILON


def test_config_is_json_and_makes_the_same_attack():
    options = {
        "epsilon": 0.1,
        "norm": "linf",
        "queries": 7,
        "p_init": 0.3,
        "eot_samples": 2,
        "rescore": False,
        "confirmations": 3,
    }
    assert json.loads(json.dumps(Square(**options).get_config())) == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 8}, r"`epsilon` must be in \(0, 1\]. Received: epsilon=8"),
        ({"p_init": 0}, r"`p_init` must be in \(0, 1\]. Received: p_init=0"),
        ({"queries": 0}, "`queries` must be an integer of at least 1. Received: queries=0"),
        ({"eot_samples": 1.5}, "`eot_samples` must be an integer of at least 1. Received: eot_samples=1.5"),
        ({"confirmations": 0}, "`confirmations` must be an integer of at least 1. Received: confirmations=0"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Square(**options)
