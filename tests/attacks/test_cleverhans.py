import numpy as np
import tensorflow as tf

from rsr_tf import evaluation
from rsr_tf.attacks.cleverhans import build_attacks


def test_clean_fgsm_and_pgd_of_a_network_whose_gradient_is_known():
    """The loss of label 0 rises with every pixel, so that both attacks end at epsilon above the image, or at 1."""
    attacks = build_attacks(
        lambda x: tf.stack([-tf.reduce_sum(x, (1, 2, 3)), tf.zeros(len(x))], axis=1),
        epsilon=0.1,
        step_size=0.05,
        steps=6,
    )
    x = tf.constant(np.random.default_rng(0).uniform(size=(5, 3, 3, 1)).astype("float32"))
    found = {name: np.array(attack(x, tf.zeros(5, tf.int32))) for name, attack in attacks.items()}
    assert list(found) == ["clean", "fgsm", "pgd"]
    np.testing.assert_array_equal(found["clean"], x)
    for name in ("fgsm", "pgd"):
        np.testing.assert_allclose(found[name], np.minimum(x + 0.1, 1), atol=1e-6)


def test_it_is_a_public_name_of_evaluation():
    assert evaluation.build_attacks is build_attacks
