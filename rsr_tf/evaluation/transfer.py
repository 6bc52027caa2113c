"""Transfer (Table 3; Liu et al. 2016): adversarial images of one network are classified by others."""

import csv
import functools
import io
import logging
import time
from dataclasses import dataclass

import keras
import tensorflow as tf

from rsr_tf import progress
from rsr_tf.evaluation.measurements import check_fingerprints
from rsr_tf.evaluation.model_fn import in_batches, with_finite_pixels, with_gradient_path
from rsr_tf.evaluation.probabilities import warn_of_probabilities
from rsr_tf.evaluation.probes import warn_of_zero_gradients
from rsr_tf.evaluation.scores import Score
from rsr_tf.evaluation.state import State, derived_seed
from rsr_tf.evaluation.whitebox import accuracy_under
from rsr_tf.validation import check_integers, checked, fingerprint, renamed_argument

log = logging.getLogger(__name__)

CLEAN = "clean"


@dataclass(frozen=True)
class TransferMatrix:
    """Accuracy of every target on the images of every source.

    Args:
        scores: dict from source to a dict from target to `Score`. The first source is `"clean"`, the clean images.
        parameters: JSON-serializable dict: settings of the attacks, number of images, predictions per image, and seed.

    Example:
        >>> score = rsr_tf.evaluation.Score((0.75,), num_images=100)
        >>> matrix = rsr_tf.evaluation.TransferMatrix({"clean": {"resnet20": score}}, {"seed": 0})
        >>> matrix.scores["clean"]["resnet20"].mean
        0.75
    """

    scores: dict
    parameters: dict

    def as_dict(self):
        """Return scores and parameters as a JSON-serializable dict."""
        accuracy = {
            source: {target: _describe_score(score) for target, score in row.items()}
            for source, row in self.scores.items()
        }
        return {**self.parameters, "accuracy": accuracy}

    def __str__(self):
        """Return one line for each source: the accuracy of every target in per cent."""
        width = max(map(len, self.scores))
        lines = [
            f"{source:<{width}}  " + ", ".join(f"{target} {100 * score.mean:.1f}" for target, score in row.items())
            for source, row in self.scores.items()
        ]
        return "\n".join(lines)

    def csv(self):
        """Return a CSV line for each source and target: mean accuracy, interval, number of images, predictions."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["source", "target", "accuracy", "low", "high", "num_images", "predictions"])
        for source, row in self.scores.items():
            for target, score in row.items():
                writer.writerow([source, target, score.mean, *score.interval, score.num_images, len(score.accuracies)])
        return text.getvalue()


@renamed_argument("draws", "predictions")
def evaluate_transfer(
    sources,
    targets,
    images,
    labels,
    *,
    attack,
    predictions=20,
    batch_size=250,
    seed=0,
    state=None,
    identity=None,
    reseed=lambda seed: None,
):
    """Craft adversarial images on each source once, and classify them by each target (Table 3).

    A network that is both source and target is attacked directly: if transfer does better than that, gradients may be
    masked (Athalye et al. 2018). A stopped evaluation resumes after its last finished source when it is called again
    with the same `state`.

    Args:
        sources: dict from name to `model_fn`, see `rsr_tf.evaluation.as_model_fn`.
        targets: likewise.
        images: float32 `(n, ...)` in [0,1], of any rank that the attack takes, such as `(n, h, w, c)`.
        labels: integers `(n,)`, the true labels.
        attack: callable `(model_fn, x, labels, *, seed) -> x_adv`, such as `rsr_tf.attacks.PGD`, or a dict from each
            source to such a callable; their `get_config` goes into the parameters.
        predictions: predictions of each target per image, each with new noise. Defaults to 20.
        batch_size: images attacked at once. Defaults to 250.
        seed: integer, for the attack. Defaults to 0.
        state: path of a folder where the row of each finished source is kept, or `None` (default).
        identity: JSON-serializable value stored with the state, such as the hashes of all weights. Raises if it differs
            from the stored one.
        reseed: function of an integer that restarts the noise of all networks, so that a resumed evaluation gives
            exactly the numbers of an uninterrupted one. Does nothing by default.

    Returns:
        A `TransferMatrix`.

    Raises:
        ValueError: for a source named `"clean"`, pixels outside [0,1], invalid labels, images and labels of unequal
            number, `predictions` or `batch_size` below 1, the state of another evaluation or other networks, or a state
            for an attack without `get_config`.

    Example:
        >>> networks = {"noisy": model_fn, "stock": rsr_tf.as_model_fn(my_keras_model)}
        >>> attack = rsr_tf.attacks.FGSM(epsilon=8 / 255)
        >>> matrix = rsr_tf.evaluation.evaluate_transfer(networks, networks, images, labels, attack=attack)
        >>> list(matrix.scores), 0 <= matrix.scores["stock"]["noisy"].mean <= 1
        (['clean', 'noisy', 'stock'], True)
    """
    if CLEAN in sources:
        raise ValueError(f"`sources` must not contain {CLEAN!r}, the name of the clean images. Received: {CLEAN!r}")
    check_integers(1, predictions=predictions, batch_size=batch_size)
    images, labels = checked(images, labels)
    predictions, batch_size = int(predictions), int(min(batch_size, len(images)))
    sources = {name: with_gradient_path(source) for name, source in sources.items()}
    attacks = attack if isinstance(attack, dict) else dict.fromkeys(sources, attack)
    if state and not all(hasattr(each, "get_config") for each in attacks.values()):
        raise ValueError("`attack` must have a `get_config` to be identified in a `state`")
    described = {name: _describe(attack) for name, attack in attacks.items()}
    parameters = {"attacks": described, "num_images": len(images), "predictions": predictions, "seed": seed}
    stored = {"targets": list(targets), "networks": identity, "batch_size": batch_size}
    kept = State(state, {**parameters, **stored, "pixels": fingerprint(images, labels)})
    for role, networks in {"source": sources, "target": targets}.items():
        check_fingerprints(kept, {f"{role} {name}": network for name, network in networks.items()}, images)
    craft = {CLEAN: lambda images, labels: images}
    craft |= {name: _crafter(attacks[name], sources[name], batch_size=batch_size, seed=seed) for name in sources}
    accuracies = [accuracy_under(_unchanged, target, batch_size=batch_size) for target in targets.values()]

    def row(name):
        started = time.monotonic()
        reseed(derived_seed(seed, name))
        x_adv = craft[name](images, labels)
        log.info("%s: %d images, %.0f s", name, len(images), time.monotonic() - started)
        found = [[accuracy(x_adv, labels) for _ in range(predictions)] for accuracy in accuracies]
        if getattr(attacks.get(name), "uses_gradients", False):
            shown = images[:batch_size], labels[:batch_size]
            warn_of_zero_gradients(sources[name], *shown, title=name)  # last, as it draws noise too
            warn_of_probabilities(sources[name], shown[0], title=name)
        return {"accuracies": found}

    scores = {}
    for number, name in enumerate(progress.track(list(craft), "source", title="transfer")):
        expected = {"accuracies": ("f", (len(targets), predictions))}
        found = kept.once(f"{number}, {name}", functools.partial(row, name), expected)["accuracies"].tolist()
        scores[name] = {target: Score(tuple(each), len(images)) for target, each in zip(targets, found, strict=True)}
    return TransferMatrix(scores, parameters)


def _crafter(attack, model_fn, *, batch_size, seed):
    """Return a function of any number of images and labels to the adversarial images of an attack."""

    def craft(images, labels):
        generator = keras.random.SeedGenerator(seed)

        @tf.function
        def attack_batch(x, y):
            return with_finite_pixels(attack(model_fn, x, y, seed=generator), x)

        return in_batches(attack_batch, batch_size=batch_size)(images, labels)

    return craft


def _unchanged(x, labels):
    return x


def _describe_score(score):
    """Return the dict of a score whose repeats are predictions for the same adversarial images."""
    return {"predictions" if key == "repeats" else key: value for key, value in score.as_dict().items()}


def _describe(attack):
    config = attack.get_config() if hasattr(attack, "get_config") else {}
    return {"name": getattr(attack, "__name__", type(attack).__name__), **config}
