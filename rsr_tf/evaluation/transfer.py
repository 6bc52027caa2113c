"""Transfer (Table 3; Liu et al. 2016): images made to fool one network are shown to others."""

import csv
import functools
import io
import logging
import time
from dataclasses import dataclass

import keras
import tensorflow as tf

from rsr_tf.evaluation.model_fn import in_batches
from rsr_tf.evaluation.scores import Score
from rsr_tf.evaluation.state import State, derived_seed
from rsr_tf.evaluation.whitebox import accuracy_under
from rsr_tf.validation import checked, fingerprint

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


def evaluate_transfer(
    sources,
    targets,
    images,
    labels,
    *,
    attack,
    draws=20,
    batch_size=250,
    seed=0,
    state=None,
    identity=None,
    reseed=lambda seed: None,
):
    """Craft adversarial images on each source once, and classify them by each target (Table 3).

    A network that is source and target is attacked directly: transfer that does better than that is a sign of masked
    gradients (Athalye et al. 2018). A stopped evaluation goes on with the same `state`, after the last finished source.

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
        state: path of a folder where the row of each finished source is kept; `None` keeps nothing.
        identity: plain value that goes with the state, such as the hashes of all weights: another one is refused.
        reseed: function of an integer that restarts the noise of all networks, so that a stopped evaluation ends as an
            unstopped one.

    Returns:
        A `TransferMatrix`.

    Raises:
        ValueError: for a source named `"clean"`, pixels outside [0,1], labels that are wrong or of another number, or
            a state of another evaluation or of an attack without `get_config`.

    Example:
        >>> matrix = evaluate_transfer({"vgg16": vgg}, {"resnet20": resnet}, images, labels, attack=PGD(steps=20))
        >>> matrix.scores["vgg16"]["resnet20"].mean
    """
    if CLEAN in sources:
        raise ValueError(f"no source may be named {CLEAN!r}, the row of the images as they come. Received: {CLEAN!r}")
    images, labels = checked(images, labels)
    batch_size = min(batch_size, len(images))
    attacks = attack if isinstance(attack, dict) else dict.fromkeys(sources, attack)
    described = {name: _describe(attack) for name, attack in attacks.items()}
    parameters = {"attacks": described, "n": len(images), "draws": draws, "seed": seed}
    if state and not all(hasattr(each, "get_config") for each in attacks.values()):
        raise ValueError("a `state` is for attacks with a `get_config`, or one attack could not be told from another")
    own = {"targets": list(targets), "networks": identity, "batch_size": batch_size}
    own["pixels"] = fingerprint(images, labels)
    kept = State(state, {**parameters, **own})
    accuracies = [accuracy_under(lambda x, y: x, target, batch_size=batch_size) for target in targets.values()]

    def craft(name):
        if name == CLEAN:
            return images
        attack_batch = functools.partial(attacks[name], sources[name], seed=keras.random.SeedGenerator(seed))
        return in_batches(tf.function(attack_batch), batch_size=batch_size)(images, labels)

    def row(name):
        started = time.monotonic()
        reseed(derived_seed(seed, name))
        x_adv = craft(name)
        log.info("%s: %d images, %.0f s", name, len(images), time.monotonic() - started)
        return {"accuracies": [[accuracy(x_adv, labels) for _ in range(draws)] for accuracy in accuracies]}

    scores = {}
    for number, name in enumerate((CLEAN, *sources)):
        found = kept.once(f"{number}, {name}", functools.partial(row, name))["accuracies"]
        scores[name] = {
            target: Score(tuple(shares), len(images)) for target, shares in zip(targets, found.tolist(), strict=True)
        }
    return TransferMatrix(scores, parameters)


def _describe(attack):
    config = attack.get_config() if hasattr(attack, "get_config") else {}
    return {"name": getattr(attack, "__name__", type(attack).__name__), **config}
