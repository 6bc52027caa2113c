"""The noisy and prunable dense layer."""

import keras
import tensorflow as tf

from rsr_tf.layers.noisy_layer import WeightNoise


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
