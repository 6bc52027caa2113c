"""The file formats that a network can be exported to; a new format is one file in this package and one row below."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from rsr_tf.evaluation.model_fn import inference
from rsr_tf.export.compact import load_compact, save_compact
from rsr_tf.export.saved_model import export_saved_model
from rsr_tf.export.tflite import TFLiteNetwork, export_tflite
from rsr_tf.layers import draws_noise
from rsr_tf.layers.conversion import strip


@dataclass(frozen=True)
class ExportFormat:
    """A file format that a network can be exported to, with its writer and loader.

    Args:
        title: string, its name in a table.
        file: string, the name of the file or folder.
        runtime: `"TensorFlow"` or `"TFLite"`.
        write: function `(model, path)` that writes the trained network.
        load: function from the path to a function from images to logits.
        noisy: bool, whether the loaded function draws noise. Defaults to `False`.
    """

    title: str
    file: str
    runtime: str
    write: Callable
    load: Callable
    noisy: bool = False


def export_formats(model, *, calibration):
    """Return the export formats of a network; those with noise only if the network has noise.

    Args:
        model: a functional or Sequential Keras model with one input and one output.
        calibration: training images for int8; see `rsr_tf.export_tflite`.

    Returns:
        A list of `ExportFormat` with unique titles.

    Example:
        >>> from rsr_tf.export.formats import export_formats
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> [entry.title for entry in export_formats(model, calibration=np.ones((8, 4)))][:3]
        ['Keras file', 'SavedModel', 'compact archive']
    """
    rows = [
        ExportFormat("Keras file", "stripped.keras", "TensorFlow", _stripped(_save_keras), _load_keras),
        ExportFormat("SavedModel", "saved_model", "TensorFlow", export_saved_model, _endpoint("serve_deterministic")),
        ExportFormat("compact archive", "stripped.rsrz", "TensorFlow", _stripped(save_compact), _load_compact),
        ExportFormat("TFLite float32", "float32.tflite", "TFLite", export_tflite, TFLiteNetwork),
        ExportFormat("TFLite float32, sparse", "float32_sparse.tflite", "TFLite", _tflite(sparse=True), TFLiteNetwork),
        ExportFormat("TFLite int8", "int8.tflite", "TFLite", _tflite(calibration=calibration), TFLiteNetwork),
        ExportFormat("Keras file as trained", "noisy.keras", "TensorFlow", _save_keras, _load_keras, True),
        ExportFormat("SavedModel, noisy", "saved_model", "TensorFlow", export_saved_model, _endpoint("serve"), True),
        ExportFormat("compact archive, noisy", "noisy.rsrz", "TensorFlow", save_compact, _load_compact, True),
        ExportFormat("TFLite float32, noisy", "noisy.tflite", "TFLite", _tflite(noise=True), TFLiteNetwork, True),
    ]
    return [row for row in rows if draws_noise(model) or not row.noisy]


def _stripped(write):
    """Return a function `(model, path)` that writes the network without noise."""
    return lambda model, path: write(strip(model), path)


def _save_keras(model, path):
    model.save(path)


def _load_keras(path):
    return _as_served(keras.models.load_model(path, compile=False))


def _load_compact(path):
    return _as_served(load_compact(path))


def _as_served(model):
    """Return a Keras model as it runs in production: in its own precision, traced once."""
    network = inference(model)
    return tf.function(lambda images: tf.cast(network(images), tf.float32), reduce_retracing=True)


def _endpoint(name):
    """Return a loader of one signature of a SavedModel."""

    def load(path):
        loaded = tf.saved_model.load(path)
        return lambda images: getattr(loaded, name)(images)  # the reference to `loaded` keeps its variables alive

    return load


def _tflite(**options):
    """Return a function `(model, path)` that writes a TFLite file with options of `export_tflite`."""
    return functools.partial(export_tflite, **options)
