"""Is a robustness number to be trusted? Checks for known ways in which an evaluation flatters (Athalye et al. 2018).

Every check is a function of measured numbers alone. What an attack leaves is given as the share of right draws of each
image, in the same order for both sides of a comparison, so that the images' own differences cancel.
"""

import itertools
import math
from dataclasses import asdict, dataclass

import numpy as np

SIGMAS = 3.0
"""How far beyond chance a comparison must be to fail: one in 700 where there is no difference."""
NOISE_FLOOR = 1e-4
"""Differences between calls below this, in units of the logits' own spread, are rounding and not noise."""


@dataclass(frozen=True)
class Check:
    """One check and its outcome.

    Args:
        name: what was checked, in a few words.
        passed: whether it holds.
        value: the number that decides.
        threshold: what it is compared with.
        sentence: what was seen, and, for a failed check, what that suggests.
        wanted: what the value should be against the threshold: `"at most"`, the default, `"at least"` or `"any"`.
    """

    name: str
    passed: bool
    value: float
    threshold: float
    sentence: str
    wanted: str = "at most"

    def as_dict(self):
        return asdict(self)


def paired_difference(first, second):
    """Mean of `first - second` over the images, and how large it can be by chance.

    Under chance alone each image's difference is as likely as its negative; the sum over images then has the variance
    of the sum of their squares.

    Args:
        first, second: floats `(n,)`, in the same order.

    Returns:
        `(difference, limit)`; the limit is `SIGMAS` standard deviations.
    """
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return float(differences.mean()), SIGMAS * math.sqrt(float(np.sum(differences**2))) / len(differences)


def not_stronger(name, weak, strong, *, suggests):
    """An attack that should be the weaker one leaves no fewer images right than the one that should be stronger.

    Args:
        name: of the check.
        weak: `(title, shares)` of the attack that should be the weaker one; shares are floats `(n,)`.
        strong: likewise, on the same images.
        suggests: what a failure suggests, as the end of a sentence.

    Returns:
        A `Check`; its value is how much more the stronger attack leaves.
    """
    (weak_title, weak_shares), (strong_title, strong_shares) = weak, strong
    difference, limit = paired_difference(strong_shares, weak_shares)
    passed = difference <= limit
    seen = (
        f"{weak_title} leaves {np.mean(weak_shares):.1%} right, {strong_title} {np.mean(strong_shares):.1%} "
        f"(n = {len(weak_shares)})"
    )
    return Check(name, passed, difference, limit, f"{seen}." if passed else f"{seen}, more than by chance: {suggests}.")


def noise_is_on(spreads, *, expected):
    """The network is random exactly if it should be.

    Args:
        spreads: dict from batch size to spread, of `rsr_tf.evaluation.probes.noise_by_batch_size`.
        expected: `True`, `False`, or `None` where nothing is known.
    """
    value = max(spreads.values())
    random = is_random(spreads)
    passed = expected is None or random == expected
    if random:
        sentence = f"The network is random: between calls its logits move by {value:.2g} of their spread."
        if not passed:
            sentence += " It should not be, so one draw cannot speak for it."
    else:
        sentence = "The network is not random: every call gives the same logits."
        if not passed:
            sentence += " It should be: its noise is off, and what is measured is another network than the one in use."
    wanted = {True: "at least", False: "at most", None: "any"}[expected]
    return Check("noise on", passed, value, NOISE_FLOOR, sentence, wanted)


def noise_does_not_depend_on_batch_size(spreads, *, least_ratio=1 / 3):
    """A network that is random is equally random for every number of images in a call.

    Args:
        spreads: as for `noise_is_on`.
        least_ratio: of the smallest spread to the largest. Defaults to a third, which leaves room for chance.
    """
    smallest, largest = min(spreads, key=spreads.get), max(spreads, key=spreads.get)
    ratio = spreads[smallest] / spreads[largest] if is_random(spreads) else 1.0
    passed = ratio >= least_ratio
    sentence = f"The noise is alike in calls of {', '.join(map(str, sorted(spreads)))} images."
    if not passed:
        sentence = (
            f"In calls of {smallest} images the noise is {ratio:.2g} of what it is in calls of {largest}: the network "
            "knows when it is looked at, and an attack in such calls meets another network than the one in use."
        )
    return Check("noise alike in calls of every size", passed, ratio, least_ratio, sentence, "at least")


def is_random(spreads):
    return max(spreads.values()) > NOISE_FLOOR


def stripped_is_not_random(spreads):
    """The network without noise has none."""
    value = max(spreads.values())
    passed = not is_random(spreads)
    sentence = "The stripped network gives the same logits at every call."
    if not passed:
        sentence = "The stripped network is still random: what is called noise off is not."
    return Check("no noise in the stripped network", passed, value, NOISE_FLOOR, sentence)


def returns_logits(outputs, *, tolerance=1e-3):
    """The network returns logits and not probabilities.

    Args:
        outputs: floats `(n, classes)`.
        tolerance: how far a row may sum from 1 and still be taken for probabilities.
    """
    value = float(np.abs(np.sum(outputs, axis=1) - 1).max())
    passed = value > tolerance or np.min(outputs) < -tolerance  # what sums to 1 and is not negative is at most 1
    sentence = "The outputs are logits."
    if not passed:
        sentence = (
            "Every row of the outputs lies in [0,1] and sums to 1: these are probabilities. Cross-entropy then applies "
            "the softmax twice, which flattens the gradients and weakens an attack; hand over the logits."
        )
    return Check("logits and not probabilities", bool(passed), value, tolerance, sentence, "at least")


def gradients_are_not_zero(shares, *, limit=0.01):
    """Hardly any image has a gradient that is exactly zero everywhere.

    Args:
        shares: floats `(n,)`: the share of zeros in the gradient of each image.
        limit: share of images that may have nothing but zeros. Defaults to 1 %.
    """
    value = float(np.mean(np.asarray(shares) == 1))
    passed = value <= limit
    sentence = f"{value:.1%} of the images have a gradient of exactly zero; of all entries {np.mean(shares):.1%} are."
    if not passed:
        sentence += (
            " An attack by gradients does not see them: suspect rounding in the network, or logits so large that the "
            "loss is flat; only attacks by scores or with another loss count."
        )
    return Check("gradients not zero", passed, value, limit, sentence)


def random_noise_does_little(clean, noisy, attacked, *, limit=0.5):
    """Random noise of the size of the attack does less than half of its harm.

    Args:
        clean, noisy, attacked: floats `(n,)`: share of right draws of each image as it is, under random noise, and
            under the attack.
        limit: the largest share of the attack's harm. Defaults to a half.
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
        sentence += " An attack that hardly beats chance does not find the direction that hurts: suspect its gradients."
    return Check("random noise does little", passed, float(value), limit, sentence)


def scores_find_little_more(found, n, *, limit=0.02):
    """An attack that sees scores alone breaks next to nothing that those by gradients have left.

    Args:
        found: floats, for each network the share of all images that it broke after the others.
        n: number of all images.
        limit: the largest such share, or two images where that is more. Defaults to 2 %: under noise some images fall
            by luck to any further attack.
    """
    value, threshold = float(max(found)), max(limit, 2 / n)
    passed = value <= threshold + 1e-9  # for the rounding of a difference
    sentence = (
        f"Of what the attacks by gradients left, the one by scores alone broke {value:.1%} of all images (n = {n})."
    )
    if not passed:
        sentence += (
            " That suggests masked gradients: a longer attack by scores would find more, and the claim is too high."
        )
    return Check("scores find little that gradients left", passed, value, threshold, sentence)


def accuracy_falls_with_epsilon(radii, shares):
    """A wider ball never helps the defender.

    Args:
        radii: floats in ascending order.
        shares: for each of them, floats `(n,)`, on the same images.
    """
    rises = [paired_difference(wider, narrower) for narrower, wider in itertools.pairwise(shares)]
    place = max(range(len(rises)), key=lambda index: rises[index][0] - rises[index][1])
    value, threshold = rises[place]
    passed = value <= threshold
    points = zip(radii, shares, strict=True)
    curve = ", ".join(f"{np.mean(share):.1%} at {255 * radius:.3g}/255" for radius, share in points)
    sentence = f"Accuracy by epsilon: {curve}."
    if not passed:
        sentence += (
            f" From {255 * radii[place]:.3g}/255 to {255 * radii[place + 1]:.3g}/255 it rises: the attack gets stuck, "
            "and its numbers are too high."
        )
    return Check("accuracy falls with epsilon", passed, value, threshold, sentence)


def accuracy_reaches_zero(radius, robust, *, limit=0.02):
    """With an epsilon of a half or more, at which every image can become a grey one, nothing is right any more.

    Args:
        radius: the largest epsilon of the sweep.
        robust: boolean `(n,)`: which images are still right there.
        limit: share of images that may be. Defaults to 2 %.
    """
    value = float(np.mean(robust))
    passed = value <= limit
    sentence = f"At epsilon {255 * radius:.3g}/255 {value:.1%} of the images are still right (n = {len(robust)})."
    if not passed:
        sentence += " No network can be right there: the attack does not find what is there to be found."
    return Check("accuracy reaches zero", passed, value, limit, sentence)


def stays_in_the_ball(excess, low, high, *, tolerance=1e-6):
    """What was scored lies within epsilon of the clean images and within [0,1].

    Args:
        excess: floats: for every image, its linf distance less the epsilon of its attack.
        low, high: floats: the smallest and the largest pixel of every image.
        tolerance: for the rounding of float32.
    """
    value = float(np.max([np.max(excess), -np.min(low), np.max(high) - 1]))
    passed = value <= tolerance  # not for a NaN
    sentence = f"Every image lies within its epsilon; pixels from {np.min(low):.3g} to {np.max(high):.3g}."
    if not passed:
        sentence = (
            f"An image left its ball or [0,1] by {value:.3g}: such images were scored, but broke nothing. Mind that "
            "pixels are in [0,1] and not in [0,255], and that the attack projects."
        )
    return Check("within epsilon and the pixel range", passed, value, tolerance, sentence)
