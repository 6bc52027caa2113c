"""Training objectives: how the clean and the adversarial images of a batch make its loss.

`RSRModel` runs the network on both kinds of images and passes the results to its objective, in training and in
validation alike. Another scheme, such as TRADES or MART, is a subclass of `AdversarialTraining` and a row of
`OBJECTIVES`.
"""

from typing import NamedTuple

import tensorflow as tf

from rsr_tf.choices import LABEL_SOURCES
from rsr_tf.training.compiled import Head


class ForwardPass(NamedTuple):
    """Output of the network for one kind of images of a batch.

    Args:
        logits: float `(n, k)`, the outputs.
        loss: float scalar, the compiled loss including the regularization losses of the layers.
    """

    logits: tf.Tensor
    loss: tf.Tensor


class AdversarialTraining:
    """Weighted sum of the clean and the adversarial loss (Eq. 5): `a * loss(clean) + (1 - a) * loss(adversarial)`.

    To write another objective, override `__call__` for the loss, `attacked_labels` for what the attack maximizes, or
    both, and add the class to `OBJECTIVES`.

    Args:
        clean_weight: a, in [0, 1]. Defaults to 0.5.
        attack_labels: `"true"` (default), or `"predicted"` to attack the network's own predictions, which avoids label
            leaking.

    Attributes:
        head: the `Head` of the network, which `RSRModel` sets in `compile`. Until then, classes.

    Raises:
        ValueError: for a `clean_weight` outside [0, 1] or unknown `attack_labels`.

    Example:
        >>> class TRADES(AdversarialTraining):  # Zhang et al. 2019
        ...     def attacked_labels(self, model_fn, x, y):
        ...         return tf.nn.softmax(model_fn(x))
        ...
        ...     def __call__(self, clean, adversarial, y, sample_weight):
        ...         p = tf.nn.softmax(clean.logits)
        ...         log_ratio = tf.nn.log_softmax(clean.logits) - tf.nn.log_softmax(adversarial.logits)
        ...         return clean.loss + 6.0 * tf.reduce_mean(tf.reduce_sum(p * log_ratio, axis=-1))
        >>> OBJECTIVES["trades"] = TRADES  # for RSRModel(..., objective="trades")
    """

    def __init__(self, clean_weight=0.5, attack_labels="true"):
        if not 0 <= clean_weight <= 1:
            raise ValueError(f"`clean_weight` must be in [0, 1]. Received: clean_weight={clean_weight}")
        if attack_labels not in LABEL_SOURCES:
            raise ValueError(
                f"`attack_labels` must be one of {LABEL_SOURCES}. Received: attack_labels={attack_labels!r}"
            )
        self.clean_weight = float(clean_weight)
        self.attack_labels = attack_labels
        self.head = Head(outputs=None)

    def attacked_labels(self, model_fn, x, y):
        """Return the labels whose loss the attack maximizes.

        Args:
            model_fn: function from images to logits, in inference mode.
            x: float32 `(n, h, w, c)` in [0,1], the clean images.
            y: the true labels, in the form that the compiled loss takes.

        Returns:
            Labels in the form of `y`, whose compiled loss is attacked, or probabilities `(n, classes)`, whose
            cross-entropy is attacked.
        """
        if self.attack_labels == "true":
            return y
        labels = self.head.predicted_labels(model_fn(x))
        one_hot = not self.head.independent and y.shape.rank == 2 and y.shape[-1] == self.head.outputs
        return tf.one_hot(labels, self.head.outputs) if one_hot else labels

    def __call__(self, clean, adversarial, y, sample_weight):
        """Return the loss of a batch; called only with an attack; without one, the loss is the clean loss.

        Both losses include the regularization losses. The weights sum to 1, so these count once.

        Args:
            clean, adversarial: the `ForwardPass` of each kind of images. During warm-up, both are the clean one.
            y: the true labels, in the form that the compiled loss takes.
            sample_weight: weights of the examples, or `None`; they are part of the losses already.

        Returns:
            A float scalar.
        """
        return self.clean_weight * clean.loss + (1 - self.clean_weight) * adversarial.loss

    def get_config(self):
        """Return the arguments as a dict; they are also arguments of `RSRModel`."""
        return {"clean_weight": self.clean_weight, "attack_labels": self.attack_labels}


OBJECTIVES = {"adversarial-training": AdversarialTraining}
"""Name, as in a config and in saved models -> class."""
