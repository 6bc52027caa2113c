import numpy as np
import pytest
import tensorflow as tf
from linear_networks import exact_robust_in_l2, linear_classifier, random_images

from rsr_tf.attacks.square import Square, square_side
from rsr_tf.attacks.square_l2 import bumps, move_window, tiled_start

KEY = tf.constant([1, 2])


def lengths(change):
    return np.linalg.norm(np.float64(change).reshape(len(change), -1), axis=1)


def window(side, turned=False):
    places = tf.range(side)
    return bumps(places[tf.newaxis, :, tf.newaxis], places[tf.newaxis, tf.newaxis], side, tf.fill((1, 1, 1), turned))[0]


def test_window_of_three_is_that_of_equation_2_by_hand():
    """A half of 3x1 and one of 3x2; the tail of 1 + 1/4 is 1.25 at a centre and 0.25 one pixel from it."""
    expected = np.array([[0.25, -0.25, -0.25], [1.25, -0.25, -1.25], [0.25, -0.25, -0.25]])
    np.testing.assert_allclose(window(3), expected, atol=1e-6)
    np.testing.assert_allclose(window(3, turned=True), expected.T, atol=1e-6)


def test_bumps_of_a_larger_window_fall_from_their_centres():
    shape = np.array(window(9))  # halves of 9x4 and 9x5, with centres in the columns 2 and 4 + 2
    assert np.unravel_index(shape.argmax(), shape.shape) == (4, 2)
    assert np.unravel_index(shape.argmin(), shape.shape) == (4, 6)
    assert (shape[:, :4] > 0).all()
    assert (shape[:, 4:] < 0).all()
    assert shape.max() == pytest.approx(1 + 1 / 4 + 1 / 9 + 1 / 16 + 1 / 25)
    assert shape[0, 0] == pytest.approx(1 / 25)


@pytest.mark.parametrize("shape", [(20, 32, 32, 3), (20, 6, 6, 1), (20, 3, 9, 2), (20, 2, 2, 1)])
def test_start_spends_all_of_epsilon_and_covers_the_image(shape):
    change = np.array(tiled_start(tf.fill(shape, 0.5), 0.3, KEY)) - 0.5
    np.testing.assert_allclose(lengths(change), 0.3, rtol=1e-5)
    assert (change != 0).all()
    assert len({image.tobytes() for image in change}) > 1


@pytest.mark.parametrize("side", [3, 5])
def test_move_empties_one_window_for_another_and_spends_all_of_epsilon(side):
    clean = tf.fill((200, 12, 12, 2), 0.5)
    before = tiled_start(clean, 0.2, KEY)  # not all of epsilon is spent
    after = move_window(before, clean, 0.3, side, KEY)
    change = np.array(after) - 0.5
    np.testing.assert_allclose(lengths(change), 0.3, rtol=1e-5)
    moved = np.any(np.array(after) != np.array(before), axis=-1)
    assert moved.sum((1, 2)).max() <= 2 * side**2
    emptied = (np.abs(change) < 1e-7).all(-1)
    assert emptied.sum((1, 2)).max() == side**2
    assert np.all(moved[emptied])


def test_move_stays_in_the_ball_and_the_box_when_repeated():
    clean = tf.constant(random_images(50))
    kept = tiled_start(clean, 0.8, KEY)
    for number in range(50):
        kept = move_window(kept, clean, 0.8, 3, tf.constant([3, number]))
    assert lengths(kept - clean).max() <= 0.8 + 1e-6
    assert float(tf.reduce_min(kept)) >= 0
    assert float(tf.reduce_max(kept)) <= 1
    assert lengths(kept - clean).mean() > 0.6


def test_side_is_odd_and_at_least_three_where_the_image_allows():
    sides = {int(square_side(query, 10_000, 0.8, (5, 32, 32, 3), "l2")) for query in range(1, 10_000, 50)}
    assert min(sides) == 3
    assert max(sides) == 29
    assert all(side % 2 for side in sides)
    assert int(square_side(1, 10_000, 0.8, (5, 2, 8, 1), "l2")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_search_nears_the_exact_worst_case_of_a_linear_network_and_beats_random_points(classes):
    """Between the exact worst case and the best of as many random points of the sphere, nearer to the former."""
    model_fn, weights, bias = linear_classifier(classes)
    x, epsilon, queries = np.float32(0.4 + 0.2 * random_images(300)), 0.05, 1000
    y = np.argmax(model_fn(x), axis=1).astype("int32")
    exact = exact_robust_in_l2(x, y, weights, bias, epsilon)
    attack = Square(norm="l2", epsilon=epsilon, queries=queries, rescore=False)
    x_adv = tf.function(lambda: attack(model_fn, x, y, seed=0), autograph=False)().numpy()
    left = np.argmax(model_fn(x_adv), axis=1) == y
    assert lengths(x_adv - x).max() <= epsilon + 1e-6
    assert not np.any(exact & ~left), "beyond what is possible"
    points = np.random.default_rng(0).normal(size=(queries, *x.shape[1:])).astype("float32")
    points *= epsilon / lengths(points).reshape(-1, 1, 1, 1)
    by_chance = np.all([np.argmax(model_fn(x + point), axis=1) == y for point in points], axis=0)
    assert left.mean() < (exact.mean() + by_chance.mean()) / 2


def test_square_in_l2_is_rebuilt_from_its_settings():
    attack = Square(norm="l2", epsilon=2.5, queries=7)
    assert attack.get_config()["norm"] == "l2"
    assert Square(**attack.get_config()).get_config() == attack.get_config()
