import functools

import numpy as np
import pytest

from rsr_tf.evaluation import AttackRunner, State, as_model_fn
from rsr_tf.evaluation.frozen import attack_frozen, freeze_noise
from rsr_tf.layers import reseed_noise


def runner_of(model, reseed, images, labels):
    networks = {"noise_on": as_model_fn(model)}
    options = {"epsilon": 0.1, "predictions": {"noise_on": 3}, "batch_size": 8, "seed": 0}
    return AttackRunner(networks, networks, images, labels, state=State(None, {}), reseed=reseed, **options)


def test_frozen_network_repeats_the_draw_of_its_seed(noisy_model, images):
    noisy, reseed = as_model_fn(noisy_model), functools.partial(reseed_noise, noisy_model)
    assert not np.array_equal(noisy(images), noisy(images))
    frozen, other = freeze_noise(noisy, reseed, 5), freeze_noise(noisy, reseed, 6)
    answers = frozen(images).numpy()
    reseed(5)
    np.testing.assert_array_equal(answers, noisy(images))
    np.testing.assert_array_equal(answers, frozen(images))
    assert not np.array_equal(answers, other(images))


@pytest.mark.slow
def test_network_with_a_known_draw_is_attacked_and_answers_once(noisy_model, images, labels):
    runner = runner_of(noisy_model, functools.partial(reseed_noise, noisy_model), images, labels)
    found = attack_frozen(runner, {"suite": "quick", "seed": 0})
    assert found["clean"]["predictions"] == found["worst_case"]["predictions"] == 1
    assert found["worst_case"]["accuracy"] <= found["clean"]["accuracy"]
    assert found["worst_case"]["mean"] == found["worst_case"]["accuracy"]  # one draw, twice
    assert {row["crafted_on"] for row in found["attacks"]} == {"noise_frozen"}
    assert runner.results == []


def test_noise_that_cannot_be_frozen_gives_nothing(noisy_model, images, labels):
    runner = runner_of(noisy_model, lambda seed: None, images, labels)
    assert attack_frozen(runner, {"suite": "quick", "seed": 0}) is None
