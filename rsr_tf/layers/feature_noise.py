"""Noise on pixels or features: Random Self-Ensemble (Liu et al. 2018) and PixelDP (Lecuyer et al. 2019)."""

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.layers.noisy_layer import seed_generator, standard_normal
from rsr_tf.layers.replicas import ReplicaSeedGenerator


def _gaussian(draw, shape):
    return draw(shape)


def _laplace(draw, shape):
    """Draw Laplace numbers of variance 1: the determinant of four normal numbers is Laplace, with variance 2.

    (Kotz, Kozubowski and Podgorski 2001.) So there is one source of random numbers for all kinds of noise.
    """
    a, b, c, d = tf.unstack(draw(tf.concat([[4], shape], axis=0)), num=4)
    return (a * d - b * c) / np.sqrt(2)


KINDS = {"gaussian": _gaussian, "laplace": _laplace}
"""Distributions with mean 0 and variance 1: functions of a source of normal numbers and an int32 shape tensor."""


@keras.saving.register_keras_serializable("rsr_tf")
class FeatureNoise(keras.layers.Layer):
    """Noise that is added to pixels or features in training and at inference, new for every number of every image.

        y = x + ramp * std * eta

    RSE (Liu et al. 2018) has such a layer before every convolution; PixelDP (Lecuyer et al. 2019) has one, on the image
    or after the first convolution. Unlike `keras.layers.GaussianNoise` it is always on; for the network without it,
    see `rsr_tf.strip`. Unlike the noise of weights it is drawn for each image of a batch separately. With `std=0` the
    layer returns its inputs and draws nothing. Noise is computed in float32, whatever the compute dtype.

    The variable `ramp`, float32, not trainable and 1 at first, scales the noise, for training that begins with little.

    Args:
        std: non-negative number, standard deviation of the noise in units of the inputs, for either distribution. The
            scale of a Laplace distribution, often called b, is `std / sqrt(2)`.
        kind: `"gaussian"` or `"laplace"`. Defaults to `"gaussian"`.
        seed: integer, `None` for a random seed per layer, or `"fresh"` for noise that nobody can foresee or
            repeat. Defaults to `None`.

    Raises:
        ValueError: if `std` is negative or not finite, or `kind` is unknown.

    Example:
        >>> layer = rsr_tf.layers.FeatureNoise(0.2)
        >>> noise = layer(tf.zeros((100, 32, 32, 3)))
        >>> round(float(tf.math.reduce_std(noise)), 2)
        0.2
    """

    def __init__(self, std, kind="gaussian", seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= std < float("inf"):
            raise ValueError(f"`std` must be a finite number of at least 0. Received: std={std}")
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {tuple(KINDS)}. Received: kind={kind!r}")
        self.std = float(std)
        self.kind = kind
        self.seed = seed
        self.seed_generator = seed_generator(seed, ReplicaSeedGenerator)
        self.supports_masking = True

    def build(self, input_shape):
        self.ramp = self.add_weight(
            name="ramp", shape=(), initializer="ones", dtype="float32", trainable=False, autocast=False
        )

    def call(self, inputs):
        if self.std == 0:
            return inputs
        if not inputs.dtype.is_floating:  # whole numbers, such as uint8 pixels
            inputs = tf.cast(inputs, self.compute_dtype)
        noise = KINDS[self.kind](lambda shape: standard_normal(shape, self.seed, self.seed_generator), tf.shape(inputs))
        return inputs + tf.cast(self.ramp * self.std * noise, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def _named_state(self):
        """Return the variables to save, by name; the seed too, otherwise a resumed run would repeat its noise."""
        seed = {} if self.seed_generator is None else {"seed": self.seed_generator.state}
        return {"ramp": self.ramp, **seed}

    def save_own_variables(self, store):
        for name, variable in self._named_state().items():
            store[name] = variable

    def load_own_variables(self, store):
        state = self._named_state()
        if set(state) != set(store.keys()):
            raise ValueError(
                f"The saved variables of layer `{self.name}` must be {sorted(state)}. Received: {sorted(store.keys())}"
            )
        for name, variable in state.items():
            variable.assign(store[name])

    def get_config(self):
        return {**super().get_config(), "std": self.std, "kind": self.kind, "seed": self.seed}
