"""Networks as functions from images to logits, and functions of batches as functions of any number of images."""

import contextlib
import os

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.attacks.finite_gradient import with_finite_gradient
from rsr_tf.attacks.losses import is_correct
from rsr_tf.attacks.norms import image_axes, per_image
from rsr_tf.keras_internals import computing_in_float32, logits_behind


def as_model_fn(model, *, endpoint="serve"):
    """Return a network as the function that attacks expect: in inference mode, in float32, and traced once.

    A Keras network in half precision (mixed or not) computes in float32 in this function, as gradients and small
    differences between scores vanish in half precision. It is the network itself, not a copy: each call uses the
    weights that the network has at that time. The precision of a SavedModel or of a callable cannot be changed.

    Args:
        model: a Keras model with one input and one output; the folder of a SavedModel, or what `tf.saved_model.load`
            returned for it; or any callable from images to logits.
        endpoint: string, the endpoint or signature of a SavedModel to call. Defaults to `"serve"`; in a SavedModel
            without it, to `"serving_default"`.

    Returns:
        A function from float32 `(n, ...)`, images in [0,1], to float32 `(n, classes)` logits; two of them for a network
        with one output, a logit or probability of class 1. Probabilities of a Keras model become logits. A noisy
        network draws new noise at every call.

    Raises:
        ValueError: for a model with several inputs or outputs, one whose inputs are whole numbers or words, a
            SavedModel without the endpoint, or a function of a SavedModel that is no longer in memory.

    Example:
        >>> model_fn = rsr_tf.as_model_fn(model)
        >>> rsr_tf.attacks.PGD(epsilon=8 / 255)(model_fn, x, y).shape
        TensorShape([16, 8, 8, 1])
        >>> rsr_tf.export_saved_model(model, "exported")
        >>> rsr_tf.as_model_fn("exported", endpoint="serve_deterministic")(x).shape
        TensorShape([16, 10])
    """
    if isinstance(model, str | os.PathLike):
        model = tf.saved_model.load(os.fspath(model))
    is_keras = isinstance(model, keras.Model)
    network = inference(model) if is_keras else _endpoint(model, endpoint) if hasattr(model, "signatures") else model
    _check_input([tensor.dtype for tensor in getattr(model, "inputs", None) or ()] if is_keras else _dtypes(network))

    @tf.function(reduce_retracing=True)
    def model_fn(x):
        with computing_in_float32(model) if is_keras else contextlib.nullcontext(model):  # keeps a SavedModel in memory
            return _logits(network(tf.cast(x, tf.float32)))

    return model_fn


def inference(model):
    """Return a Keras model as a function of images in inference mode, in its own precision.

    Args:
        model: a Keras model.

    Returns:
        A function from images to what the model returns. A model that takes a structure of one input takes the images.
    """
    structure = getattr(model, "input", None) if getattr(model, "inputs", None) else None
    if not isinstance(structure, dict | list | tuple) or len(keras.tree.flatten(structure)) != 1:
        return lambda x: model(x, training=False)
    return lambda x: model(keras.tree.pack_sequence_as(structure, [x]), training=False)


def _endpoint(loaded, name):
    """Return an endpoint or, without one of this name, a signature of a SavedModel."""
    found = getattr(loaded, name, None) or loaded.signatures.get("serving_default" if name == "serve" else name)
    if found is None:
        raise ValueError(f"`endpoint` must be one of {sorted(loaded.signatures)}. Received: endpoint={name!r}")
    return found


def _dtypes(function):
    """Return the types of the inputs of a function of a SavedModel; an empty list for any other callable."""
    try:
        functions = getattr(function, "concrete_functions", None) or [function]
        [_ for one in functions for _ in getattr(one, "variables", ())]
    except AssertionError as error:
        raise ValueError(
            "`model` must be the folder of the SavedModel, as in `as_model_fn(folder)`, or what `tf.saved_model.load` "
            "returned: TensorFlow deletes the variables of a SavedModel of which only a function is kept"
        ) from error
    signature = getattr(functions[0], "structured_input_signature", ((), {}))
    return [spec.dtype.name for spec in tf.nest.flatten(signature) if isinstance(spec, tf.TensorSpec)]


def _check_input(dtypes):
    if len(dtypes) > 1:
        raise ValueError(f"`model` must have one input. Received: {len(dtypes)} inputs")
    if dtypes and "float" not in dtypes[0]:
        raise ValueError(
            "`model` must take floating-point inputs, as no gradient passes a conversion to whole numbers. Received: "
            f"inputs of type {dtypes[0]}. Rebuild it on `keras.Input(shape)` (float32), and for pixels in [0, 255] put "
            "`keras.layers.Rescaling(255.0)` first"
        )


def _logits(outputs):
    """Return the logits of the only tensor in a structure, as float32.

    Probabilities become the logits that they were made of, whose gradient does not vanish where the network is sure.
    One logit z becomes the two logits (0, z), which have the same cross-entropy and decision.
    """
    tensors = tf.nest.flatten(outputs)
    if len(tensors) != 1:
        raise ValueError(f"`model` must have one output. Received: {len(tensors)} outputs")
    logits = tf.cast(logits_behind(tensors[0]), tf.float32)
    return tf.concat([tf.zeros_like(logits), logits], axis=-1) if logits.shape[-1] == 1 else logits


def rescaled(model_fn, scale):
    """Return a network with its logits divided by `scale`: the same decisions, but another loss."""
    return lambda x: model_fn(x) / scale


def with_gradient_path(model_fn):
    """Return the same network, its logits in float32, with a gradient of zero where it has none or one that is NaN.

    A network that rounds, for example, has no gradient at all, which an attack could not compute. The root of a ReLU
    has one that is NaN, which would make the image NaN.
    """

    def network(x):
        x = with_finite_gradient(x)
        logits = tf.cast(model_fn(x), tf.float32)
        return logits + per_image(_zero(x), logits)

    return network


def _zero(x):
    """Return 0 for each image `(n, ...)`, as a function of its pixels, also where they are no numbers."""
    return tf.reduce_sum(tf.math.multiply_no_nan(x, 0.0), axis=image_axes(x))


def with_finite_pixels(x_adv, x):
    """Return adversarial images `(n, ...)` with each pixel that is no number set to that of the clean image."""
    x_adv = tf.cast(x_adv, tf.float32)
    return tf.where(tf.math.is_finite(x_adv), x_adv, x)


def in_batches(function, *, batch_size):
    """Return a function of one batch as a function of any number of images, with batches of one fixed shape.

    Args:
        function: `(x, y)`, float32 and int32, to a tensor or a dict of tensors with the leading axis of the batch.
        batch_size: number of images per call. A last short batch is padded with its own first image, and the results
            of the padding are dropped.

    Returns:
        A function of images `(n, h, w, c)` and labels `(n,)`, at least one, to NumPy arrays of n entries.

    Example:
        >>> correct = in_batches(tf.function(lambda x, y: is_correct(model_fn(x), y)), batch_size=250)
        >>> correct(images, labels).mean()
    """

    def run(x, y):
        results = function(_fill(x, batch_size, tf.float32), _fill(y, batch_size, tf.int32))
        return tf.nest.map_structure(lambda result: result.numpy()[: len(x)], results)

    def run_all(images, labels):
        starts = range(0, len(images), batch_size)
        parts = [run(images[start : start + batch_size], labels[start : start + batch_size]) for start in starts]
        return tf.nest.map_structure(lambda *results: np.concatenate(results), *parts)

    return run_all


def _fill(batch, size, dtype):
    missing = size - len(batch)
    return tf.constant(np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)]), dtype)


def count_correct(model_fn, *, predictions):
    """Return a function that counts, as one graph, in how many of several calls a network is correct.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`; a random one draws new noise at every call.
        predictions: number of calls.

    Returns:
        A function `(x, y) -> int32 (n,)`.
    """

    @tf.function
    def count(x, y):
        def predict(index, hits):
            return index + 1, hits + tf.cast(is_correct(model_fn(x), y), tf.int32)

        _, hits = tf.while_loop(lambda index, _: index < predictions, predict, (0, tf.zeros_like(y)))
        return hits

    return count


def as_graph(model_fn):
    """Return a network as a graph of its own, traced once; its code, unlike that of attacks, may branch in Python."""
    return tf.function(lambda x: model_fn(x))
