"""The activation of Defensive Quantization (Lin, Gan and Han, ICLR 2019), and the twins that attacks are crafted on."""

import keras
import tensorflow as tf

from rsr_tf.keras_internals import nested_layers
from rsr_tf.layers.conversion import in_float32


def quantize(inputs, bits, ceiling):
    """Clip to `[0, ceiling]` and round to one of `2^bits` equidistant values.

        s * round(clip(a, 0, c) / s),   s = c / (2^bits - 1)

    Values halfway between two levels go to the even one, as TensorFlow rounds.

    Args:
        inputs: float32 tensor of any shape.
        bits: integer, at least 1, or `None`, which clips only.
        ceiling: positive number c, the largest value.

    Returns:
        A float32 tensor of the shape of `inputs`. The gradient is zero wherever there are bits.

    Example:
        >>> from rsr_tf.layers.quantized_relu import quantize
        >>> quantize(tf.constant([-1.0, 1.0, 2.9, 9.0]), bits=2, ceiling=6.0).numpy()
        array([0., 0., 2., 6.], dtype=float32)
    """
    clipped = tf.clip_by_value(inputs, 0.0, ceiling)
    if bits is None:
        return clipped
    step = ceiling / (2**bits - 1)
    return step * tf.round(clipped / step)


@keras.saving.register_keras_serializable("rsr_tf")
class QuantizedReLU:
    """Activation that clips to `[0, ceiling]` and rounds to `2^bits` values (Lin, Gan and Han, ICLR 2019).

        forward    s * round(clip(a, 0, c) / s),   s = c / (2^bits - 1)
        backward   1 where 0 < a < c, otherwise 0  (straight-through estimator, Bengio et al. 2013)

    It computes in float32, whatever the precision of its inputs, and is made of plain operations: a SavedModel keeps
    values and gradient, a TFLite file the values. Give it to any layer that takes an activation; for the sum of a
    residual unit, use `keras.layers.Activation(QuantizedReLU(4))`. A `.keras` file of a network that has it, a stripped
    one included, needs this package to load.

    Quantization masks gradients (Bernhard et al. 2019; Gupta and Ajanthan, AAAI 2022), so accuracy under attacks
    through this gradient alone proves nothing: attack a network also through its `float_twin` and `wide_twin`, see
    the argument `twins` of `rsr_tf.evaluation.run_suite`.

    Args:
        bits: integer from 1 to 24, or `None`, which clips but does not round.
        ceiling: positive number c, the largest output. Defaults to 6, as in ReLU6.
        margin: non-negative number: the gradient is 1 where `-margin < a < ceiling + margin`. Defaults to 0. A wider
            window is for attacks, see `wide_twin`.

    Raises:
        ValueError: if `bits` is not an integer from 1 to 24, `ceiling` is not positive and finite, or `margin` is
            negative or infinite.

    Example:
        >>> activation = rsr_tf.layers.QuantizedReLU(bits=4)  # 16 values, 0.4 apart
        >>> activation(tf.constant([-1.0, 2.9, 9.0])).numpy().round(4)
        array([0. , 2.8, 6. ], dtype=float32)
        >>> block = rsr_tf.NoisyConvBlock(16, 3, activation=activation)
    """

    def __init__(self, bits, ceiling=6.0, margin=0.0):
        if bits is not None and not (isinstance(bits, int) and not isinstance(bits, bool) and 1 <= bits <= 24):
            raise ValueError(f"`bits` must be an integer from 1 to 24, or None. Received: bits={bits!r}")
        if not 0 < ceiling < float("inf"):
            raise ValueError(f"`ceiling` must be positive and finite. Received: ceiling={ceiling}")
        if not 0 <= margin < float("inf"):
            raise ValueError(f"`margin` must be finite and not negative. Received: margin={margin}")
        self.bits = bits
        self.ceiling = float(ceiling)
        self.margin = float(margin)

    def __call__(self, inputs):
        inputs = tf.convert_to_tensor(inputs)
        exact = tf.cast(inputs, tf.float32)
        carrier = _clipped(exact, -self.margin, self.ceiling + self.margin)  # adds its gradient, and no value
        outputs = tf.stop_gradient(quantize(exact, self.bits, self.ceiling)) + (carrier - tf.stop_gradient(carrier))
        return tf.cast(outputs, inputs.dtype)

    def get_config(self):
        """Return the arguments as a JSON-serializable dict."""
        return {"bits": self.bits, "ceiling": self.ceiling, "margin": self.margin}

    @classmethod
    def from_config(cls, config):
        """Create the activation from the dict of `get_config`."""
        return cls(**config)


def _clipped(inputs, low, high):
    """Clip to `[low, high]`, but for a constant; unlike that of `clip_by_value`, the gradient is zero at both ends.

    ReLU6 is one operation forward and one backward, which makes the activation twice as fast as with comparisons.
    """
    scale = (high - low) / 6.0
    return scale * tf.nn.relu6((inputs - low) / scale)


def float_twin(model):
    """Copy a network with the rounding of every `QuantizedReLU` off: a ReLU clipped at the ceiling.

    Attacks on the twin do not meet the quantizer that may mask gradients; their images are then classified by the real
    network (transfer).

    Args:
        model: a built functional or Sequential model, `RSRModel` included.

    Returns:
        A functional `keras.Model` that computes in float32, not compiled, with the weights and noise of `model`.

    Raises:
        ValueError: if `model` is subclassed, or has no `QuantizedReLU`.

    Example:
        >>> quantized = keras.layers.Dense(4, activation=rsr_tf.layers.QuantizedReLU(1))
        >>> model = keras.Sequential([keras.Input((8,)), quantized])
        >>> rsr_tf.layers.float_twin(model).layers[-1].activation.bits is None
        True
    """
    return _with_quantizers(model, bits=None)


def wide_twin(model, margin=6.0):
    """Copy a network with a gradient of every `QuantizedReLU` that reaches beyond its window.

    The twin has the same outputs. An attack sees a direction where units are saturated, too.

    Args:
        model: as for `float_twin`.
        margin: non-negative number: the gradient is 1 where `-margin < a < ceiling + margin`. Defaults to 6.

    Returns:
        As for `float_twin`.

    Raises:
        ValueError: as for `float_twin`, or if `margin` is negative or infinite.

    Example:
        >>> quantized = keras.layers.Dense(4, activation=rsr_tf.layers.QuantizedReLU(1))
        >>> model = keras.Sequential([keras.Input((8,)), quantized])
        >>> rsr_tf.layers.wide_twin(model, margin=2).layers[-1].activation.get_config()
        {'bits': 1, 'ceiling': 6.0, 'margin': 2.0}
    """
    return _with_quantizers(model, margin=margin)


def quantized_activations(model):
    """Return every `QuantizedReLU` of a model: a list of triples of layer, name of its attribute, and activation.

    Args:
        model: a built Keras model.
    """
    return [
        (layer, name, value)
        for layer in nested_layers(model)
        for name, value in vars(layer).items()
        if isinstance(value, QuantizedReLU)
    ]


def _with_quantizers(model, **changes):
    """Copy a network with changes to the config of every `QuantizedReLU`, wherever a layer keeps it."""
    twin = in_float32(model)
    found = quantized_activations(twin)
    if not found:
        raise ValueError(f"`model` must have layers with the activation `QuantizedReLU`. Received: {model.name!r}")
    for layer, name, value in found:
        setattr(layer, name, QuantizedReLU(**{**value.get_config(), **changes}))
    return twin
