"""The same training on noisy convolutions with Keras' own BatchNormalization and ReLU as separate layers."""

import rsr_tf
from rivals import LASSO, ours


def build(settings):
    stock = rsr_tf.strip(ours.network(settings))
    return ours.step_of(rsr_tf.add_noise(stock, kind=settings["noise"], lasso=LASSO), settings)
