"""Checks that compare attacks with each other.

The result of an attack is given as the share of correct predictions of each image, in the same order for both sides of
a comparison, so that differences between the images cancel.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from rsr_tf.evaluation.checks.base import Check, finds_little_more, not_stronger, paired_difference
from rsr_tf.evaluation.radii import other_radii
from rsr_tf.evaluation.suites import (
    CLEAN,
    FEW_STEPS_PGD,
    NOISE_OFF,
    NOISE_ON,
    ONE_DRAW_PGD,
    RESCALED,
    RESTARTED_PGD,
    SHORT_PGD,
    SHORT_SQUARE,
    SINGLE_STEP,
    STILL_ROBUST,
    SUBSTITUTE,
    sweep_name,
)
from rsr_tf.radii import radius_text


@dataclass(frozen=True)
class Side:
    """One side of a comparison: an attack, the network it is crafted on, and the network that is scored.

    Args:
        title: how the sentence of the check calls the attack.
        attack: identifier of the attack, see `rsr_tf.evaluation.suites`.
        source, target: networks.
    """

    title: str
    attack: str
    source: str = NOISE_ON
    target: str = NOISE_ON


@dataclass(frozen=True)
class Comparison:
    """A check that one attack is not stronger than another, as a function of `Evidence`.

    Args:
        name: name of the check.
        weak, strong: the `Side` that should be weaker, and the one that should be stronger.
        suggests: what a failure suggests, as the end of a sentence.
    """

    name: str
    weak: Side
    strong: Side
    suggests: str

    def __call__(self, evidence):
        """Return the `Check`, or `None` for an evaluation without the stripped network, if it is compared."""
        sides = self.weak, self.strong
        compared = {network for side in sides for network in (side.source, side.target)}
        if NOISE_OFF in compared and NOISE_OFF not in evidence.noise:
            return None
        weak, strong = (
            (side.title, evidence.shares(side.attack, source=side.source, target=side.target)) for side in sides
        )
        return not_stronger(self.name, weak, strong, suggests=self.suggests)


_MASKING = "this suggests gradient masking"
_PGD = Side("PGD", SHORT_PGD)
_ONE_DRAW = Side("PGD with one EOT sample per step", ONE_DRAW_PGD)

COMPARISONS = (
    Comparison("FGSM not stronger than PGD", Side("FGSM", SINGLE_STEP), _PGD, _MASKING),
    Comparison(
        "black-box not stronger than white-box",
        Side("Square, which uses scores only,", SHORT_SQUARE),
        _PGD,
        "the gradients are masked, and the white-box numbers are too high",
    ),
    Comparison(
        "loss not saturated",
        Side("PGD on the same logits, rescaled,", ONE_DRAW_PGD, source=RESCALED),
        _ONE_DRAW,
        "the logits are so large or small that the loss is flat, and attacks by cross-entropy are too weak",
    ),
    Comparison(
        "more steps do not help the defender",
        Side("PGD with few steps", FEW_STEPS_PGD),
        _ONE_DRAW,
        _MASKING,
    ),
    Comparison(
        "restarts do not help the defender",
        _ONE_DRAW,
        Side("PGD with restarts", RESTARTED_PGD),
        "the restart that is kept is not the worst one, so the loss that the attack maximizes is misleading",
    ),
    Comparison(
        "more draws do not help the defender",
        _ONE_DRAW,
        Side("PGD with more EOT samples", SHORT_PGD),
        "averaged gradients mislead, so the mean of the noise is not what defends",
    ),
    Comparison(
        "transfer from the stripped network not stronger",
        Side("PGD crafted with noise off", SHORT_PGD, source=NOISE_OFF),
        _PGD,
        "the noise weakens the attack more than it defends; the attack needs more EOT samples",
    ),
    Comparison(
        "transfer to the stripped network not stronger",
        Side("With noise off, PGD crafted with noise on", SHORT_PGD, target=NOISE_OFF),
        Side("PGD crafted with noise off", SHORT_PGD, source=NOISE_OFF, target=NOISE_OFF),
        "the gradients of the network with noise off are masked",
    ),
)
"""Pairs of attacks, one row for each check."""


def scores_find_little_more(broken, n):
    """Check that an attack by scores breaks few images that the attacks by gradients did not break.

    Args:
        broken, n: as for `finds_little_more`, an entry for each network.

    Returns:
        A `Check`.
    """
    return finds_little_more(
        "scores find little that gradients left",
        broken,
        n,
        "The attack by scores broke {value:.1%} of all images after the attacks by gradients (n = {n}).",
        suggests="That suggests gradient masking: a longer attack by scores would break more, and the claim is too "
        "high.",
    )


def broken_by_scores(results):
    """Return what the claim's attacks without gradients of the network broke on the network that they were crafted on.

    These are the attacks by scores or decisions, and those transferred from a substitute. Only attacks on images that
    were still robust count: on the images of the checks a short attack by scores came before, so this is about the
    others.

    Args:
        results: list of `AttackResult`; on each network these attacks come after those by gradients.

    Returns:
        A list with the share of all images for each of these attacks; empty if there was none, or no image was left.
    """
    return [
        before.robust_accuracy[target] - result.robust_accuracy[target]
        for before, result in itertools.pairwise(results)
        if (result.source == SUBSTITUTE or not result.uses_gradients) and result.subset == STILL_ROBUST
        for target in (NOISE_ON if result.source == SUBSTITUTE else result.source,)
    ]


def random_noise_does_little(clean, noisy, attacked, *, limit=0.5):
    """Check that random noise as large as epsilon does less than half of the harm of the attack.

    Args:
        clean, noisy, attacked: floats `(n,)`: share of correct predictions of each image without an attack, under
            random noise, and under the attack.
        limit: the largest share of the attack's harm. Defaults to 0.5.

    Returns:
        A `Check`.
    """
    harm, chance = paired_difference(clean, noisy)
    attack_harm = float(np.mean(clean) - np.mean(attacked))
    value = harm / attack_harm if attack_harm > 0 else float(harm > 0)
    passed = value <= limit or harm <= chance
    sentence = (
        f"Random noise of the same size costs {100 * harm:.1f} points of accuracy, the attack {100 * attack_harm:.1f} "
        f"(n = {len(clean)})."
    )
    if passed and value > limit:
        sentence += " That is no more than chance."
    if not passed:
        sentence += (
            " An attack that is hardly better than random noise does not find the harmful direction: its gradients may "
            "be masked."
        )
    return Check("random noise does little", passed, float(value), limit, sentence)


def accuracy_by_epsilon(evidence):
    """Return the accuracy of the network under the same PGD at several radii.

    Args:
        evidence: an `Evidence`.

    Returns:
        A dict from radius, 0 and ascending, to the `MajorityScore` of the images of the checks.
    """
    names = {0.0: CLEAN, evidence.epsilon: ONE_DRAW_PGD}
    others = other_radii(evidence.epsilon, evidence.largest)
    names |= {radius: sweep_name(radius, evidence.norm) for radius in others}
    return {radius: evidence.score(name) for radius, name in sorted(names.items())}


def accuracy_falls_with_epsilon(radii, shares, *, norm="linf"):
    """Check that a larger epsilon never helps the defender.

    Args:
        radii: floats in ascending order.
        shares: for each radius, floats `(n,)`: share of correct predictions of each image, of the same images.
        norm: norm of the radii. Defaults to `"linf"`.

    Returns:
        A `Check`.
    """
    rises = [paired_difference(wider, narrower) for narrower, wider in itertools.pairwise(shares)]
    place = max(range(len(rises)), key=lambda index: rises[index][0] - rises[index][1])
    value, threshold = rises[place]
    passed = value <= threshold
    points = zip(radii, shares, strict=True)
    accuracies = ", ".join(f"{np.mean(share):.1%} at {radius_text(radius, norm)}" for radius, share in points)
    sentence = f"Accuracy by epsilon: {accuracies}."
    if not passed:
        sentence += (
            f" From {radius_text(radii[place], norm)} to {radius_text(radii[place + 1], norm)} it rises: the attack "
            "gets stuck, and its numbers are too high."
        )
    return Check("accuracy falls with epsilon", passed, value, threshold, sentence)


def accuracy_reaches_zero(radius, robust, *, limit=0.02, norm="linf"):
    """Check that no image is still correct at an epsilon at which every image can become a grey one.

    Args:
        radius: the largest epsilon of the sweep.
        robust: boolean `(n,)`: which images are still correct there.
        limit: share of images that may be. Defaults to 0.02.
        norm: norm of the radius. Defaults to `"linf"`.

    Returns:
        A `Check`.
    """
    value = float(np.mean(robust))
    passed = value <= limit
    sentence = (
        f"At epsilon {radius_text(radius, norm)} {value:.1%} of the images are still correct (n = {len(robust)})."
    )
    if not passed:
        sentence += " No network can be correct there: the attack misses adversarial examples that exist."
    return Check("accuracy reaches zero", passed, value, limit, sentence)


def stays_in_the_ball(excess, low, high, *, tolerance=1e-6):
    """Check that adversarial images lie within epsilon of the clean images and within [0,1].

    Args:
        excess: floats: for every image, its distance minus the epsilon of its attack, in units of this epsilon if it is
            larger than 1.
        low, high: floats: the smallest and the largest pixel of every image.
        tolerance: allowance for the rounding of float32. Defaults to 1e-6.

    Returns:
        A `Check`.
    """
    value = float(np.max([np.max(excess), -np.min(low), np.max(high) - 1]))
    passed = value <= tolerance  # not for a NaN
    sentence = f"Every image lies within its epsilon; pixels from {np.min(low):.3g} to {np.max(high):.3g}."
    if not passed:
        sentence = (
            f"Some images exceed epsilon or [0,1] by up to {value:.3g}; they are not counted as successful. Check that "
            "pixels are in [0,1] and not in [0,255], and that the attack projects."
        )
    return Check("within epsilon and the pixel range", passed, value, tolerance, sentence)
