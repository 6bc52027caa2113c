"""The noisy and prunable dense layer."""

import keras
import tensorflow as tf

from rsr_tf.layers.noisy_layer import WeightNoise


@keras.saving.register_keras_serializable("rsr_tf")
class NoisyDense(WeightNoise, keras.layers.Dense):
    """`keras.layers.Dense` with weight noise (Eq. 4, Section 3.2).

    Args:
        *args, **kwargs: as in `keras.layers.Dense`.
        noise: granularity of the noise scale `alpha`: `"channel"` (as in the paper), `"layer"`, `"element"`, or
            `"none"`. Defaults to `"channel"`.
        noise_scale: non-negative number, initial value of `alpha`. Defaults to 0.25.
        seed: integer, `None` for a random seed per layer, or `"fresh"` for noise that nobody can foresee or
            repeat. Defaults to `None`.

    Raises:
        ValueError: if `noise` is unknown or `noise_scale` is negative.

    Example:
        >>> rsr_tf.NoisyDense(10, noise="layer")(tf.zeros((8, 64))).shape
        TensorShape([8, 10])
    """

    def call(self, inputs, training=None):
        inputs = self.as_float(inputs)
        outputs = keras.ops.matmul(inputs, tf.cast(self.sample_kernel(), inputs.dtype))
        if self.bias is not None:
            outputs = outputs + tf.cast(self.bias, outputs.dtype)
        return self.activation(outputs)
