"""How long an evaluation takes: measured speed, expected time, and durations as text."""

import time

import numpy as np
import tensorflow as tf

from rsr_tf.attacks.eot_pgd import EOTPGD
from rsr_tf.attacks.zoo import expected_queries
from rsr_tf.evaluation.attack_graphs import graph_key
from rsr_tf.evaluation.suites import ALL_IMAGES, STILL_ROBUST


def measure_speed(model_fn, images, labels, *, batch_size):
    """Measure the speed of a network on this machine.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: integers `(n,)`.
        batch_size: images per call.

    Returns:
        A dict with the seconds for `"trace"`, the graph of an attack, and, per image in batches of this size,
        `"gradient"` and `"classification"`.
    """
    batch_size = min(batch_size, len(images))
    x, y = tf.constant(images[:batch_size], tf.float32), tf.constant(labels[:batch_size], tf.int32)
    classify = tf.function(lambda x: model_fn(x))
    attack = EOTPGD(steps=1, eot_samples=1)
    two_gradients = tf.function(lambda x, y: attack(classify, x, y), autograph=False)
    classify(x)
    first, again = _seconds(two_gradients, x, y), min(_seconds(two_gradients, x, y) for _ in range(3))
    return {
        "trace": max(0.0, first - again),
        "gradient": again / 2 / batch_size,
        "classification": min(_seconds(classify, x) for _ in range(3)) / batch_size,
    }


def expected_seconds(steps, sizes, speed, *, batch_size, scorings):
    """Estimate how long an evaluation takes.

    Args:
        steps: list of `rsr_tf.evaluation.suites.Step`.
        sizes: dict from subset to its number of images.
        speed: dict of `measure_speed`.
        batch_size: images attacked at once; a short batch costs as much as a full one.
        scorings: how often an adversarial image is classified, over all networks.

    Returns:
        Seconds.
    """
    steps = [step for step in steps if sizes[step.subset]]
    total = speed["trace"] * len({graph_key(step.attack, step.source) for step in steps})
    for step in steps:
        gradients, classifications = step.attack.cost()
        per_image = gradients * speed["gradient"] + (classifications + scorings) * speed["classification"]
        filled = -(-sizes[step.subset] // batch_size) * batch_size
        total += filled * per_image
    return total


def shortest_and_longest(steps, sizes, speed, runner):
    """Return the expected seconds if the first attacks break every image, and if none breaks any.

    Args:
        steps, sizes, speed: as for `expected_seconds`; the number of images that stay robust may be missing.
        runner: the `AttackRunner` of the evaluation.
    """
    options = {"batch_size": runner.batch_size, "scorings": sum(runner.predictions.values())}
    return [expected_seconds(steps, {**sizes, STILL_ROBUST: left}, speed, **options) for left in (0, sizes[ALL_IMAGES])]


def expected_zoo_seconds(model_fn, images, settings, *, call_size):
    """Estimate how long ZOO takes on this machine at most, from the time of one call.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(n, h, w, c)` in [0,1], all that are attacked.
        settings: a `rsr_tf.evaluation.ZOOSettings`.
        call_size: images in one call of the attack; 1 is measured for the noise `"per_image"`.

    Returns:
        Seconds.
    """
    shown = np.resize(images, (1 if settings.noise == "per_image" else call_size, *images.shape[1:]))
    np.asarray(model_fn(shown))  # traces
    started = time.monotonic()
    for _ in range(3):
        np.asarray(model_fn(shown))
    per_image = (time.monotonic() - started) / (3 * len(shown))
    return expected_queries(len(images), images[0].size, settings) * per_image


def duration(seconds):
    """Return a duration as text, such as `"90 s"` or `"3 min"`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _seconds(function, *inputs):
    started = time.perf_counter()
    function(*inputs).numpy()
    return time.perf_counter() - started
