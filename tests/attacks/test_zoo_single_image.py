"""ZOO on one image: its mathematics by hand, and the images that it visits."""

import math

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks.zoo import ZOOSettings
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

SIZE = 12 * 12


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


def test_each_c_starts_again_from_the_image():
    random = np.random.default_rng(0)
    image, slope = random.uniform(0.3, 0.7, (12, 12, 1)).astype("float32"), random.normal(size=SIZE)

    def scores(x):
        return np.stack([50 + x.reshape(-1, SIZE) @ slope, np.zeros(len(x))], axis=1)

    settings = ZOOSettings(iterations=3, binary_steps=4)
    path = zoo_path(image, 0, settings, np.random.default_rng(0))
    probes, points = next(path), []
    for _ in range(12):
        probes = path.send(scores(probes))
        points.append(probes[0])
    starts = [np.abs(point - image).max() < 1e-5 for point in points]
    assert starts == 4 * [True, False, False]


def test_score_that_is_nan_is_never_correct():
    assert is_correct(np.array([2.0, 1.0]), 0)
    assert not is_correct(np.array([2.0, 1.0]), 1)
    assert not is_correct(np.array([np.nan, 1.0]), 0)  # whose largest NumPy takes to be the first
