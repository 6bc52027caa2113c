"""Export a network as a TFLite file (float32, int8, or with noise), and run such a file.

The files run in LiteRT (package `ai-edge-litert`) or in TensorFlow's interpreter, which is deprecated.
"""

import contextlib
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

from rsr_tf.errors import first_line
from rsr_tf.export.signatures import arranged, input_specs, output_names
from rsr_tf.files import replacing
from rsr_tf.layers.conversion import in_float32, strip, with_fresh_noise
from rsr_tf.layers.noisy_layer import TFLITE


def export_tflite(model, path, *, noise=False, calibration=None, sparse=False):
    """Write a network as a TFLite file that maps float32 pixels in [0,1] to float32 logits, for any number of images.

    Weights become constants. They are stored and computed in float32, for any dtype policy of the model. Inputs of
    another type than float, such as uint8, keep their type. The file has one signature, `serving_default`, with the
    model's names of input and output, or `pixels` and `output_0` if it leaves them to Keras.

    Args:
        model: a functional or Sequential Keras model with one input and one output, noisy or stock.
        path: string or path of the file to write. An existing file is replaced atomically.
        noise: bool. `False` exports the network without noise (`rsr_tf.strip`). `True` exports the noisy network:
            TFLite draws new noise at every call, but from a seed of 32 bits per process, so that who sees noise can
            foretell all that follows. Defaults to `False`.
        calibration: training images `(n, h, w, c)` as the model takes them; a few hundred are enough. With them the
            weights and all layers between pixels and logits are int8 (full integer quantization after training),
            except for operations without an int8 kernel in TFLite, such as a sine, which stay float32. Defaults to
            `None`, for float32.
        sparse: bool, whether to store weights in TFLite's sparse encoding if that is smaller. Not available for int8:
            LiteRT cannot run its sparse dense layers. Interpreters unpack the weights when they load the file, so that
            memory and latency are the same. Defaults to `False`.

    Raises:
        ValueError: for a model with several inputs or outputs, a subclassed model, a model with an operation that
            TFLite does not support, calibration images that are not finite or of a wrong shape or type, `calibration`
            together with `noise` or `sparse`, or a file that TFLite writes but cannot run: int8 for a network that is
            pruned so far that some activations are zero.

    Example:
        >>> inputs = keras.Input((4, 4, 1))
        >>> model = keras.Model(inputs, rsr_tf.NoisyDense(3)(keras.layers.Flatten()(inputs)))
        >>> rsr_tf.export_tflite(model, "network.tflite")
        >>> network = rsr_tf.export.TFLiteNetwork("network.tflite")
        >>> network(np.ones((2, 4, 4, 1))).shape
        (2, 3)
    """
    if not (isinstance(model, keras.Model) and len(model.inputs or ()) == len(model.outputs or ()) == 1):
        raise ValueError(f"`model` must be a Keras model with one input and one output. Received: {model}")
    (spec,), (name,) = input_specs(model).values(), output_names(model)
    if calibration is not None:
        calibration = _checked_calibration(calibration, spec)
        if noise or sparse:
            raise ValueError(f"`calibration` must be None with `noise` or `sparse`. Received: {noise=}, {sparse=}")
    network = in_float32(with_fresh_noise(model, TFLITE) if noise else strip(model))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_frozen(network, spec, name)], tf.Module())
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY] if sparse else []
    if calibration is not None:
        converter.optimizations.append(tf.lite.Optimize.DEFAULT)
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in calibration)
    content = _without_inner_names(_convert(converter))
    _check_runs(content)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


class TFLiteNetwork:
    """A TFLite file, loaded as a callable from pixels to logits, for any number of images.

    Pixels are float32; for a network of another input type, such as uint8, they are of this type.

    Args:
        path: string or path of the file.
        threads: integer, number of threads of the interpreter. Defaults to 2.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: for a file that is not TFLite, or has several inputs or outputs; when called, for images of a wrong
            shape.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> rsr_tf.export_tflite(model, "dense.tflite")
        >>> rsr_tf.export.TFLiteNetwork("dense.tflite")(np.ones((3, 4))).shape
        (3, 2)
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
        """Return the logits of images.

        Args:
            pixels: array or tensor `(n, h, w, c)`, float32 in [0,1] or of the network's own type.

        Returns:
            A float32 array `(n, classes)`.
        """
        pixels = _as_type(pixels, self._input["dtype"], name="pixels")
        if pixels.shape[1:] != self._shape[1:]:
            raise ValueError(f"`pixels` must be of shape {(None, *self._shape[1:])}. Received: shape {pixels.shape}")
        if pixels.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input["index"], pixels.shape)
            self._interpreter.allocate_tensors()
            self._shape = pixels.shape
        self._interpreter.set_tensor(self._input["index"], pixels)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"])


def interpreter_class():
    """Return LiteRT's interpreter class, or TensorFlow's if the package `ai-edge-litert` is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return _tensorflow_interpreter
    return Interpreter


def _tensorflow_interpreter(**options):
    with _ignored("Warning: tf.lite.Interpreter is deprecated"):
        return tf.lite.Interpreter(**options)


def _frozen(network, spec, output):
    """Return a network at inference as a concrete function with its variables as constants.

    Args:
        network: a Keras model with one input and one output.
        spec: `tf.TensorSpec` of the input, with its name.
        output: string, name of the output.
    """
    trainable, others = (
        [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variables in (network.trainable_variables, network.non_trainable_variables)
    )

    def serve(**inputs):
        outputs, _ = network.stateless_call(trainable, others, arranged(network, [*inputs.values()]), training=False)
        return {output: tf.cast(keras.tree.flatten(outputs)[0], tf.float32)}

    return tf.function(serve).get_concrete_function(**{spec.name: spec})


def _convert(converter):
    """Return the content of the TFLite file; raise `ValueError` if the conversion fails."""
    with _ignored("Statistics for quantized inputs were expected"):
        try:
            return converter.convert()
        except Exception as error:  # ConverterError, or any error in the calibration
            raise ValueError(f"`model` cannot be converted to TFLite: {first_line(error)}") from error


def _without_inner_names(content):
    """Return the content of a TFLite file without the names of inner tensors: long, and unused by interpreters."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for graph in model.subgraphs:
        ends = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            tensor.name = tensor.name if index in ends else None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _check_runs(content):
    try:
        interpreter_class()(model_content=content).allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            "`model` cannot run as this TFLite file. Of an int8 file the usual reason are activations that are zero on "
            f"all images of `calibration`; prune less, or export float32: {first_line(error)}"
        ) from error


def _checked_calibration(calibration, spec):
    shape = np.shape(calibration)
    if len(shape) != spec.shape.rank or not shape[0] or shape[1:] != tuple(spec.shape[1:]):
        raise ValueError(f"`calibration` must be images of shape {tuple(spec.shape)}. Received: shape {shape}")
    if not np.isfinite(calibration).all():
        raise ValueError("`calibration` must be finite. Received: NaN or infinity")
    return _as_type(calibration, spec.dtype.as_numpy_dtype, name="calibration")


def _as_type(values, dtype, *, name):
    """Return numbers as an array of a type; refuse pixels in [0,1] for a network that takes whole numbers."""
    values, dtype = np.asarray(values), np.dtype(dtype)
    same = values.astype(dtype, copy=False)
    if dtype.kind != "f" and (values.dtype.kind == "f" or not np.array_equal(same, values)):
        raise ValueError(f"`{name}` must be of type {dtype}, as the network takes them. Received: {values.dtype}")
    return same


@contextlib.contextmanager
def _ignored(message):
    """Ignore warnings that start with `message` within the block."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=rf"\s*{message}")
        yield
