"""Accuracy under cleverhans' PGD called eagerly with one stable callable, over the batch of the settings; no training.

The network is the one of the settings in Keras' own layers, with its noise.
"""

import numpy as np
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

import rsr_tf
from rivals import EPSILON, STEP_SIZE, ours


def build(settings):
    model = rsr_tf.add_noise(rsr_tf.strip(ours.network(settings)), kind=settings["noise"])
    x, y = ours.batch(settings)

    def model_fn(x):
        return model(x, training=False)

    def accuracy():
        x_adv = projected_gradient_descent(
            model_fn, x, EPSILON, STEP_SIZE, settings["steps"], np.inf, y=y, rand_init=True, clip_min=0.0, clip_max=1.0
        )
        return np.mean(np.argmax(model_fn(x_adv), axis=-1) == y.numpy())

    return accuracy
