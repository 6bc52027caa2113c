"""Networks that only look robust, which the checks or the minimum over attacks must catch, and honest networks."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from digit_networks import (
    CENTROIDS,
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

import rsr_tf
from rsr_tf.evaluation import as_model_fn, evaluate_whitebox, run_suite, with_logits
from rsr_tf.layers import reseed_noise

pytestmark = pytest.mark.slow


def quantised(x):
    return undefended(tf.round(4 * x) / 4)


def scaled(x):
    return 1e4 * undefended(x)


def softmax(x):
    return tf.nn.softmax(undefended(x))


def logarithms_of_saturated_softmax(x):
    """What a SavedModel gives away whose softmax float32 has rounded to zeros and ones."""
    return SATURATED(x)


SATURATED = with_logits(lambda x: tf.nn.softmax(1e4 * undefended(x)), IMAGES[TEST])


def noisy_outputs(x):
    return undefended(x) + 6 * per_image_normal(x, 10)


def noisy_inputs(x):
    return undefended(x + 0.5 * tf.reshape(per_image_normal(x, 64), (-1, 8, 8, 1)))


def quiet_in(is_watched):
    """Return a network without noise in calls of some sizes, such as those of ZOO, or of Square."""
    return lambda x: undefended(x) + tf.where(is_watched(tf.shape(x)[0]), 0.0, 0.5) * per_image_normal(x, 10)


def quiet_but_for_the_first(x):
    first = tf.cast(tf.range(tf.shape(x)[0]) == 0, tf.float32)[:, tf.newaxis]
    return undefended(x) + tf.where(tf.shape(x)[0] == 257, first, 1.0) * 0.5 * per_image_normal(x, 10)


@tf.custom_gradient
def misleading_for_some(x):
    """Reverse the gradient for the brightest fifth of the images."""
    bright = tf.reduce_mean(x, axis=(1, 2, 3), keepdims=True) > BRIGHT
    return x, lambda upstream: tf.where(bright, -upstream, upstream)


BRIGHT = np.quantile(IMAGES[TEST].mean(axis=(1, 2, 3)), 0.8)


def misleads_for_some(x):
    return undefended(misleading_for_some(x))


@pytest.mark.parametrize(
    ("fake", "caught_by"),
    [
        (quantised, {"gradients not zero", "black-box not stronger than white-box", "accuracy reaches zero"}),
        (scaled, {"gradients not zero", "loss not saturated", "black-box not stronger than white-box"}),
        (softmax, {"logits and not probabilities"}),
        (logarithms_of_saturated_softmax, {"gradients not zero", "scores change with the image"}),
        (quiet_in(lambda n: n == 257), {"noise alike in calls of every size"}),
        (quiet_in(lambda n: n > 257), {"noise alike in calls of every size"}),
        (quiet_in(lambda n: n == 100), {"noise alike in calls of every size"}),
        (quiet_but_for_the_first, {"noise alike in calls of every size"}),
    ],
)
def test_fake_fails_its_checks(fake, caught_by):
    verdict = evaluate(fake)
    assert caught_by <= failed(verdict)
    assert "Not reliable; failed checks:" in verdict["sentence"]


@pytest.mark.parametrize(
    ("fake", "caught_by"),
    [
        (quantised, {"gradients not zero", "black-box not stronger than white-box", "accuracy reaches zero"}),
        (scaled, {"gradients not zero", "loss not saturated", "black-box not stronger than white-box"}),
        (softmax, {"logits and not probabilities"}),
    ],
)
def test_fake_fails_its_checks_in_l2(fake, caught_by):
    verdict = evaluate(fake, 1.0, norm="l2")
    assert caught_by <= failed(verdict)
    assert "at epsilon 1 in l2" in verdict["sentence"]
    assert verdict["claim"]["accuracy"] < 0.25


@pytest.mark.parametrize(
    ("network", "epsilon", "bounds"), [(undefended, 1.0, (0, 0.1)), (nearest_centroid, 0.1, (0.6, 0.85))]
)
def test_honest_network_passes_every_check_in_l2(network, epsilon, bounds):
    verdict = evaluate(network, epsilon, norm="l2")
    assert failed(verdict) == set()
    assert bounds[0] <= verdict["claim"]["accuracy"] < bounds[1]


def test_scores_find_images_with_misleading_gradients_beyond_the_checks():
    more = slice(1400, 1600)
    verdict = run_suite(misleads_for_some, IMAGES[more], LABELS[more], epsilon=EPSILON)
    assert "scores find little that gradients left" in failed(verdict)


@pytest.mark.parametrize("fake", [noisy_outputs, noisy_inputs])
def test_noise_that_deceives_a_plain_attack_does_not_save_the_claim(fake):
    naive = evaluate_whitebox(
        fake,
        IMAGES[TEST],
        LABELS[TEST],
        epsilon=EPSILON / 2,
        step_size=EPSILON / 8,
        steps=7,
        repeats=3,
        batch_size=100,
    )
    verdict = evaluate(fake, EPSILON / 2)
    assert verdict["claim"]["accuracy"] < 0.1 < naive["pgd"].mean
    assert verdict["parameters"]["random"] == {"noise_on": True}


def rounded(x):
    """Round the scores: most steps have no gradient, so that only accidents of the scores give a direction."""
    return 0.25 * tf.round(undefended(x) / 0.25 / 10) * 10


def test_network_with_a_masking_quantizer_is_broken_through_its_twin():
    verdict = evaluate(rounded, EPSILON / 2, twins={"float": undefended})
    rows = [row for row in verdict["attacks"] if row["crafted_on"] in ("noise_on", "float")]
    first = next(number for number, row in enumerate(rows) if row["crafted_on"] == "float")
    assert {row["attack"] for row in rows[first:] if row["crafted_on"] == "float"} == {"APGD-CE", "APGD-DLR"}
    assert {row["scored_on"] for row in rows} == {"noise_on"}
    assert verdict["claim"]["accuracy"] < rows[first - 1]["robust_accuracy"] - 0.05
    assert "twins find little that other attacks left" in failed(verdict)
    assert verdict["parameters"]["twins"] == ["float"]


def test_honest_undefended_network_passes_every_check_and_is_not_robust():
    verdict = evaluate(undefended)
    assert failed(verdict) == set()
    assert verdict["by_noise"]["noise_on"]["clean"]["accuracy"] > 0.85
    assert verdict["claim"]["accuracy"] < 0.05


def test_honest_network_behind_a_softmax_passes_every_check():
    verdict = evaluate(with_logits(softmax, IMAGES[TEST]))
    assert failed(verdict) == set()
    assert verdict["claim"]["accuracy"] < 0.05


def test_honest_robust_network_passes_every_check_at_a_small_epsilon():
    """Evaluate the nearest centroid at 2/255, where most images must stay correct."""
    verdict = evaluate(nearest_centroid, 2 / 255)
    assert failed(verdict) == set()
    assert verdict["claim"]["accuracy"] > 0.6


def test_honest_noisy_network_passes_every_check_and_keeps_its_accuracy():
    """Evaluate the nearest centroid, a robust classifier, with noise on its weights (Eq. 4)."""
    layer = rsr_tf.NoisyDense(10, noise="channel")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), layer])
    layer.kernel.assign(CENTROIDS.T)
    layer.bias.assign(-0.5 * np.sum(CENTROIDS**2, axis=1))
    more = slice(1400, 1600)  # more than the checks look at
    verdict = run_suite(
        as_model_fn(model),
        IMAGES[more],
        LABELS[more],
        epsilon=0.1,
        stripped_fn=as_model_fn(rsr_tf.strip(model)),
        reseed=functools.partial(reseed_noise, model),
    )
    assert verdict["parameters"]["num_images"] == 200
    assert failed(verdict) == set()
    assert verdict["parameters"]["random"] == {"noise_on": True, "noise_off": False}
    assert 0.2 < verdict["claim"]["accuracy"] < verdict["by_noise"]["noise_on"]["clean"]["mean"] - 0.1
    assert verdict["frozen"]["worst_case"]["accuracy"] < verdict["by_noise"]["noise_on"]["clean"]["mean"] - 0.1
    settings = {(row["crafted_on"], row["scored_on"]) for row in verdict["attacks"] if row["attack"] == "APGD-CE"}
    assert settings == {
        (source, target) for source in ("noise_on", "noise_off") for target in ("noise_on", "noise_off")
    }
