"""Checks of the network itself: whether it is random as expected, returns logits, and has gradients."""

import math

import numpy as np

from rsr_tf.evaluation.checks.base import Check
from rsr_tf.evaluation.probabilities import TOLERANCE, are_probabilities, is_one_probability
from rsr_tf.evaluation.probes import SEEN_LEAST

NOISE_FLOOR = 1e-4
"""Differences between calls below this, relative to the spread of the logits, are rounding and not noise."""


def is_random(spreads):
    """Return whether a network is random.

    Args:
        spreads: dict from batch size to spread, see `rsr_tf.evaluation.probes.noise_by_batch_size`.
    """
    return max(spreads.values()) > NOISE_FLOOR


def noise_is_on(spreads, *, expected):
    """Check that the network is random exactly if it should be.

    Args:
        spreads: as for `is_random`.
        expected: `True`, `False`, or `None` if nothing is known.

    Returns:
        A `Check`.
    """
    value = max(spreads.values())
    random = is_random(spreads)
    passed = expected is None or random == expected
    if random:
        sentence = f"The network is random: its logits differ between calls by {value:.2g} of their spread."
        if not passed:
            sentence += " It should not be, so one prediction per image is not enough."
    else:
        sentence = "The network is not random: every call gives the same logits."
        if not passed:
            sentence += " It should be: its noise is off, so this is not the network that is in use."
    wanted = {True: "at least", False: "at most", None: "any"}[expected]
    return Check("noise on", passed, value, NOISE_FLOOR, sentence, wanted)


def noise_does_not_depend_on_batch_size(spreads, *, least_ratio=1 / 3):
    """Check that a random network is equally random for every number of images in a call.

    Args:
        spreads: as for `is_random`.
        least_ratio: of the smallest spread to the largest. Defaults to 1/3, which leaves room for chance.

    Returns:
        A `Check`.
    """
    smallest, largest = min(spreads, key=spreads.get), max(spreads, key=spreads.get)
    ratio = spreads[smallest] / spreads[largest] if is_random(spreads) else 1.0
    passed = ratio >= least_ratio
    sentence = f"The noise is similar in calls of {', '.join(map(str, sorted(spreads)))} images."
    if not passed:
        sentence = (
            f"In calls of {smallest} images the noise is {ratio:.2g} of what it is in calls of {largest}: it depends "
            "on the batch size, so an attack with such calls does not attack the network that is in use."
        )
    return Check("noise alike in calls of every size", passed, ratio, least_ratio, sentence, "at least")


def stripped_is_not_random(spreads):
    """Check that the network without noise is not random.

    Args:
        spreads: as for `is_random`, of the stripped network.

    Returns:
        A `Check`.
    """
    value = max(spreads.values())
    passed = not is_random(spreads)
    sentence = "With noise off, the network gives the same logits at every call."
    if not passed:
        sentence = "With noise off, the network is still random: its noise was not removed."
    return Check("no noise in the stripped network", passed, value, NOISE_FLOOR, sentence)


def returns_logits(outputs):
    """Check that the network returns logits and not probabilities.

    Args:
        outputs: floats `(n, classes)`.

    Returns:
        A `Check`.
    """
    alone = is_one_probability(outputs)
    value = 0.0 if alone else float(np.abs(np.sum(outputs, axis=1) - 1).max())
    passed = not (alone or are_probabilities(outputs))
    sentence = "The outputs are logits."
    if not passed:
        sentence = (
            f"Every {'answer is one number' if alone else 'row of the outputs sums to 1 and lies'} in [0,1]: these are "
            "probabilities. Cross-entropy then applies the softmax twice, which flattens the gradients and weakens an "
            "attack. Pass a network that returns logits, such as `rsr_tf.evaluation.with_logits(model_fn, images)`."
        )
    return Check("logits and not probabilities", passed, value, TOLERANCE, sentence, "at least")


def gradients_are_not_zero(shares, *, limit=0.01):
    """Check that hardly any image has a gradient that is exactly zero everywhere.

    Args:
        shares: floats `(n,)`: the share of zeros in the gradient of each image.
        limit: share of images whose gradient may be all zeros. Defaults to 0.01.

    Returns:
        A `Check`.
    """
    value = float(np.mean(np.asarray(shares) == 1))
    passed = value <= limit
    sentence = (
        f"{value:.1%} of the images have a gradient of exactly zero, as have {np.mean(shares):.1%} of all entries."
    )
    if not passed:
        sentence += (
            " Attacks that use gradients cannot break these images. Look for half precision or rounding in the "
            "network, or for logits so large that the loss is flat; only attacks by scores or with another loss count."
        )
    return Check("gradients not zero", passed, value, limit, sentence)


def noise_alike_along_path(answers, *, least_ratio=0.1):
    """Check that a random network is about as random on clean images as elsewhere.

    Args:
        answers: dict from point, the clean images first, to the noise of the logits there.
        least_ratio: of the smallest noise to the largest. Defaults to 0.1: the noise of honest networks differs by less
            than a factor of three between clean and attacked images.

    Returns:
        A `Check`.
    """
    smallest, largest = min(answers, key=answers.get), max(answers, key=answers.get)
    ratio = answers[smallest] / answers[largest] if is_random(answers) else 1.0
    passed = ratio >= least_ratio
    sentence = f"The noise is similar at {', '.join(answers)}."
    if not passed:
        sentence = (
            f"At {smallest} the noise is {ratio:.2g} of what it is at {largest}: the network treats images that are "
            "attacked in another way."
        )
    return Check("noise alike along the path of an attack", passed, ratio, least_ratio, sentence, "at least")


def gradients_repeat_where_answers_do(spreads):
    """Check that gradients are not much more random than the answers that they belong to.

    The gradient of an answer that repeats must repeat. Noise of relative size s in the answers of an honest network
    changes which of its units are active, hence its gradients by about the square root of s.

    Args:
        spreads: dict from a description of network and point to the `rsr_tf.evaluation.probes.Spread` there.

    Returns:
        A `Check`; its value is the noise of the gradients in units of the limit at the worst point.
    """
    excess = {place: spread.gradients / max(1e-3, 3 * math.sqrt(spread.answers)) for place, spread in spreads.items()}
    worst = max(excess, key=excess.get)
    passed = excess[worst] <= 1
    sentence = "At the same point, gradients differ between calls no more than the answers explain."
    if not passed:
        sentence = (
            f"At {worst} the gradients differ between calls by {spreads[worst].gradients:.2g} of their size, the "
            f"answers by {spreads[worst].answers:.2g}: the gradients are not those of the answers, and attacks that "
            "use them are too weak."
        )
    return Check("gradients repeat where answers do", passed, excess[worst], 1.0, sentence)


def averaged_draws_are_new(within, between, *, least_ratio=1 / 3):
    """Check that the calls that an attack averages, in one graph, have different noise.

    Args:
        within: the noise over the calls in one graph.
        between: the noise over separate calls.
        least_ratio: of `within` to `between`. Defaults to 1/3, which leaves room for chance.

    Returns:
        A `Check`.
    """
    ratio = within / between if between > NOISE_FLOOR else 1.0
    passed = ratio >= least_ratio
    sentence = "Every draw that an attack averages is a new one."
    if not passed:
        sentence = (
            f"Over the draws that an attack averages the noise is {ratio:.2g} of that over separate calls: they share "
            "a draw, so the attack averages nothing, and then faces another draw."
        )
    return Check("averaged draws are new", passed, ratio, least_ratio, sentence, "at least")


def scores_change_with_the_image(seen, hidden, *, least=SEEN_LEAST):
    """Check that attacks by scores are not blind: enough queries change the margin of the label.

    Noise that hides the change is no fault of the network: the suite then attacks by decisions too.

    Args:
        seen: booleans, for each query whether it changes the margin.
        hidden: booleans, for each query whether noise could hide a change.
        least: share of the queries that must be seen. Defaults to `SEEN_LEAST`.

    Returns:
        A `Check`.
    """
    value = float(np.mean(seen))
    passed = value >= least or float(np.mean(hidden)) > 0.5
    sentence = f"{value:.1%} of the queries of an attack by scores change the score (n = {len(seen)})."
    if passed and value < least:
        sentence += " Noise hides the others, so attacks by decisions and from a substitute were run as well."
    if not passed:
        sentence += (
            " Attacks by scores are blind, so that they break nothing proves nothing. Only attacks by decisions or "
            "from another network count beside those by gradients; pass a network that returns its logits."
        )
    return Check("scores change with the image", passed, value, least, sentence, "at least")
