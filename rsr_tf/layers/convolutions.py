"""Every convolution of Keras as a noisy and prunable layer: plain, transposed, depthwise and separable."""

import keras
import tensorflow as tf

from rsr_tf.keras_internals import causal_padding
from rsr_tf.layers.noisy_layer import KernelRole, WeightNoise


class NoisyConvolution(WeightNoise):
    """A convolution of any kind, mixed in before the layer of Keras.

    Draws one noisy kernel at every call, for the whole batch, in training and at inference. "Without noise" is another
    model: see `rsr_tf.strip`.
    """

    def call(self, inputs):
        return self.activation(self.convolve(inputs, *map(self.sample_kernel, self.kernel_roles), bias=self.bias))

    def convolve(self, inputs, *kernels, bias=None):
        """This layer's convolution with other kernels and bias, in the type of `inputs`, without activation."""
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
    """`keras.layers.Conv2D` with weight noise (Eq. 4, Section 3.2), for groups and dilation too.

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


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyConv3D(NoisyConvolution, keras.layers.Conv3D):
    """`keras.layers.Conv3D` with weight noise; see `NoisyConv2D`."""


class NoisyTransposedConvolution(NoisyConvolution):
    """A transposed convolution, whose kernel is `(..., filters, channels)`; `alpha` is `(filters, 1)` by channel."""

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
    """A depthwise convolution, whose kernel is `(..., channels, multiplier)`: each pair of these is a filter."""

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
    """A depthwise convolution and a pointwise one: two kernels, each with a mask, a noise scale and a variance."""

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
