import json

import numpy as np
import pytest
import tensorflow as tf
from linear_networks import exact_robust, exact_robust_in_l2, linear_classifier, random_images

from rsr_tf.attacks import hop_skip_jump
from rsr_tf.attacks.hop_skip_jump import HopSkipJump


def linear_problem(classes=3, n=60):
    model_fn, weights, bias = linear_classifier(classes)
    images = random_images(n)
    labels = np.argmax(model_fn(images), axis=1).astype("int32")
    return model_fn, images, labels, lambda epsilon: exact_robust(images, labels, weights, bias, epsilon)


def right(model_fn, images, labels):
    return np.argmax(model_fn(tf.constant(images)), axis=1) == labels


def one_hot(model_fn):
    """Return the network as one that gives its class away and nothing else."""
    return lambda x: tf.one_hot(tf.argmax(model_fn(x), axis=-1), 3)


@pytest.mark.slow
def test_decisions_alone_reach_the_exact_worst_case_within_four_points():
    model_fn, images, labels, exact = linear_problem()
    attack = HopSkipJump(epsilon=0.05, iterations=20, initial_samples=50)
    x_adv = tf.function(lambda: attack(one_hot(model_fn), images, labels, seed=0), autograph=False)().numpy()
    assert np.abs(x_adv - images).max() <= 0.05 + 1e-6
    left = right(model_fn, x_adv, labels)
    assert np.all(left | ~exact(0.05))  # never below the worst case
    assert left.mean() == pytest.approx(exact(0.05).mean(), abs=0.04)


@pytest.mark.slow
def test_decisions_alone_reach_the_exact_worst_case_in_l2():
    model_fn, weights, bias = linear_classifier(3)
    images, epsilon = np.float32(0.4 + 0.2 * random_images(100)), 0.05
    labels = np.argmax(model_fn(images), axis=1).astype("int32")
    exact = exact_robust_in_l2(images, labels, weights, bias, epsilon)
    attack = HopSkipJump(norm="l2", epsilon=epsilon, iterations=20, initial_samples=50)
    x_adv = tf.function(lambda: attack(one_hot(model_fn), images, labels, seed=0), autograph=False)().numpy()
    assert np.linalg.norm((x_adv - images).reshape(100, -1), axis=1).max() <= epsilon + 1e-6
    left = right(model_fn, x_adv, labels)
    assert np.all(left | ~exact)
    assert left.mean() == pytest.approx(exact.mean(), abs=0.04)


def test_misclassified_images_are_returned_unchanged():
    model_fn, images, labels, _ = linear_problem(n=8)
    attack = HopSkipJump(iterations=2, initial_samples=4, starts=4)
    np.testing.assert_array_equal(attack(model_fn, images, (labels + 1) % 3, seed=0), images)


def test_network_of_one_class_leaves_nothing_to_find():
    _, images, labels, _ = linear_problem(n=4)
    attack = HopSkipJump(iterations=2, initial_samples=4, starts=2)
    x_adv = attack(lambda x: tf.one_hot(labels, 3), images, labels, seed=0)
    np.testing.assert_array_equal(x_adv, images)


def test_seed_determines_the_images():
    model_fn, images, labels, _ = linear_problem(n=8)
    attack = HopSkipJump(epsilon=0.02, iterations=2, initial_samples=8, starts=2)
    first, again, other = (attack(model_fn, images, labels, seed=seed).numpy() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_bisection_ends_at_the_border():
    """An image is adversarial where its first pixel exceeds 0.7; the other pixels follow the ball."""
    x, far = tf.fill((1, 2, 2, 1), 0.5), tf.reshape([1.0, 0.9, 0.5, 0.0], (1, 2, 2, 1))
    found = hop_skip_jump.to_boundary(lambda images: images[:, :1, :1] > 0.7, x, far)
    np.testing.assert_allclose(tf.reshape(found, [-1]), [0.7, 0.7, 0.5, 0.3], atol=0.5 / 16)  # 4 bisections
    assert float(found[0, 0, 0, 0]) > 0.7


def test_bisection_in_l2_follows_the_line_to_the_image():
    x, far = tf.fill((1, 2, 2, 1), 0.5), tf.reshape([1.0, 0.9, 0.5, 0.0], (1, 2, 2, 1))
    found = hop_skip_jump.to_boundary(lambda images: images[:, :1, :1] > 0.7, x, far, "l2")
    np.testing.assert_allclose(tf.reshape(found, [-1]), [0.7, 0.66, 0.5, 0.3], atol=0.5 / 8)  # 3 bisections
    move = tf.reshape(found - x, [-1]).numpy()
    np.testing.assert_allclose(move / move[0], [1, 0.8, 0, -1], atol=1e-5)


def test_directions_in_l2_have_length_one():
    drawn = hop_skip_jump.drawn_direction((500, 4, 4, 2), tf.constant([1, 2]), "l2").numpy().reshape(500, -1)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, rtol=1e-5)
    assert np.abs(drawn.mean(0)).max() < 4 * 32**-0.5 / 500**0.5


def test_direction_is_that_in_which_the_border_is_crossed():
    """The border has the normal (3, -4); of 4,000 signs the mean gives its direction within some degrees."""
    place = tf.fill((1, 2, 1, 1), 0.5)
    normal = tf.reshape([3.0, -4.0], (1, 2, 1, 1))

    def is_adversarial(images):
        return tf.reduce_sum((images - place) * normal, axis=(1, 2, 3), keepdims=True) > 0

    size = tf.fill((1, 1, 1, 1), 0.1)
    found = hop_skip_jump.boundary_direction(is_adversarial, place, size, 4000, tf.constant([0, 1])).numpy().ravel()
    found /= np.linalg.norm(found)
    assert found @ np.array([0.6, -0.8]) > 0.98


def test_step_is_the_longest_half_that_is_still_adversarial():
    place = tf.fill((2, 1, 1, 1), 0.25)
    limits = tf.reshape([0.4, 0.2], (2, 1, 1, 1))  # the second finds no step at all
    found = hop_skip_jump.longest_step(lambda x: x < limits, place, tf.ones_like(place), tf.fill((2, 1, 1, 1), 0.5))
    np.testing.assert_allclose(tf.reshape(found, [-1]), [0.375, 0.25])


def test_decision_of_a_random_network_is_that_of_the_majority():
    answers = iter([0, 1, 1, 0, 0])
    decide = [next(answers) for _ in range(5)]
    index = tf.Variable(-1)

    def model_fn(x):
        index.assign_add(1)
        return tf.one_hot([tf.gather(decide, index)], 2)

    x, label = tf.zeros((1, 1, 1, 1)), tf.constant([1])
    assert hop_skip_jump.majority_wrong(model_fn, x, label, 5).numpy().all()  # 3 of 5 are class 0


def test_cost_bounds_the_calls():
    model_fn, images, labels, _ = linear_problem(n=2)
    calls = tf.Variable(0)

    def counted(x):
        calls.assign_add(1)
        return model_fn(x)

    attack = HopSkipJump(epsilon=1e-4, iterations=3, initial_samples=5, starts=2)
    tf.function(lambda: attack(counted, images, labels, seed=0), autograph=False)()
    assert 0 < int(calls) <= attack.cost().classifications


def test_settings_are_json_and_rebuild_the_attack():
    attack = HopSkipJump(epsilon=2.5, norm="l2", iterations=3, initial_samples=5, starts=2, eot_samples=4)
    config = json.loads(json.dumps(attack.get_config()))
    assert HopSkipJump(**config).get_config() == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0.0}, r"`epsilon` must be in \(0, 1\]\. Received: epsilon=0"),
        ({"iterations": 0}, "`iterations` must be an integer of at least 1"),
        ({"starts": 1.5}, "`starts` must be an integer of at least 1"),
    ],
)
def test_setting_out_of_range_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        HopSkipJump(**change)
