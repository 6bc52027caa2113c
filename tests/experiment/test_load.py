"""The networks of a file that are attacked; the command's own tests open runs and files."""

import numpy as np
import pytest
from helpers import enclosing_network, quantized_network, tiny_network

from rsr_tf.experiment.load import twins, variants

ROUNDED = ["without rounding", "with a wider gradient"]


def spread(network, images):
    """The standard deviation of the probabilities over 40 calls, mean of all."""
    scores = np.stack([network(images).numpy() for _ in range(40)])
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.std(odds / odds.sum(axis=-1, keepdims=True), axis=0).mean()


def test_quantized_network_and_ensemble_have_twins():
    assert list(twins(tiny_network())) == []
    assert list(twins(tiny_network(noise="none"), draws=4)) == []
    assert list(twins(tiny_network(), draws=4)) == ["mean of the gradients"]
    assert list(twins(quantized_network())) == ROUNDED
    assert list(twins(quantized_network(noise="none"), draws=4)) == ROUNDED
    assert list(twins(quantized_network(), draws=4)) == [*ROUNDED, "mean of the gradients"]


@pytest.mark.parametrize("name", [*ROUNDED, "mean of the gradients"])
def test_twins_of_an_ensemble_average_as_many_draws_as_it(images, name):
    """The mean of 16 draws spreads by a quarter of one draw; that of 4, by a half."""
    model, few = quantized_network(), images[:4]
    of_one_draw = spread(variants(model)["noise_on"], few)
    of_the_ensemble = spread(variants(model, draws=16)["noise_on"], few)
    of_the_twin = spread(twins(model, draws=16)[name], few)
    assert of_the_twin < 0.5 * of_one_draw
    assert of_the_twin == pytest.approx(of_the_ensemble, rel=0.5)


def test_network_with_noise_that_cannot_be_removed_is_attacked_with_noise_alone(images):
    assert list(variants(enclosing_network(noise="none"))) == ["noise_off"]
    networks = variants(enclosing_network())
    assert list(networks) == ["noise_on"]
    assert spread(networks["noise_on"], images) > 1e-4
