"""The names and types with which an exported network takes its inputs and returns its outputs."""

import re

import keras
import tensorflow as tf

from rsr_tf.keras_internals import given_name
from rsr_tf.layers.registry import inputs_and_outputs

HALF = ("float16", "bfloat16")
PIXEL_TYPES = (*HALF, "float32", "float64", "uint8")


def input_specs(model):
    """Return the inputs of a model by name: its own names, or `pixels` for an image that Keras has named.

    Args:
        model: a built functional or Sequential model.

    Returns:
        A dict from name to `tf.TensorSpec`, in the order of `model.inputs`, for any number of images. The types are
        those of the model, but float32 for half precision.

    Example:
        >>> from rsr_tf.export.signatures import input_specs
        >>> model = keras.Sequential([keras.Input((4,), dtype="uint8", name="image"), keras.layers.Rescaling(1 / 255)])
        >>> input_specs(model)
        {'image': TensorSpec(shape=(None, 4), dtype=tf.uint8, name='image')}
    """
    structure, _ = inputs_and_outputs(model)
    numbered = _numbered("input", model.inputs)
    if len(model.inputs) == 1:
        numbered = ["pixels" if model.inputs[0].dtype in PIXEL_TYPES else "inputs"]
    names = _names(structure, model.inputs, numbered)
    return {
        name: tf.TensorSpec((None, *tensor.shape[1:]), "float32" if tensor.dtype in HALF else tensor.dtype, name=name)
        for name, tensor in zip(names, model.inputs, strict=True)
    }


def output_names(model):
    """Return the names of the outputs of a model, in its order: its own, or `output_0` for one that Keras has named.

    Args:
        model: a built functional or Sequential model.

    Returns:
        A list of unique strings.

    Example:
        >>> from rsr_tf.export.signatures import output_names
        >>> output_names(rsr_tf.models.small_cnn())
        ['logits']
    """
    _, structure = inputs_and_outputs(model)
    return _names(structure, model.outputs, _numbered("output", model.outputs))


def arranged(model, tensors):
    """Return a list of tensors, one for each input, in the structure that a model takes."""
    structure, _ = inputs_and_outputs(model)
    return keras.tree.pack_sequence_as(structure, tensors)


def in_single_precision(outputs):
    """Return a structure of tensors with those in half precision as float32."""
    return keras.tree.map_structure(lambda x: tf.cast(x, tf.float32) if x.dtype.name in HALF else x, outputs)


def _names(structure, tensors, numbered):
    """Return the keys of a dict of tensors, or the names of their layers; the given ones where there are none."""
    if isinstance(structure, dict) and len(structure) == len(tensors):
        names = [str(path[0]) for path, _ in keras.tree.flatten_with_path(structure)]
    else:
        names = [given_name(tensor) or number for tensor, number in zip(tensors, numbered, strict=True)]
    names = [re.sub(r"\W|^(?=\d)", "_", name) for name in names]  # as a signature must be named
    return names if len(set(names)) == len(names) else numbered


def _numbered(word, tensors):
    return [f"{word}_{index}" for index in range(len(tensors))]
