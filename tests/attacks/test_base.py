"""What every attack provides: a name and a description, its cost, its config."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks import APGD, EOTPGD, FGSM, PGD, Attack, HopSkipJump, Square, ZOOSettings
from rsr_tf.attacks.baselines import NoAttack, RandomSigns

ATTACKS = {
    "clean": (NoAttack(), False, (0, 0)),
    "random noise": (RandomSigns(0.1), False, (0, 0)),
    "FGSM": (FGSM(), True, (1, 0)),
    "PGD": (PGD(steps=7), True, (7, 0)),
    "EOT-PGD": (EOTPGD(steps=3, eot_samples=2, restarts=2), True, ((3 + 1) * 2 * 2, 0)),
    "APGD": (APGD(steps=4, eot_samples=3), True, ((4 + 1) * 3, 0)),
    "Square": (Square(queries=10, eot_samples=3, confirmations=5), False, (0, 10 * 3 * 2 + 5)),
}
NAMES = sorted(ATTACKS)


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_introduces_itself(name):
    attack, uses_gradients, _ = ATTACKS[name]
    assert isinstance(attack, Attack)
    assert (attack.name, attack.uses_gradients) == (name, uses_gradients)
    assert attack.description.endswith(".")
    assert json.loads(json.dumps(attack.get_config())) == attack.get_config()


@pytest.mark.parametrize("name", NAMES)
def test_cost_by_hand(name):
    attack, _, cost = ATTACKS[name]
    assert attack.cost() == cost


def test_square_without_rescoring_scores_one_image_per_query():
    assert Square(queries=10, eot_samples=3, confirmations=5, rescore=False).cost() == (0, 10 * 3 + 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_cost_is_what_the_network_sees(name):
    """It counts the images that it classifies and, of these, those that are differentiated."""
    seen, differentiated = [], []

    @tf.custom_gradient
    def counted(x):
        tf.py_function(lambda n: seen.append(int(n)), [tf.shape(x)[0]], [])

        def gradient(upstream):
            tf.py_function(lambda n: differentiated.append(int(n)), [tf.shape(x)[0]], [])
            return upstream

        return tf.identity(x), gradient

    def model_fn(x):  # class 0, whatever the attack does
        return tf.reshape(counted(x), (-1, 4)) + tf.constant([9.0, 0, 0, 0])

    attack, _, (gradients, classifications) = ATTACKS[name]
    x, labels = np.full((1, 2, 2, 1), 0.5, "float32"), np.array([0], "int32")
    tf.function(lambda: attack(model_fn, x, labels, seed=0))()
    assert sum(differentiated) == gradients
    assert classifications - 3 <= sum(seen) - sum(differentiated) <= classifications


def test_an_attack_has_to_say_what_it_costs():
    class Lazy(Attack):
        def __call__(self, model_fn, x, labels, *, seed=None):
            return x

    with pytest.raises(TypeError, match="abstract"):
        Lazy()


@pytest.mark.parametrize("kind", [EOTPGD, APGD, Square, ZOOSettings])
def test_draws_is_the_former_name_of_eot_samples(kind):
    with pytest.warns(DeprecationWarning, match="`draws` is now called `eot_samples`"):
        attack = kind(draws=3)
    assert attack.eot_samples == 3
    assert attack.get_config()["eot_samples"] == 3
    assert "draws" not in attack.get_config()


def test_registered_names_are_those_of_version_0_2_0():
    for name in ("PGD", "FGSM", "cross_entropy"):
        found = keras.saving.get_registered_object(f"rsr_tf>{name}")
        assert found.__name__ == name


@pytest.mark.parametrize(
    "attack",
    [
        PGD(steps=np.int64(3)),
        APGD(steps=np.int64(3), eot_samples=np.int8(2), restarts=np.uint8(1)),
        Square(queries=np.int64(3)),
        HopSkipJump(iterations=np.int32(3)),
        ZOOSettings(iterations=np.int64(3)),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_settings_that_are_integers_of_numpy_can_be_stored(attack):
    assert 3 in json.loads(json.dumps(attack.get_config())).values()
