"""What `compile` says of a training: the loss that the attack raises, the metrics under it, what outputs mean."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from rsr_tf import keras_internals
from rsr_tf.attacks.losses import cross_entropy

INDEPENDENT_LOSSES = ("binary_crossentropy", "binary_focal_crossentropy")
"""Losses of outputs that answer a yes-or-no question each, by their names in Keras."""
EXCLUSIVE_LOSSES = (
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "categorical_focal_crossentropy",
)
"""Losses of outputs that are classes, one of which is right."""


@keras.saving.register_keras_serializable("rsr_tf")
class AnswerAccuracy(keras.metrics.BinaryAccuracy):
    """Accuracy of yes-or-no answers, where no is 0 or, as for hinge losses, -1. Arguments are those of Keras' class."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = keras.ops.maximum(keras.ops.cast(y_true, "float32"), 0)
        return super().update_state(y_true, y_pred, sample_weight)


@dataclass(frozen=True)
class Head:
    """What the outputs of a network mean.

    Args:
        outputs: integer, number of outputs for an image.
        independent: whether each output answers a yes-or-no question, as one logit or several labels at once do. Else
            the outputs are classes, of which one is right.
        threshold: value of an independent output above which the answer is yes: 0 for logits, 0.5 for probabilities.
    """

    outputs: int
    independent: bool = False
    threshold: float = 0.0

    def predicted_labels(self, outputs):
        """Return the labels that a network predicts: int64 `(n,)`, or, if independent, float32 `(n, outputs)`."""
        if self.independent:
            return tf.cast(outputs > self.threshold, tf.float32)
        return tf.argmax(outputs, axis=-1)

    def accuracy(self):
        """Return the accuracy as a metric, or by the name that Keras resolves by the form of the labels."""
        if self.independent:
            return AnswerAccuracy(name="accuracy", threshold=self.threshold)
        return "accuracy"


@dataclass(frozen=True)
class Compilation:
    """What the attack of a training needs to know of `compile`.

    Args:
        head: a `Head`.
        loss_fn: function `(labels, outputs) -> (n,)`, the compiled loss of each image. Defaults to cross-entropy.
        adversarial_metrics: the `AdversarialMetrics`. Defaults to `None`, before `compile`.
    """

    head: Head
    loss_fn: Callable = cross_entropy
    adversarial_metrics: keras.metrics.Metric | None = None


def head_of(model, loss):
    """Find out what the outputs of a network mean, and check that its loss fits.

    Args:
        model: a Keras model with one output `(n, k)`.
        loss: as for `keras.Model.compile`, or `None`.

    Returns:
        A `Head`.

    Raises:
        ValueError: for a loss over classes with one output, or a loss of probabilities with a network that ends in
            logits.
    """
    outputs = model.output_shape[-1]
    if loss is None:
        return Head(outputs, independent=outputs == 1)
    loss = keras_internals.loss_object(loss)
    if outputs == 1 and is_named(loss, EXCLUSIVE_LOSSES):
        raise ValueError(
            "a network with one output has no classes to choose from: compile with "
            "`keras.losses.BinaryCrossentropy(from_logits=True)`, or give the network two outputs. "
            f"Received: loss={loss.name}"
        )
    probabilities, activation = takes_probabilities(loss), keras_internals.output_activation(model)
    if probabilities and activation is keras.activations.linear:
        raise ValueError(
            f"the network ends in logits, but the loss {loss.name} takes probabilities: compile with the class of the "
            "loss and `from_logits=True`"
        )
    independent = outputs == 1 or is_named(loss, INDEPENDENT_LOSSES)
    return Head(
        outputs, independent, threshold=0.5 if probabilities or activation is keras.activations.sigmoid else 0.0
    )


def takes_probabilities(loss):
    """Return whether a loss takes probabilities; cross-entropies do unless they were told `from_logits=True`."""
    return is_named(loss, INDEPENDENT_LOSSES + EXCLUSIVE_LOSSES) and not getattr(loss, "from_logits", False)


def is_named(loss, names):
    """Return whether a `keras.losses.Loss` is the class, or wraps the function, of one of the names."""
    function = getattr(loss, "fn", None)
    return getattr(function, "__name__", "") in names


def per_image_loss(loss):
    """Return a compiled loss as the function that an attack raises.

    Labels in another form than the network was trained with, such as probabilities from an objective, are attacked by
    their cross-entropy; so is a model that is compiled without a loss.

    Args:
        loss: as for `keras.Model.compile`, or `None`.

    Returns:
        A function `(labels, outputs) -> (n,)`, without the weights of examples and without reduction. If a loss returns
        one number for a batch, each of its images has this number.
    """
    if loss is None:
        return cross_entropy
    loss = keras_internals.loss_object(loss)

    def loss_fn(labels, outputs):
        labels, outputs = (keras.ops.convert_to_tensor(each, loss.dtype) for each in (labels, outputs))
        values, count = loss.call(labels, outputs), tf.shape(outputs)[0]
        if values.shape.rank == 0:  # the mean of the batch: its gradients have the directions of each image's own
            return tf.fill((count,), values)
        return tf.reduce_sum(tf.reshape(values, (count, -1)), axis=-1)

    return loss_fn


class AdversarialMetrics(keras_internals.CompiledMetrics):
    """The compiled metrics once more, of adversarial images: `adversarial_NAME`. The accuracy is always among them.

    Args:
        metrics, weighted_metrics: as for `keras.Model.compile`, of one output.
        head: the `Head` of the network.

    Raises:
        ValueError: for a metric that cannot be copied.
    """

    def __init__(self, metrics, weighted_metrics, head):
        metrics = [_copied(metric) for metric in keras.tree.flatten(metrics or [])]
        weighted_metrics = [_copied(metric) for metric in keras.tree.flatten(weighted_metrics or [])]
        if "accuracy" not in {_name(metric) for metric in metrics}:
            metrics.append(head.accuracy())
        super().__init__(metrics, weighted_metrics)

    def build(self, y_true, y_pred):
        super().build(y_true, y_pred)
        for metric in self.metrics:
            metric.name = f"adversarial_{metric.name}"


def with_threshold(metrics, head):
    """Return compiled metrics in which "accuracy" is right for independent outputs.

    Keras would take it as that of classes for several labels, and compare one logit with 0.5.
    """
    if not head.independent:
        return metrics
    return keras.tree.map_structure(
        lambda metric: head.accuracy() if metric in ("accuracy", "acc") else metric, metrics
    )


def _copied(metric):
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    try:
        return type(metric).from_config(metric.get_config())
    except Exception as error:  # whatever the constructor of a user's metric raises
        raise ValueError(
            f"the metric {metric.name} must have a `get_config` from which it can be built again, for the adversarial "
            f"images. Received: {type(error).__name__}: {error}"
        ) from error


def _name(metric):
    return metric if isinstance(metric, str) else getattr(metric, "name", getattr(metric, "__name__", ""))
