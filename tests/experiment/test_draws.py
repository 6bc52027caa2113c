"""Networks that predict by the mean of several draws of their noise."""

import numpy as np
import tensorflow as tf
from helpers import parse

from rsr_tf.experiment.draws import averaged, draws_of_exported, named, twins_of_mean


def drawn_once(images):
    """One logit that is noise, one that is 0."""
    noise = tf.random.normal((len(images), 1))
    return tf.concat([noise, tf.zeros_like(noise)], axis=1)


def spread(network, images):
    """The standard deviation over 100 calls of the probability of the first class."""
    return np.std([tf.nn.softmax(network(images)).numpy()[:, 0] for _ in range(100)], axis=0).mean()


def test_mean_of_16_draws_spreads_by_a_quarter(images):
    once, mean = spread(drawn_once, images[:4]), spread(averaged(drawn_once, 16), images[:4])
    np.testing.assert_allclose(mean, once / 4, rtol=0.3)


def test_single_draw_is_the_network_itself_and_has_no_twin():
    assert averaged(drawn_once, 1) is drawn_once
    assert twins_of_mean(drawn_once, 1) == {}
    assert list(twins_of_mean(drawn_once, 2)) == ["mean of the gradients"]


def test_exported_network_without_noise_is_called_once():
    config = parse("", "evaluation.ensemble=5")
    found = [draws_of_exported(config, metadata) for metadata in ({"noisy": True}, {}, {"noisy": False})]
    assert found == [5, 5, 1]


def test_identity_names_draws_unless_there_is_one():
    assert [named("abc", draws) for draws in (1, 3)] == ["abc", "abc, mean of 3 draws"]
