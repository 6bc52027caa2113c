"""Baselines without a search: the clean images, and random noise."""

import keras
import tensorflow as tf

from rsr_tf.attacks.base import Attack, Cost


class NoAttack(Attack):
    """The identity: returns the clean images."""

    name = "clean"
    description = "No attack: the unmodified test images."

    def __call__(self, model_fn, x, labels, *, seed=None):
        return x

    def cost(self):
        return Cost(gradients=0, classifications=0)

    def get_config(self):
        return {}


class RandomSigns(Attack):
    """Random noise of the largest size: adds plus or minus epsilon to every pixel, and clips to [0,1].

    Args:
        epsilon: size of the noise, in units of pixels in [0,1].
    """

    name = "random noise"
    description = "No attack: every pixel moves up or down by epsilon at random."

    def __init__(self, epsilon):
        self.epsilon = float(epsilon)

    def __call__(self, model_fn, x, labels, *, seed=None):
        sign = tf.sign(keras.random.uniform(tf.shape(x), -1.0, 1.0, dtype="float32", seed=seed))
        return tf.clip_by_value(x + self.epsilon * sign, 0.0, 1.0)

    def cost(self):
        return Cost(gradients=0, classifications=0)

    def get_config(self):
        return {"epsilon": self.epsilon}
