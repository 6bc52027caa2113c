"""White-box accuracy under cleverhans' FGSM and PGD (Section 4.1), repeated with new noise and new starts.

Each attack is one graph for batches of one fixed shape, traced once for any number of images.
"""

import numpy as np
import tensorflow as tf

from rsr_tf import progress
from rsr_tf.attacks.cleverhans import build_attacks
from rsr_tf.attacks.losses import is_correct
from rsr_tf.evaluation.model_fn import in_batches, with_finite_pixels, with_gradient_path
from rsr_tf.evaluation.probabilities import warn_of_probabilities
from rsr_tf.evaluation.probes import warn_of_zero_gradients
from rsr_tf.evaluation.scores import Score
from rsr_tf.validation import checked, renamed_argument


@renamed_argument("draws", "repeats")
def evaluate_whitebox(model_fn, images, labels, *, epsilon, step_size, steps, repeats=5, batch_size=250):
    """Compute the clean, FGSM and PGD accuracy of a network, attacked with true labels (Table 1).

    A warning with a number is logged if the gradient is exactly zero on any of the first `batch_size` images, and
    one if the network returns probabilities for them instead of logits.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(n, ...)` in [0,1], of any rank, such as `(n, h, w, c)`.
        labels: integers `(n,)`.
        epsilon: radius of the linf ball, in units of pixels in [0,1].
        step_size: length of a PGD step, at most `epsilon`.
        steps: number of PGD steps, from a random start.
        repeats: number of repeats of the whole attack, each with new noise and a new start. Defaults to 5.
        batch_size: images attacked at once. Defaults to 250.

    Returns:
        A dict with a `Score` for each of `"clean"`, `"fgsm"` and `"pgd"`.

    Raises:
        ValueError: for a `step_size` above `epsilon`, or for invalid images or labels.
        MissingPackageError: if cleverhans is not installed.

    Example:
        >>> budget = {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 2}
        >>> scores = rsr_tf.evaluation.evaluate_whitebox(model_fn, images, labels, repeats=1, **budget)
        >>> list(scores), 0 <= scores["pgd"].mean <= 1
        (['clean', 'fgsm', 'pgd'], True)
    """
    if not step_size <= epsilon:
        raise ValueError(f"`step_size` must be at most `epsilon`={epsilon}. Received: step_size={step_size}")
    images, labels = checked(images, labels)
    model_fn, scores = with_gradient_path(model_fn), {}
    for name, attack in build_attacks(model_fn, epsilon=epsilon, step_size=step_size, steps=steps).items():
        correct = _correct_under(attack, model_fn, batch_size=min(batch_size, len(images)))
        found = [correct(images, labels) for _ in progress.track(range(repeats), "repeat", title=name)]
        accuracies = tuple(float(np.mean(hits)) for hits in found)
        scores[name] = Score(accuracies, len(images), _by_class(np.mean(found, axis=0), labels))
    warn_of_zero_gradients(model_fn, images[:batch_size], labels[:batch_size])  # last, as it draws noise too
    warn_of_probabilities(model_fn, images[:batch_size])
    return scores


def accuracy_under(attack, model_fn, *, batch_size):
    """Return the accuracy of a network under an attack as a function that is traced once for any number of images.

    Args:
        attack: function from `(images, labels)` to adversarial images.
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        batch_size: images attacked at once; a last short batch is padded, and the padding is not counted.

    Returns:
        A function from images `(n, h, w, c)` and labels `(n,)` to a number in [0, 1].

    Example:
        >>> accuracy = rsr_tf.evaluation.accuracy_under(lambda x, y: x, model_fn, batch_size=8)  # no attack
        >>> 0 <= accuracy(images, labels) <= 1
        True
    """
    correct = _correct_under(attack, model_fn, batch_size=batch_size)
    return lambda images, labels: float(np.mean(correct(images, labels)))


def _correct_under(attack, model_fn, *, batch_size):
    """Return which images stay correct under an attack, as a function of images and labels."""

    @tf.function
    def correct(x, y):
        return is_correct(model_fn(with_finite_pixels(attack(x, y), x)), y)

    return in_batches(correct, batch_size=batch_size)


def _by_class(shares, labels):
    """Return the mean of a share of each image over the images of each class."""
    labels = np.asarray(labels)
    return {str(label): float(np.mean(shares[labels == label])) for label in np.unique(labels)}


def adversarial_examples(model_fn, images, labels, *, epsilon, step_size, steps):
    """Return PGD images and the classes that the network predicts, to be shown.

    Args:
        model_fn, images, labels, epsilon, step_size, steps: as for `evaluate_whitebox`.

    Returns:
        `(x_adv, clean_predictions, adversarial_predictions)` as NumPy arrays `(n, h, w, c)`, `(n,)` and `(n,)`.

    Raises:
        MissingPackageError: if cleverhans is not installed.

    Example:
        >>> budget = {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 2}
        >>> x_adv, before, after = rsr_tf.evaluation.adversarial_examples(model_fn, images, labels, **budget)
        >>> x_adv.shape, before.shape, after.shape
        ((16, 8, 8, 1), (16,), (16,))
    """
    x, y, model_fn = tf.constant(images), tf.constant(labels), with_gradient_path(model_fn)
    x_adv = build_attacks(model_fn, epsilon=epsilon, step_size=step_size, steps=steps)["pgd"](x, y)
    x_adv = with_finite_pixels(x_adv, x)
    return x_adv.numpy(), _classify(model_fn, x).numpy(), _classify(model_fn, x_adv).numpy()


def _classify(model_fn, x):
    return tf.argmax(model_fn(x), axis=-1, output_type=tf.int32)
