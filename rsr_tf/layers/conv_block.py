"""A noisy convolution, its batch normalization and an activation as one layer."""

import keras
import tensorflow as tf

from rsr_tf.layers import batch_norm
from rsr_tf.layers.convolutions import NoisyConv2D
from rsr_tf.layers.noise import in_single_precision
from rsr_tf.layers.replicas import replica_context

PARTS = ("convolution", "normalization")
"""Names of the layers in a block."""


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyConvBlock(keras.layers.Layer):
    """`NoisyConv2D`, `BatchNormalization` and an activation as one layer: the same function, computed faster.

    In training the normalization is one fused operation. At inference it is folded into the noisy kernel and a bias;
    attacks see the network in this mode.

    Args:
        filters, kernel_size, strides, padding: as in `keras.layers.Conv2D`, but `padding` defaults to `"same"`.
        activation: a Keras activation, by name or as a function. Defaults to `None`.
        momentum, epsilon: numbers, as in `keras.layers.BatchNormalization`. Default to 0.9 and 1.001e-5.
        kernel_initializer, kernel_regularizer: of the convolution, as in `keras.layers.Conv2D`. Default to
            `"he_normal"` and `None`.
        noise: granularity of the noise scale `alpha`: `"channel"` (as in the paper), `"layer"`, `"element"`, or
            `"none"`. Defaults to `"channel"`.
        noise_scale: non-negative number, initial value of `alpha`. Defaults to 0.25.
        seed: integer, `None` for a random seed per layer, or `"fresh"` for noise that nobody can foresee or
            repeat. Defaults to `None`.
        frozen: names of the parts that are not trained, of `"convolution"` and `"normalization"`. Defaults to `None`:
            both are trained if the block is `trainable`.
        kernel_constraint: of the convolution, as in `keras.layers.Conv2D`, such as `Parseval`. Defaults to `None`.
        synchronized: bool, whether several replicas normalize by the statistics of all their images instead of each by
            those of its own, as in `keras.layers.BatchNormalization`. Defaults to `False`.

    Raises:
        ValueError: if `noise` is unknown or `noise_scale` is negative.

    Example:
        >>> block = rsr_tf.NoisyConvBlock(16, 3, activation="relu")
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
        frozen=None,
        kernel_constraint=None,
        synchronized=False,
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
            kernel_constraint=kernel_constraint,
            noise=noise,
            noise_scale=noise_scale,
            seed=seed,
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.normalization = keras.layers.BatchNormalization(
            momentum=momentum,
            epsilon=epsilon,
            synchronized=synchronized,
            dtype=self.dtype_policy,
            name="normalization",
        )
        self.activation = keras.activations.get(activation)
        for name in PARTS:
            getattr(self, name).trainable = self.trainable if frozen is None else name not in frozen

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.normalization.build(self.convolution.compute_output_shape(input_shape))

    def call(self, inputs, training=False):
        if training and self.normalization.trainable:
            return self.activation(self._normalize_batch(self.convolution(inputs)))
        kernel, bias = self.fold(self.convolution.sample_kernel())
        return self.activation(self.convolution.convolve(inputs, kernel, bias=bias))

    def fold(self, kernel):
        """Fold the normalization into a kernel of the convolution.

        Args:
            kernel: tensor, such as a result of `sample_kernel`.

        Returns:
            A tuple `(kernel, bias)` of tensors in the dtype of the kernel.
        """
        bn = self.normalization
        variables = (bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance)
        return batch_norm.fold(kernel, *(tf.cast(each, kernel.dtype) for each in variables), bn.epsilon)

    def _normalize_batch(self, inputs):
        """Normalize by the statistics of the batch, and update the moving statistics."""
        bn = self.normalization
        if inputs.dtype == tf.float64 or (bn.synchronized and replica_context() is not None):
            return bn(inputs, training=True)  # there is no fused operation in float64, nor of several replicas
        outputs, mean, variance = batch_norm.normalize_batch(
            inputs, in_single_precision(bn.gamma), in_single_precision(bn.beta), bn.epsilon
        )
        for moving, value in ((bn.moving_mean, mean), (bn.moving_variance, variance)):
            moving.assign(moving * bn.momentum + tf.cast(value * (1 - bn.momentum), moving.dtype))
        return outputs

    def compute_output_shape(self, input_shape):
        return self.convolution.compute_output_shape(input_shape)

    def get_config(self):
        convolution = self.convolution.get_config()
        shared = ("filters", "kernel_size", "strides", "padding", "kernel_initializer", "kernel_regularizer")
        noise = ("noise", "noise_scale", "seed")
        frozen = [name for name in PARTS if not getattr(self, name).trainable]
        return {
            **super().get_config(),
            **({} if frozen == ([] if self.trainable else list(PARTS)) else {"frozen": frozen}),
            **{key: convolution[key] for key in shared + noise},
            **{key: convolution[key] for key in ("kernel_constraint",) if convolution[key]},  # absent from older files
            **({"synchronized": True} if self.normalization.synchronized else {}),  # likewise
            "activation": keras.activations.serialize(self.activation),
            "momentum": self.normalization.momentum,
            "epsilon": self.normalization.epsilon,
        }
