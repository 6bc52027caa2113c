"""Noisy and prunable counterparts of all Keras convolutions: plain, transposed, depthwise and separable."""

import keras
import tensorflow as tf

from rsr_tf.keras_internals import causal_padding
from rsr_tf.layers.noisy_layer import KernelRole, WeightNoise


class NoisyConvolution(WeightNoise):
    """Mixin for a convolution of any kind; it comes before the Keras layer in the list of base classes.

    Each call draws one noisy kernel for the whole batch, both in training and at inference. For a model without noise,
    see `rsr_tf.strip`.
    """

    def call(self, inputs):
        return self.activation(self.convolve(inputs, *map(self.sample_kernel, self.kernel_roles), bias=self.bias))

    def convolve(self, inputs, *kernels, bias=None):
        """Apply this layer's convolution with given kernels and bias, without activation.

        Args:
            inputs: tensor; whole numbers, such as uint8 pixels, are cast as Keras does.
            *kernels: tensors, one for each of `kernel_roles`; they are cast to the dtype of `inputs`.
            bias: tensor `(filters,)`. Defaults to `None`.

        Returns:
            A float tensor in the dtype of `inputs`.
        """
        inputs = self.as_float(inputs)
        outputs = self.convolution_op(inputs, *(tf.cast(kernel, inputs.dtype) for kernel in kernels))
        if bias is None:
            return outputs
        layout = "NHWC" if self.data_format == "channels_last" else "NCHW"
        return tf.nn.bias_add(outputs, tf.cast(bias, outputs.dtype), data_format=layout)


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyConv1D(NoisyConvolution, keras.layers.Conv1D):
    """`keras.layers.Conv1D` with weight noise; see `NoisyConv2D`."""

    def convolution_op(self, inputs, kernel):
        if self.padding != "causal":
            return super().convolution_op(inputs, kernel)
        return keras.ops.conv(
            keras.ops.pad(inputs, causal_padding(self)),
            kernel,
            strides=list(self.strides),
            padding="valid",
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyConv2D(NoisyConvolution, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with weight noise (Eq. 4, Section 3.2); groups and dilation are supported.

    Args:
        *args, **kwargs: as in `keras.layers.Conv2D`.
        noise: granularity of the noise scale `alpha`: `"channel"` (as in the paper), `"layer"`, `"element"`, or
            `"none"`. Defaults to `"channel"`.
        noise_scale: non-negative number, initial value of `alpha`. Defaults to 0.25.
        seed: integer, `None` for a random seed per layer, or `"fresh"` for noise that nobody can foresee or
            repeat. Defaults to `None`.

    Raises:
        ValueError: if `noise` is unknown or `noise_scale` is negative.

    Example:
        >>> layer = rsr_tf.NoisyConv2D(16, 3, padding="same", noise="channel")
        >>> layer(tf.zeros((8, 32, 32, 3))).shape
        TensorShape([8, 32, 32, 16])
        >>> tuple(layer.alpha.shape)
        (16,)
    """


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyConv3D(NoisyConvolution, keras.layers.Conv3D):
    """`keras.layers.Conv3D` with weight noise; see `NoisyConv2D`."""


class NoisyTransposedConvolution(NoisyConvolution):
    """Transposed convolution with a kernel `(..., filters, channels)`; channel-wise `alpha` is `(filters, 1)`."""

    kernel_roles = (KernelRole(filter_axes=(-2,)),)

    def convolution_op(self, inputs, kernel):
        return keras.ops.conv_transpose(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyConv1DTranspose(NoisyTransposedConvolution, keras.layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose` with weight noise; see `NoisyTransposedConvolution`."""


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyConv2DTranspose(NoisyTransposedConvolution, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with weight noise; see `NoisyTransposedConvolution`."""


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyConv3DTranspose(NoisyTransposedConvolution, keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose` with weight noise; see `NoisyTransposedConvolution`."""


class NoisyDepthwiseConvolution(NoisyConvolution):
    """Depthwise convolution with a kernel `(..., channels, multiplier)`.

    Each pair of a channel and a multiplier is a filter, so channel-wise `alpha` is `(channels, multiplier)`.
    """

    kernel_roles = (KernelRole(filter_axes=(-2, -1), regularizer="depthwise_regularizer"),)

    def convolution_op(self, inputs, kernel):
        return keras.ops.depthwise_conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyDepthwiseConv1D(NoisyDepthwiseConvolution, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D` with weight noise; see `NoisyDepthwiseConvolution`."""


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyDepthwiseConv2D(NoisyDepthwiseConvolution, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with weight noise; see `NoisyDepthwiseConvolution`."""


class NoisySeparableConvolution(NoisyConvolution):
    """Depthwise convolution followed by a pointwise one: two kernels, each with its mask, noise scale and variance."""

    kernel_roles = (
        KernelRole("depthwise_kernel", filter_axes=(-2, -1), regularizer="depthwise_regularizer"),
        KernelRole("pointwise_kernel", regularizer="pointwise_regularizer"),
    )

    def convolution_op(self, inputs, depthwise_kernel, pointwise_kernel):
        return keras.ops.separable_conv(
            inputs,
            depthwise_kernel,
            pointwise_kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


@keras.saving.register_keras_serializable("rsr_tf")
class NoisySeparableConv1D(NoisySeparableConvolution, keras.layers.SeparableConv1D):
    """`keras.layers.SeparableConv1D` with weight noise; see `NoisySeparableConvolution`."""


@keras.saving.register_keras_serializable("rsr_tf")
class NoisySeparableConv2D(NoisySeparableConvolution, keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` with weight noise; see `NoisySeparableConvolution`."""
