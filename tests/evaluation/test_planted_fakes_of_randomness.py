"""Networks with random or borrowed gradients, scores that hide, or noise that is not what it seems; none is robust.

Each must fail the check that is about it, or keep a claim near 0; the claim is near 0 for nearly all.
"""

import numpy as np
import pytest
import tensorflow as tf
from digit_networks import (
    EPSILON,
    IMAGES,
    LABELS,
    TEST,
    evaluate,
    failed,
    nearest_centroid,
    per_image_normal,
    undefended,
)

from rsr_tf.attacks import PGD

pytestmark = pytest.mark.slow

REPEAT, SEEN, ALIKE, NEW = (
    "gradients repeat where answers do",
    "scores change with the image",
    "noise alike along the path of an attack",
    "averaged draws are new",
)
MASKED = "scores find little that gradients left"
OTHER = np.random.default_rng(3).normal(size=(64, 10)).astype("float32")
CLEAN = tf.constant(IMAGES[TEST].reshape(-1, 64))


def is_away(x):
    """Whether an image is none of the clean ones, boolean `(n, 1)`."""
    distances = tf.reduce_max(tf.abs(tf.reshape(x, (-1, 1, 64)) - CLEAN), axis=-1)
    return tf.reduce_min(distances, axis=1, keepdims=True) > 0.01


# Gradients that do not repeat


@tf.custom_gradient
def random_backwards(x):
    return tf.identity(x), lambda upstream: tf.norm(upstream) * tf.random.normal(tf.shape(upstream))


@tf.custom_gradient
def noisy_backwards(x):
    def backwards(upstream):
        size = tf.sqrt(tf.reduce_mean(upstream**2))
        return upstream + 3 * size * tf.random.normal(tf.shape(upstream))

    return tf.identity(x), backwards


@tf.custom_gradient
def flipped_backwards(x):
    return tf.identity(x), lambda upstream: upstream * tf.sign(tf.random.normal((tf.shape(x)[0], 1, 1, 1)))


@tf.custom_gradient
def random_backwards_away(x):
    away = is_away(x)[:, tf.newaxis, tf.newaxis]
    return tf.identity(x), lambda up: tf.where(away, tf.norm(up) * tf.random.normal(tf.shape(up)), up)


def random_gradient(x):
    return undefended(random_backwards(x))


def noisy_gradient(x):
    return undefended(noisy_backwards(x))


def flipped_gradient(x):
    return undefended(flipped_backwards(x))


def random_gradient_away_from_clean_images(x):
    return undefended(random_backwards_away(x))


def random_gradient_behind_a_little_noise(x):
    return random_gradient(x) + 0.003 * per_image_normal(x, 10)


# Scores that hardly ever change, with a gradient that is not theirs


def with_gradient_of(lender, scores):
    return lender + tf.stop_gradient(scores - lender)


def borrowed(x):
    return 10 * (tf.reshape(x, (-1, 64)) @ OTHER)


def class_alone(x):
    return 10 * tf.one_hot(tf.argmax(undefended(x), axis=-1), 10)


def hash_of(x):
    """Return a number in [0,1) that is another for every image, `(n, 1)`."""
    number = 43758.5 * tf.abs(tf.sin(13 * tf.reshape(x, (-1, 64)) @ tf.range(1.0, 65.0)[:, tf.newaxis]))
    return number - tf.floor(number)


def one_hot(x):
    return with_gradient_of(borrowed(x), class_alone(x))


def one_hot_with_the_true_gradient(x):
    return with_gradient_of(undefended(x), class_alone(x))


def one_hot_and_a_little_noise(x):
    return one_hot(x) + 0.01 * per_image_normal(x, 10)


def one_hot_and_much_noise(x):
    return one_hot(x) + 0.5 * per_image_normal(x, 10)


def one_hot_and_a_hash(x):
    return one_hot(x) + 3 * hash_of(x) * tf.random.stateless_normal((1, 10), [1, 2])


def true_scores_in_one_query_of_a_hundred(x):
    return with_gradient_of(borrowed(x), tf.where(hash_of(x) < 0.01, undefended(x), class_alone(x)))


def rounded(x):
    return with_gradient_of(borrowed(x), 4 * tf.round(undefended(x) / 4))


def gradient_of_another_network(x):
    return with_gradient_of(borrowed(x), undefended(x))


# Noise that is not what it seems


def quiet_on_clean_images(x):
    return undefended(x) + tf.where(is_away(x), 2.0, 0.0) * per_image_normal(x, 10)


def quieter_on_clean_images(x):
    return undefended(x) + tf.where(is_away(x), 2.0, 0.05) * per_image_normal(x, 10)


def noise_fixed_when_traced():
    """Return a network of which every attack has one draw, and another one answers: a trace takes the next."""
    random = np.random.default_rng(0)

    def model_fn(x):
        return undefended(x + 0.5 * random.normal(size=(1, 8, 8, 1)).astype("float32"))

    return model_fn


def noise_shared_by(draws):
    """Return a network that draws new noise only after several calls, such as all those that an attack averages."""
    calls = tf.Variable(0)

    def model_fn(x):
        key = tf.stack([calls.assign_add(1) // draws, 1])
        return undefended(x + 0.5 * tf.random.stateless_normal((1, 8, 8, 1), key))

    return model_fn


@pytest.mark.parametrize(
    ("fake", "caught_by"),
    [
        (random_gradient, {REPEAT, MASKED}),
        (noisy_gradient, {REPEAT}),
        (flipped_gradient, {REPEAT}),
        (random_gradient_away_from_clean_images, {REPEAT}),
        (random_gradient_behind_a_little_noise, {REPEAT, MASKED}),
        (one_hot, {SEEN, MASKED}),
        (one_hot_with_the_true_gradient, {SEEN}),
        (one_hot_and_a_little_noise, {SEEN, MASKED}),
        (one_hot_and_much_noise, {MASKED}),
        (one_hot_and_a_hash, {MASKED}),
        (true_scores_in_one_query_of_a_hundred, {SEEN, MASKED}),
        (rounded, {MASKED}),
        (gradient_of_another_network, {MASKED}),
        (quiet_on_clean_images, {ALIKE}),
        (quieter_on_clean_images, {ALIKE}),
        (noise_fixed_when_traced(), {NEW}),
        (noise_shared_by(20), {NEW}),
    ],
)
def test_fake_fails_its_check_and_its_claim_is_near_0(fake, caught_by):
    verdict = evaluate(fake)
    assert caught_by <= failed(verdict)
    assert verdict["claim"]["accuracy"] < 0.12


def test_noise_that_outlasts_every_attack_does_not_save_the_claim():
    """Keep each draw for so long that no measurement sees another one: the attacker knows it."""
    assert evaluate(noise_shared_by(200))["claim"]["accuracy"] < 0.12


def test_random_gradients_are_averaged_though_answers_repeat():
    verdict = evaluate(flipped_gradient)
    assert verdict["parameters"]["random"] == {"noise_on": False}
    assert verdict["parameters"]["random_gradients"] == {"noise_on": True}
    apgd = next(row for row in verdict["attacks"] if row["attack"] == "APGD-CE")
    assert (apgd["parameters"]["eot_samples"], apgd["predictions"]) == (4, 1)


def test_blind_attacks_by_scores_are_made_up_for():
    rows = {(row["attack"], row["crafted_on"]): row for row in evaluate(one_hot)["attacks"]}
    substitute, decisions = rows["PGD-20", "substitute"], rows["HopSkipJump", "noise_on"]
    assert rows["Square", "noise_on"]["robust_accuracy"] > substitute["robust_accuracy"] + 0.05
    assert substitute["robust_accuracy"] > decisions["robust_accuracy"] + 0.3


def noisy_inputs(x):
    return undefended(x + 0.5 * tf.reshape(per_image_normal(x, 64), (-1, 8, 8, 1)))


def with_one_draw(x):
    return undefended(x + 0.5 * tf.random.stateless_normal((tf.shape(x)[0], 8, 8, 1), [0, 1]))


@pytest.mark.parametrize("samples", [1, 20])
def test_attack_with_one_draw_overestimates_what_the_suite_does_not(samples):
    """Craft on one draw, averaged or not, and answer with others: as Learn2Perturb's and RPF's code do."""

    def attacked(x):  # every draw that is averaged is the same one
        return tf.add_n([with_one_draw(x) for _ in range(samples)]) / samples

    x_adv = PGD(epsilon=EPSILON / 2, step_size=EPSILON / 8, steps=7)(attacked, IMAGES[TEST], LABELS[TEST], seed=0)
    answers = np.mean([np.argmax(noisy_inputs(x_adv), axis=1) == LABELS[TEST] for _ in range(20)])
    assert evaluate(noisy_inputs, EPSILON / 2)["claim"]["accuracy"] < 0.1 < answers


# Honest networks


@pytest.mark.parametrize("epsilon", [2 / 255, 0.1])
def test_honest_network_with_noisy_inputs_passes_though_noise_hides_scores(epsilon):
    def smoothed(x):
        return nearest_centroid(x + 0.25 * tf.random.normal(tf.shape(x)))

    verdict = evaluate(smoothed, epsilon)
    assert failed(verdict) == set()
    assert verdict["claim"]["accuracy"] > 0.4
    assert "HopSkipJump" in {row["attack"] for row in verdict["attacks"]}


def test_honest_network_is_spared_the_attacks_by_decisions():
    verdict = evaluate(nearest_centroid, 2 / 255)
    assert failed(verdict) == set()
    assert "HopSkipJump" not in {row["attack"] for row in verdict["attacks"]}
