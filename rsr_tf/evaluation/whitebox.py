"""White-box accuracy with cleverhans' FGSM and PGD (Section 4.1), repeated over draws of noise and attack.

Every attack is one graph over batches of one fixed shape: traced once, whatever the number of images.
"""

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.attacks.margin import is_right
from rsr_tf.errors import require
from rsr_tf.evaluation.model_fn import in_batches
from rsr_tf.evaluation.scores import Score
from rsr_tf.validation import checked

PIXELS = {"clip_min": 0.0, "clip_max": 1.0}


def as_model_fn(model):
    """A network as the function that attacks expect: inference mode, one stable callable.

    Args:
        model: a Keras model, or any callable from images to logits, such as `tf.saved_model.load(path).serve`.

    Returns:
        A function from float32 `(n, h, w, c)` in [0,1] to float32 `(n, classes)` logits. A noisy network draws new
        noise at every call.

    Example:
        >>> model_fn = as_model_fn(model)
        >>> x_adv = projected_gradient_descent(model_fn, x, 8 / 255, 2 / 255, 7, np.inf, y=y, rand_init=True, **PIXELS)
    """
    options = {"training": False} if isinstance(model, keras.Model) else {}

    @tf.function(reduce_retracing=True)
    def model_fn(x):
        return tf.cast(model(tf.cast(x, tf.float32), **options), tf.float32)

    return model_fn


def evaluate_whitebox(model_fn, images, labels, *, epsilon, step_size, steps, draws=5, batch_size=250):
    """Clean, FGSM and PGD accuracy of a network, attacked with true labels (Table 1).

    Args:
        model_fn: see `as_model_fn`.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: integers `(n,)`.
        epsilon: radius of the linf ball, in units of pixels in [0,1].
        step_size: length of a PGD step, at most `epsilon`.
        steps: number of PGD steps, from a random start.
        draws: number of repetitions, each with new model noise and a new start. Defaults to 5.
        batch_size: images attacked at once. Defaults to 250.

    Returns:
        A dict with a `Score` for each of `"clean"`, `"fgsm"` and `"pgd"`.

    Raises:
        ValueError: for a `step_size` above `epsilon`, and as `checked` for wrong images or labels.
    """
    if not step_size <= epsilon:
        raise ValueError(f"`step_size` must be at most `epsilon`={epsilon}. Received: step_size={step_size}")
    images, labels = checked(images, labels)
    scores = {}
    for name, attack in build_attacks(model_fn, epsilon=epsilon, step_size=step_size, steps=steps).items():
        accuracy = accuracy_under(attack, model_fn, batch_size=min(batch_size, len(images)))
        scores[name] = Score(tuple(accuracy(images, labels) for _ in range(draws)), len(images))
    return scores


def build_attacks(model_fn, *, epsilon, step_size, steps):
    """cleverhans' attacks on a network, with true labels, as functions from `(images, labels)` to adversarial images.

    Args:
        As `evaluate_whitebox`.

    Returns:
        A dict with `"clean"`, which changes nothing, `"fgsm"` and `"pgd"`.
    """
    attacks = "cleverhans.tf2.attacks"
    fast_gradient_method = require(f"{attacks}.fast_gradient_method", extra="evaluation").fast_gradient_method
    projected_gradient_descent = require(
        f"{attacks}.projected_gradient_descent", extra="evaluation"
    ).projected_gradient_descent
    return {
        "clean": lambda x, y: x,
        "fgsm": lambda x, y: fast_gradient_method(model_fn, x, epsilon, np.inf, y=y, **PIXELS),
        "pgd": lambda x, y: projected_gradient_descent(
            model_fn, x, epsilon, step_size, steps, np.inf, y=y, rand_init=True, **PIXELS
        ),
    }


def accuracy_under(attack, model_fn, *, batch_size):
    """The accuracy of a network under an attack, as a function that is traced once for any number of images.

    Args:
        attack: function from `(images, labels)` to adversarial images.
        model_fn: see `as_model_fn`.
        batch_size: images attacked at once; a last short batch is filled up, and what fills it is not counted.

    Returns:
        A function from images `(n, h, w, c)` and labels `(n,)` to a number in [0, 1].
    """
    correct = in_batches(tf.function(lambda x, y: is_right(model_fn(attack(x, y)), y)), batch_size=batch_size)
    return lambda images, labels: float(np.mean(correct(images, labels)))


def adversarial_examples(model_fn, images, labels, *, epsilon, step_size, steps):
    """PGD images for a look at them.

    Args:
        As `evaluate_whitebox`.

    Returns:
        `(x_adv, clean_predictions, adversarial_predictions)` as NumPy arrays `(n, h, w, c)`, `(n,)` and `(n,)`.
    """
    x, y = tf.constant(images), tf.constant(labels)
    x_adv = build_attacks(model_fn, epsilon=epsilon, step_size=step_size, steps=steps)["pgd"](x, y)
    return x_adv.numpy(), _classify(model_fn, x).numpy(), _classify(model_fn, x_adv).numpy()


def _classify(model_fn, x):
    return tf.argmax(model_fn(x), axis=-1, output_type=tf.int32)
