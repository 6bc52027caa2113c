"""Layers whose weights are noisy in training, in the attack and at inference (Eq. 4), and can be pruned (Eq. 7, 8)."""

import keras
import numpy as np
import tensorflow as tf

from rsr_tf import batch_norm
from rsr_tf.noise import alpha_shape, check_kind, masked_kernel, noise_deviation, noisy_kernel, unseeded_normal

FRESH = "fresh"
"""Value of `seed` for noise that cannot be foreseen or replayed; made for export, not for training."""


class WeightNoise:
    """What a layer with a kernel needs for Eq. 4: `alpha`, `mask` and a source of random numbers.

    Mixed in before `keras.layers.Conv2D` or `keras.layers.Dense`. Noise and mask are computed in float32, whatever the
    compute type of the layer, and the pruned weights of `kernel` are put back to zero after every optimizer update.

    Args:
        noise: granularity of `alpha`, one of `rsr_tf.noise.KINDS`. Defaults to `"channel"`, the paper's.
        noise_scale: start value of `alpha`. Defaults to 0.25.
        seed: integer, `None` for a seed of the layer's own, or `"fresh"` for noise that is new in every process.
    """

    def __init__(self, *args, noise="channel", noise_scale=0.25, seed=None, **kwargs):
        super().__init__(*args, **kwargs)
        check_kind(noise)
        if not noise_scale >= 0:
            raise ValueError(f"`noise_scale` must not be negative. Received: noise_scale={noise_scale}")
        self.noise = noise
        self.noise_scale = float(noise_scale)
        self.seed = seed
        self.seed_generator = None if seed == FRESH else keras.random.SeedGenerator(seed)
        self.alpha = None
        self.mask = None

    def build(self, input_shape):
        super().build(input_shape)
        shape = tuple(self.kernel.shape)
        self.mask = self.add_weight(name="mask", shape=shape, initializer="ones", dtype="bool", trainable=False)
        if self.noise != "none":
            self.alpha = self.add_weight(
                name="alpha",
                shape=alpha_shape(shape, self.noise),
                initializer=keras.initializers.Constant(self.noise_scale),
                autocast=False,
            )
        self._kernel.constraint = self._constrain_kernel

    def add_weight(self, *args, name=None, **kwargs):
        if name == "kernel":  # noise and mask want its float32 value
            kwargs["autocast"] = False
        return super().add_weight(*args, name=name, **kwargs)

    def _constrain_kernel(self, kernel):
        """Applied by the optimizer after each update, so that momentum and decay cannot revive a pruned weight."""
        if self.kernel_constraint is not None:
            kernel = self.kernel_constraint(kernel)
        return masked_kernel(kernel, self.mask)

    def sample_kernel(self):
        """One draw of Eq. 4 for a whole batch.

        Returns:
            A float32 tensor of the kernel's shape; zero where pruned.
        """
        kernel = tf.convert_to_tensor(self.kernel)
        if self.alpha is None:
            return masked_kernel(kernel, self.mask)
        deviation = noise_deviation(kernel, self.alpha)
        return noisy_kernel(kernel, deviation, self.mask, self._standard_normal(tuple(kernel.shape)))

    def _standard_normal(self, shape):
        if self.seed_generator is None:
            return unseeded_normal(shape)
        return keras.random.normal(shape, dtype="float32", seed=self.seed_generator)

    def _named_state(self):
        """Every variable that must survive saving, the state of the seed included: else a resumed run replays noise."""
        state = {"kernel": self.kernel, "bias": self.bias, "alpha": self.alpha, "mask": self.mask}
        if self.seed_generator is not None:
            state["seed"] = self.seed_generator.state
        return {name: variable for name, variable in state.items() if variable is not None}

    def save_own_variables(self, store):
        for name, variable in self._named_state().items():
            store[name] = variable

    def load_own_variables(self, store):
        state = self._named_state()
        if set(store.keys()) != set(state):
            raise ValueError(
                f"The saved variables of layer `{self.name}` must be {sorted(state)}. Received: {sorted(store.keys())}"
            )
        for name, variable in state.items():
            variable.assign(store[name])

    def get_config(self):
        return {**super().get_config(), "noise": self.noise, "noise_scale": self.noise_scale, "seed": self.seed}


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyConv2D(WeightNoise, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with weight noise (Eq. 4, Section 3.2).

    Draws one noisy kernel at every call, for the whole batch, in training and at inference. "Without noise" is another
    model: see `rsr_tf.strip`.

    Args:
        *args, **kwargs: as for `keras.layers.Conv2D`.
        noise, noise_scale, seed: see `WeightNoise`.

    Raises:
        ValueError: for an unknown `noise` or a negative `noise_scale`.

    Example:
        >>> layer = NoisyConv2D(16, 3, padding="same", noise="channel")
        >>> layer(tf.zeros((8, 32, 32, 3))).shape
        TensorShape([8, 32, 32, 16])
        >>> layer.alpha.shape
        (16,)
    """

    def call(self, inputs):
        return self.activation(self.convolve(inputs, self.sample_kernel(), self.bias))

    def convolve(self, inputs, kernel, bias=None):
        """This layer's convolution with another kernel and bias, in the type of `inputs`, without activation."""
        outputs = self.convolution_op(inputs, tf.cast(kernel, inputs.dtype))
        if bias is None:
            return outputs
        layout = "NHWC" if self.data_format == "channels_last" else "NCHW"
        return tf.nn.bias_add(outputs, tf.cast(bias, outputs.dtype), data_format=layout)


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyDense(WeightNoise, keras.layers.Dense):
    """`keras.layers.Dense` with weight noise (Eq. 4, Section 3.2).

    Args:
        *args, **kwargs: as for `keras.layers.Dense`.
        noise, noise_scale, seed: see `WeightNoise`.

    Raises:
        ValueError: for an unknown `noise` or a negative `noise_scale`.

    Example:
        >>> NoisyDense(10, noise="layer")(tf.zeros((8, 64))).shape
        TensorShape([8, 10])
    """

    def call(self, inputs, training=None):
        outputs = keras.ops.matmul(inputs, tf.cast(self.sample_kernel(), inputs.dtype))
        if self.bias is not None:
            outputs = outputs + tf.cast(self.bias, outputs.dtype)
        return self.activation(outputs)


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyConvBlock(keras.layers.Layer):
    """`NoisyConv2D`, `BatchNormalization` and an activation as one layer that computes the same function faster.

    In training the normalization is one fused operation; at inference, which is also how the attack sees the network,
    it is folded into the noisy kernel and a bias.

    Args:
        filters, kernel_size, strides, padding: as for `keras.layers.Conv2D`; `padding` defaults to `"same"`.
        activation: `None` or any Keras activation.
        momentum, epsilon: of the batch normalization, in Keras' sense.
        kernel_initializer, kernel_regularizer: of the convolution.
        noise, noise_scale, seed: see `WeightNoise`.

    Raises:
        ValueError: for an unknown `noise` or a negative `noise_scale`.

    Example:
        >>> block = NoisyConvBlock(16, 3, activation="relu")
        >>> block(tf.zeros((8, 32, 32, 3)), training=True).shape
        TensorShape([8, 32, 32, 16])
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="same",
        activation=None,
        momentum=0.9,
        epsilon=1.001e-5,
        kernel_initializer="he_normal",
        kernel_regularizer=None,
        noise="channel",
        noise_scale=0.25,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.convolution = NoisyConv2D(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            use_bias=False,
            data_format="channels_last",
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            noise=noise,
            noise_scale=noise_scale,
            seed=seed,
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.normalization = keras.layers.BatchNormalization(
            momentum=momentum, epsilon=epsilon, dtype=self.dtype_policy, name="normalization"
        )
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.normalization.build(self.convolution.compute_output_shape(input_shape))

    def call(self, inputs, training=False):
        if training and self.normalization.trainable:
            return self.activation(self._normalize_batch(self.convolution(inputs)))
        kernel, bias = self.fold(self.convolution.sample_kernel())
        return self.activation(self.convolution.convolve(inputs, kernel, bias))

    def fold(self, kernel):
        """A kernel of the convolution with the normalization in it, and the bias beside it; both float32."""
        bn = self.normalization
        return batch_norm.fold(kernel, bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance, bn.epsilon)

    def _normalize_batch(self, inputs):
        bn = self.normalization
        outputs, mean, variance = batch_norm.normalize_batch(
            inputs, tf.convert_to_tensor(bn.gamma), tf.convert_to_tensor(bn.beta), bn.epsilon
        )
        bn.moving_mean.assign(bn.moving_mean * bn.momentum + mean * (1 - bn.momentum))
        bn.moving_variance.assign(bn.moving_variance * bn.momentum + variance * (1 - bn.momentum))
        return outputs

    def compute_output_shape(self, input_shape):
        return self.convolution.compute_output_shape(input_shape)

    def get_config(self):
        convolution = self.convolution.get_config()
        shared = ("filters", "kernel_size", "strides", "padding", "kernel_initializer", "kernel_regularizer")
        own = ("noise", "noise_scale", "seed")
        return {
            **super().get_config(),
            **{key: convolution[key] for key in shared + own},
            "activation": keras.activations.serialize(self.activation),
            "momentum": self.normalization.momentum,
            "epsilon": self.normalization.epsilon,
        }


def noisy_layers(model):
    """Every layer of `model` that carries a mask, nested ones included, each once, in the order of the model.

    Args:
        model: a built Keras model or layer.

    Returns:
        A list of `NoisyConv2D` and `NoisyDense` layers.
    """
    return [layer for layer in model._flatten_layers() if isinstance(layer, WeightNoise)]


def reseed_noise(model, seed):
    """Restart the noise of a model, so that what is drawn from now on can be drawn again.

    Args:
        model: a built Keras model or layer; layers whose seed is `"fresh"` are left alone.
        seed: integer of at least 0; every layer gets a seed of its own from it.
    """
    layers = [layer for layer in noisy_layers(model) if layer.seed_generator is not None]
    seeds = np.random.SeedSequence(seed).generate_state(len(layers))
    for layer, own in zip(layers, seeds, strict=True):
        layer.seed_generator.state.assign(np.array([own, 0], layer.seed_generator.state.dtype))


def by_path(layers):
    """Layers as a dict by path; where nested models repeat a path, the later ones get a number."""
    named = {}
    for layer in layers:
        path, number = layer.path, 1
        while path in named:
            number += 1
            path = f"{layer.path}#{number}"
        named[path] = layer
    return named
