import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks import EOTPGD, PGD
from rsr_tf.attacks.baselines import RandomSigns
from rsr_tf.evaluation.attack_graphs import AttackGraphs, graph_key

LABELS = np.zeros(16, "int32")


@pytest.fixture
def network():
    """A network that counts how often it is traced."""

    def logits(x):
        network.traced += 1
        return tf.stack([tf.reduce_sum(x**2, (1, 2, 3)), tf.reduce_sum(x, (1, 2, 3))], axis=1)

    def network(x):
        return logits(x)

    network.traced = 0
    return network


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_attacks_that_differ_in_numbers_share_a_graph_and_are_what_they_are_alone(network, images, norm):
    graphs = AttackGraphs((16, 8, 8, 1))
    for epsilon, steps in ((0.1, 2), (0.3, 2), (0.3, 5)):
        attack = EOTPGD(epsilon=epsilon, steps=steps, eot_samples=1, norm=norm)
        craft = graphs.crafter(attack, "network", network)
        alone = AttackGraphs((16, 8, 8, 1)).crafter(Alone(attack), "network", network)
        np.testing.assert_array_equal(craft(images, LABELS, seed=3), alone(images, LABELS, seed=3))
    assert network.traced == 1 + 3


class Alone:
    """An attack without `numbers`, whose settings are constants of its graph."""

    def __init__(self, attack):
        self.attack, self.get_config = attack, attack.get_config

    def __call__(self, *arguments, **options):
        return self.attack(*arguments, **options)


def test_seed_decides_the_random_start(network, images):
    craft = AttackGraphs((16, 8, 8, 1)).crafter(EOTPGD(epsilon=0.3, steps=1, eot_samples=1), "network", network)
    first, again, other = (craft(images, LABELS, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_other_settings_and_networks_have_graphs_of_their_own():
    first = graph_key(EOTPGD(epsilon=0.1, eot_samples=1), "network")
    assert first == graph_key(EOTPGD(epsilon=0.2, eot_samples=1, step_size=0.01, steps=3), "network")
    others = [
        graph_key(EOTPGD(epsilon=0.1, eot_samples=1), "another"),
        graph_key(EOTPGD(epsilon=0.1, eot_samples=2), "network"),
        graph_key(EOTPGD(epsilon=0.1, eot_samples=1, norm="l2"), "network"),
        graph_key(EOTPGD(epsilon=0.1, eot_samples=1, restarts=2), "network"),
        graph_key(EOTPGD(epsilon=0.1, eot_samples=1, loss="dlr"), "network"),
        graph_key(PGD(epsilon=0.1), "network"),
        graph_key(PGD(epsilon=0.2), "network"),
        graph_key(RandomSigns(0.1, "linf"), "network"),
    ]
    assert len({first, *others}) == 1 + len(others)


def test_attack_that_is_never_run_is_never_traced(network, images):
    graphs = AttackGraphs((16, 8, 8, 1))
    graphs.crafter(EOTPGD(), "network", network)
    assert network.traced == 0
