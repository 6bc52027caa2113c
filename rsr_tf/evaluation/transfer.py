"""Transfer (Table 3; Liu et al. 2016): images made to fool one network are shown to others."""

import csv
import functools
import io
import logging
import time
from dataclasses import dataclass

import keras
import tensorflow as tf

from rsr_tf.evaluation.batches import in_batches
from rsr_tf.evaluation.inputs import checked
from rsr_tf.evaluation.scores import Score
from rsr_tf.evaluation.whitebox import accuracy_under

log = logging.getLogger(__name__)

CLEAN = "clean"


@dataclass(frozen=True)
class TransferMatrix:
    """Accuracy of every target on the images of every source.

    Args:
        scores: dict from source to a dict from target to `Score`. The first source is `"clean"`: images as they come.
        parameters: the attack's parameters, the seed and the number of images, as plain values.
    """

    scores: dict
    parameters: dict

    def as_dict(self):
        """Everything as plain values, for JSON."""
        accuracy = {
            source: {target: score.as_dict() for target, score in row.items()} for source, row in self.scores.items()
        }
        return {**self.parameters, "accuracy": accuracy}

    def __str__(self):
        """One line for each source: accuracy of every target in per cent."""
        width = max(map(len, self.scores))
        lines = [
            f"{source:<{width}}  " + ", ".join(f"{target} {100 * score.mean:.1f}" for target, score in row.items())
            for source, row in self.scores.items()
        ]
        return "\n".join(lines)

    def csv(self):
        """One line for each source and target: mean accuracy, its interval, images and draws."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["source", "target", "accuracy", "low", "high", "n", "draws"])
        for source, row in self.scores.items():
            for target, score in row.items():
                writer.writerow([source, target, score.mean, *score.interval, score.n, len(score.accuracies)])
        return text.getvalue()


def evaluate_transfer(sources, targets, images, labels, *, attack, draws=20, batch_size=250, seed=0):
    """Craft adversarial images on each source once, and classify them by each target (Table 3).

    A network that is source and target is attacked directly: transfer that does better than that is a sign of masked
    gradients (Athalye et al. 2018).

    Args:
        sources: dict from name to `model_fn`, see `as_model_fn`.
        targets: likewise.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: integers `(n,)`.
        attack: callable `(model_fn, x, labels, *, seed) -> x_adv`, such as `rsr_tf.attacks.PGD`, or a dict from each
            source to its own; their `get_config` goes into the parameters.
        draws: how often a target classifies an image, each time with fresh noise. Defaults to 20.
        batch_size: images attacked at once. Defaults to 250.
        seed: integer, for the attack. Defaults to 0.

    Returns:
        A `TransferMatrix`.

    Raises:
        ValueError: for a source named `"clean"`, pixels outside [0,1], or labels that are wrong or of another number.

    Example:
        >>> matrix = evaluate_transfer({"vgg16": vgg}, {"resnet20": resnet}, images, labels, attack=PGD(steps=20))
        >>> matrix.scores["vgg16"]["resnet20"].mean
    """
    if CLEAN in sources:
        raise ValueError(f"no source may be named {CLEAN!r}, the row of the images as they come. Received: {CLEAN!r}")
    images, labels = checked(images, labels)
    batch_size = min(batch_size, len(images))
    shown = {CLEAN: images}
    attacks = attack if isinstance(attack, dict) else dict.fromkeys(sources, attack)
    for name, source in sources.items():
        craft = tf.function(functools.partial(attacks[name], source, seed=keras.random.SeedGenerator(seed)))
        started = time.monotonic()
        shown[name] = in_batches(craft, batch_size=batch_size)(images, labels)
        log.info("crafted %d images on %s, %.0f s", len(images), name, time.monotonic() - started)
    accuracies = {
        name: accuracy_under(lambda x, y: x, target, batch_size=batch_size) for name, target in targets.items()
    }
    scores = {
        source: {
            target: Score(tuple(accuracy(x, labels) for _ in range(draws)), len(images))
            for target, accuracy in accuracies.items()
        }
        for source, x in shown.items()
    }
    described = {name: _describe(attack) for name, attack in attacks.items()}
    return TransferMatrix(scores, {"attacks": described, "n": len(images), "draws": draws, "seed": seed})


def _describe(attack):
    config = attack.get_config() if hasattr(attack, "get_config") else {}
    return {"name": getattr(attack, "__name__", type(attack).__name__), **config}
