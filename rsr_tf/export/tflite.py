"""A trained network as a TFLite file: float32, int8, or with noise that is new at every call.

The files run in LiteRT (the package `ai-edge-litert`), or in the interpreter that TensorFlow still has.
"""

import contextlib
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

from rsr_tf.errors import first_line
from rsr_tf.files import replacing
from rsr_tf.layers.conversion import in_float32, strip, with_fresh_noise


def export_tflite(model, path, *, noise=False, calibration=None, sparse=False):
    """Write a network as a TFLite file from float32 pixels in [0,1] to float32 logits, for any number of images.

    Weights are constants in it, computed with in float32 whatever the policy of training was.

    Args:
        model: a functional or Sequential Keras model with one input and one output, noisy or not.
        path: file to write; what stood there is replaced in one step.
        noise: `False`, the default, for the network without noise (`rsr_tf.strip`). `True` for the noisy one: TFLite
            draws new noise at every call, seeded by the operating system in every interpreter.
        calibration: float32 `(n, h, w, c)` in [0,1], training images; a few hundred are enough. With them every weight
            and every layer between pixels and logits is int8 (full integer quantization after training), but for an
            operation that TFLite has no int8 kernel of, such as a sine: it stays float32.
        sparse: store the weights in TFLite's sparse encoding where that is smaller; not for int8, whose sparse dense
            layers LiteRT refuses to run. The interpreters unpack them when they load the file, so that neither memory
            nor latency shrinks. Defaults to `False`.

    Raises:
        ValueError: for a model of several inputs or outputs, a subclassed one, one with an operation that TFLite does
            not know, calibration images of another shape, or calibration together with noise or the sparse encoding.

    Example:
        >>> export_tflite(model, "network.tflite", calibration=train_images[:500])
    """
    if not (isinstance(model, keras.Model) and len(model.inputs or ()) == len(model.outputs or ()) == 1):
        raise ValueError(f"`model` must be a Keras model with one input and one output. Received: {model}")
    if calibration is not None:
        _check_calibration(calibration, model)
        if noise or sparse:
            raise ValueError(f"`calibration` goes with neither noise nor sparse. Received: {noise=}, {sparse=}")
    network = in_float32(with_fresh_noise(model) if noise else strip(model))
    serve = _frozen(network).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve], tf.Module())
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY] if sparse else []
    if calibration is not None:
        converter.optimizations.append(tf.lite.Optimize.DEFAULT)
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in calibration)
    content = _without_names(_convert(converter))
    with replacing(path) as temporary:
        temporary.write_bytes(content)


class TFLiteNetwork:
    """A TFLite file as a function from pixels to logits; batches may be of any size.

    Args:
        path: the file.
        threads: number of threads of the interpreter. Defaults to 2.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that is not TFLite, or has several inputs or outputs; when called, for images of another
            shape.

    Example:
        >>> TFLiteNetwork("network.tflite")(images).shape
        (16, 10)
    """

    def __init__(self, path, *, threads=2):
        content = Path(path).read_bytes()
        try:
            self._interpreter = interpreter_class()(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"`path` must be a TFLite file. Received: {str(path)!r}: {first_line(error)}") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if (len(inputs), len(outputs)) != (1, 1):
            raise ValueError(
                f"`path` must be a network with one input and one output. "
                f"Received: {str(path)!r} with {len(inputs)} inputs and {len(outputs)} outputs"
            )
        (self._input,), (self._output,) = inputs, outputs
        self._shape = tuple(map(int, self._input["shape"]))

    def __call__(self, pixels):
        """Float32 `(n, h, w, c)` in [0,1], array or tensor, to a float32 array `(n, classes)`."""
        pixels = np.asarray(pixels, np.float32)
        if pixels.shape[1:] != self._shape[1:]:
            raise ValueError(f"images must be of shape (n, {str(self._shape[1:])[1:-1]}). Received: {pixels.shape}")
        if pixels.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input["index"], pixels.shape)
            self._interpreter.allocate_tensors()
            self._shape = pixels.shape
        self._interpreter.set_tensor(self._input["index"], pixels)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"])


def interpreter_class():
    """LiteRT's interpreter, or TensorFlow's own where the package `ai-edge-litert` is missing."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return _tensorflow_interpreter
    return Interpreter


def _tensorflow_interpreter(**options):
    with _ignored("Warning: tf.lite.Interpreter is deprecated"):
        return tf.lite.Interpreter(**options)


def _frozen(network):
    """A network at inference as a `tf.function` with its variables as constants."""
    trainable, others = (
        [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variables in (network.trainable_variables, network.non_trainable_variables)
    )

    @tf.function(input_signature=[tf.TensorSpec((None, *network.input_shape[1:]), tf.float32, name="pixels")])
    def serve(pixels):
        logits, _ = network.stateless_call(trainable, others, pixels, training=False)
        return tf.cast(logits, tf.float32)

    return serve


def _convert(converter):
    with _ignored("Statistics for quantized inputs were expected"):
        try:
            return converter.convert()
        except Exception as error:  # ConverterError, or what the calibration meets
            raise ValueError(f"`model` cannot be converted to TFLite: {first_line(error)}") from error


def _without_names(content):
    """A TFLite file without the names of its inner tensors, which are long and of no use to an interpreter."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    flatbuffer_utils.strip_strings(model)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _check_calibration(calibration, model):
    shape = np.shape(calibration)
    if len(shape) != len(model.input_shape) or not shape[0] or shape[1:] != tuple(model.input_shape[1:]):
        raise ValueError(f"`calibration` must be images of shape {model.input_shape}. Received: shape {shape}")
    if not np.isfinite(calibration).all():
        raise ValueError("`calibration` must be numbers. Received: NaN or infinity")


@contextlib.contextmanager
def _ignored(message):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=rf"\s*{message}")
        yield
