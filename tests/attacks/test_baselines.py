import numpy as np
import tensorflow as tf

from rsr_tf.attacks.baselines import NoAttack, RandomSigns


def test_no_attack_returns_the_images(images, labels):
    assert NoAttack()(None, images, labels, seed=0) is images


def test_random_signs_are_plus_or_minus_epsilon_clipped_to_the_box(images, labels):
    changed = RandomSigns(0.1)(None, images, labels, seed=0).numpy()
    up, down = np.clip(images + 0.1, 0, 1), np.clip(images - 0.1, 0, 1)
    is_up, is_down = np.isclose(changed, up, atol=1e-6), np.isclose(changed, down, atol=1e-6)
    assert np.all(is_up | is_down)
    assert 0.4 < is_up.mean() < 0.6
    np.testing.assert_array_equal(changed, RandomSigns(0.1)(None, images, labels, seed=0))
    assert np.any(changed != RandomSigns(0.1)(None, images, labels, seed=1))


def test_random_signs_in_l2_are_epsilon_away():
    x = tf.fill((5, 4, 4, 3), 0.5)
    change = (RandomSigns(0.6, "l2")(None, x, None, seed=0) - x).numpy().reshape(5, -1)
    np.testing.assert_allclose(np.linalg.norm(change, axis=1), 0.6, rtol=1e-5)
    np.testing.assert_allclose(np.abs(change), 0.6 / 48**0.5, rtol=1e-4)
