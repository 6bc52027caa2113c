"""Checks for known ways in which an evaluation overestimates robustness (Athalye et al. 2018).

Each check is a function of measured numbers in `network_checks` or `attack_checks`, and a row of `CHECKS`, which takes
these numbers from the `Evidence`.
"""

import numpy as np

from rsr_tf.evaluation.checks.attack_checks import (
    COMPARISONS,
    accuracy_by_epsilon,
    accuracy_falls_with_epsilon,
    accuracy_reaches_zero,
    broken_by_scores,
    random_noise_does_little,
    scores_find_little_more,
    stays_in_the_ball,
)
from rsr_tf.evaluation.checks.base import Check, Evidence
from rsr_tf.evaluation.checks.network_checks import (
    averaged_draws_are_new,
    gradients_are_not_zero,
    gradients_repeat_where_answers_do,
    noise_alike_along_path,
    noise_does_not_depend_on_batch_size,
    noise_is_on,
    returns_logits,
    scores_change_with_the_image,
    stripped_is_not_random,
)
from rsr_tf.evaluation.checks.twin_checks import broken_by_twins, twins_find_little_more
from rsr_tf.evaluation.suites import CLEAN, NOISE_OFF, NOISE_ON, RANDOM_NOISE, SHORT_PGD

__all__ = ["CHECKS", "Check", "Evidence", "run_checks"]


def _noise(evidence):
    return noise_is_on(evidence.answers(NOISE_ON), expected=True if NOISE_OFF in evidence.noise else None)


def _stripped(evidence):
    return stripped_is_not_random(evidence.answers(NOISE_OFF)) if NOISE_OFF in evidence.noise else None


def _along_path(evidence):
    path = evidence.along_path.get(NOISE_ON)
    return noise_alike_along_path({point: spread.answers for point, spread in path.items()}) if path else None


def _new_draws(evidence):
    path = evidence.along_path.get(NOISE_ON)
    if not path:
        return None
    return averaged_draws_are_new(
        max(spread.answers_within for spread in path.values()), max(evidence.answers(NOISE_ON).values())
    )


def _gradients_repeat(evidence):
    labels = {NOISE_ON: "", NOISE_OFF: ", noise off,"}
    spreads = {
        point + labels[network]: spread
        for network, path in evidence.along_path.items()
        for point, spread in path.items()
    }
    return gradients_repeat_where_answers_do(spreads) if spreads else None


def _queries(evidence):
    queries = evidence.queries
    return None if queries is None else scores_change_with_the_image(queries.seen, queries.hidden)


def _scores(evidence):
    broken = broken_by_scores(evidence.results)
    return scores_find_little_more(broken, len(evidence.results[0].index)) if broken else None


def _twins(evidence):
    broken = broken_by_twins(evidence.results, evidence.twins)
    return twins_find_little_more(broken, len(evidence.results[0].index)) if broken else None


def _random_noise(evidence):
    return random_noise_does_little(*(evidence.shares(attack) for attack in (CLEAN, RANDOM_NOISE, SHORT_PGD)))


def _falls(evidence):
    curve = accuracy_by_epsilon(evidence)
    shares = [score.hits / score.predictions for score in curve.values()]
    return accuracy_falls_with_epsilon(list(curve), shares, norm=evidence.norm)


def _reaches_zero(evidence):
    radius, score = list(accuracy_by_epsilon(evidence).items())[-1]
    return accuracy_reaches_zero(radius, score.robust, norm=evidence.norm)


def _in_the_ball(evidence):
    results, radii = evidence.results, [result.parameters.get("epsilon", 0.0) for result in evidence.results]
    excess = [(result.distance - radius) / max(1.0, radius) for result, radius in zip(results, radii, strict=True)]
    return stays_in_the_ball(
        np.concatenate(excess),
        np.concatenate([result.low for result in results]),
        np.concatenate([result.high for result in results]),
    )


CHECKS = (
    _noise,
    lambda evidence: noise_does_not_depend_on_batch_size(evidence.noise[NOISE_ON]),
    _stripped,
    _along_path,
    _new_draws,
    lambda evidence: returns_logits(evidence.logits),
    _queries,
    lambda evidence: gradients_are_not_zero(evidence.zero_gradients),
    _gradients_repeat,
    *COMPARISONS,
    _scores,
    _twins,
    _random_noise,
    _falls,
    _reaches_zero,
    _in_the_ball,
)
"""Functions from `Evidence` to a `Check`, or to `None` if a check does not apply; in the order of the report."""


def run_checks(evidence):
    """Run all checks that apply.

    Args:
        evidence: an `Evidence`.

    Returns:
        A list of `Check`, in the order of `CHECKS`.
    """
    checks = [check(evidence) for check in CHECKS]
    return [check for check in checks if check is not None]
