"""Baselines without a search: the clean images, and random noise."""

import math

import keras
import tensorflow as tf

from rsr_tf.attacks.base import Attack, Cost
from rsr_tf.attacks.norms import check_norm


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
    """Random noise of the largest size: every pixel moves up or down by the same amount, and is clipped to [0,1].

    Args:
        epsilon: size of the noise, measured in `norm`, of pixels in [0,1].
        norm: `"linf"` (default): pixels move by epsilon; or `"l2"`: the d values of an image move by epsilon / sqrt(d).
    """

    name = "random noise"
    description = "No attack: every pixel moves up or down at random, as far as epsilon allows."

    def __init__(self, epsilon, norm="linf"):
        check_norm(norm, epsilon=epsilon)
        self.epsilon = float(epsilon)
        self.norm = norm

    def __call__(self, model_fn, x, labels, *, seed=None):
        sign = tf.sign(keras.random.uniform(tf.shape(x), -1.0, 1.0, dtype="float32", seed=seed))
        size = self.epsilon / math.sqrt(math.prod(x.shape[1:])) if self.norm == "l2" else self.epsilon
        return tf.clip_by_value(x + size * sign, 0.0, 1.0)

    def cost(self):
        return Cost(gradients=0, classifications=0)

    def get_config(self):
        return {"epsilon": self.epsilon, "norm": self.norm}
