"""What every check is made of: its outcome, the evidence that it reads, and the comparison of two attacks."""

import math
from dataclasses import asdict, dataclass, field

import numpy as np

from rsr_tf.evaluation.scores import MajorityScore
from rsr_tf.evaluation.suites import NOISE_ON

SIGMAS = 3.0
"""Standard deviations beyond which a comparison fails: by chance alone 1 in 700 does."""


@dataclass(frozen=True)
class Check:
    """One check and its outcome.

    Args:
        name: what is checked, in a few words; an identifier, which documentation and tests refer to.
        passed: whether it passed.
        value: the number that decides.
        threshold: the number that `value` is compared with.
        sentence: what was measured and, for a failed check, what that suggests.
        wanted: on which side of the threshold the value should be: `"at most"` (default), `"at least"` or `"any"`.

    Example:
        >>> check = rsr_tf.evaluation.Check("noise on", True, 0.2, 1e-4, "The network is random.", wanted="at least")
        >>> check.as_dict()["passed"]
        True
    """

    name: str
    passed: bool
    value: float
    threshold: float
    sentence: str
    wanted: str = "at most"

    def as_dict(self):
        """Return all fields as a JSON-serializable dict."""
        return asdict(self)


@dataclass(frozen=True)
class Evidence:
    """The measurements of an evaluation: everything that any check reads.

    Args:
        noise: dict from each network to the dict of `rsr_tf.evaluation.probes.noise_by_batch_size`.
        logits: float `(m, classes)`, outputs of the network for some clean images.
        zero_gradients: float `(m,)`, the share of zeros in the gradient of each of these images.
        results: list of `AttackResult`, one for each step that attacked any image; the first is that of all clean
            images.
        epsilon: radius of the ball that the claim is about, in units of pixels in [0,1].
        num_check_images: number of images, from the first on, that all attacks of the checks have in common.
        along_path: dict from each network to its `rsr_tf.evaluation.probes.Spread` by point. Defaults to an empty one,
            for an evaluation that did not measure it.
        queries: the `rsr_tf.evaluation.probes.Queries` of the network, or `None` (default).
        twins: names of the networks that further attacks were crafted on. Defaults to none.
        norm: norm of the ball. Defaults to `"linf"`.
        largest: largest distance of two images in this norm. Defaults to 1.
    """

    noise: dict
    logits: np.ndarray
    zero_gradients: np.ndarray
    results: list
    epsilon: float
    num_check_images: int
    along_path: dict = field(default_factory=dict)
    queries: object = None
    twins: tuple = ()
    norm: str = "linf"
    largest: float = 1.0

    def answers(self, network):
        """Return the noise of a network wherever it was measured, by batch size or point."""
        path = self.along_path.get(network, {})
        return self.noise[network] | {point: spread.answers for point, spread in path.items()}

    def score(self, attack, *, source=NOISE_ON, target=NOISE_ON):
        """Return the `MajorityScore` of a network on the images of the checks under an attack.

        Args:
            attack: identifier of the attack, see `rsr_tf.evaluation.suites`.
            source: the network that the attack was crafted on. Defaults to `NOISE_ON`.
            target: the network that classified the images. Defaults to `NOISE_ON`.
        """
        results = {(result.name, result.source): result for result in self.results}
        score = results[attack, source].scores[target]
        return MajorityScore(score.hits[: self.num_check_images], score.predictions)

    def shares(self, attack, *, source=NOISE_ON, target=NOISE_ON):
        """Return the share of correct predictions of each image of the checks, float `(n,)`; see `score`."""
        score = self.score(attack, source=source, target=target)
        return score.hits / score.predictions


def paired_difference(first, second):
    """Return the mean of `first - second` over the images, and how large it can be by chance.

    Under chance alone each image's difference is as likely as its negative; the sum over the images then has the
    variance of the sum of their squares.

    Args:
        first, second: floats `(n,)`, in the same order.

    Returns:
        `(difference, limit)`; the limit is `SIGMAS` standard deviations.
    """
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return float(differences.mean()), SIGMAS * math.sqrt(float(np.sum(differences**2))) / len(differences)


def finds_little_more(name, broken, n, sentence, *, suggests, limit=0.02):
    """Check that further attacks break few images that those before them did not break.

    Args:
        name: name of the check.
        broken: floats, for each further attack the share of all images that it broke after the others.
        n: number of all images.
        sentence: string with places for the largest share, `{value}`, and for `{n}`.
        suggests: string, what to think if the check fails.
        limit: the largest such share, or two images if that is more. Defaults to 0.02: under noise some images are
            broken by any further attack, by chance.

    Returns:
        A `Check`.
    """
    value, threshold = float(max(broken)), max(limit, 2 / n)
    passed = value <= threshold + 1e-9  # for the rounding of a difference
    sentence = sentence.format(value=value, n=n) + ("" if passed else f" {suggests}")
    return Check(name, passed, value, threshold, sentence)


def not_stronger(name, weak, strong, *, suggests):
    """Check that an attack that should be weaker is not stronger than another one.

    Args:
        name: name of the check.
        weak: `(title, shares)` of the attack that should be weaker; shares are floats `(n,)`, the share of correct
            predictions that the attack leaves of each image.
        strong: likewise for the attack that should be stronger, on the same images.
        suggests: what a failure suggests, as the end of a sentence.

    Returns:
        A `Check`; its value is the accuracy under the stronger attack minus that under the weaker one.
    """
    (weak_title, weak_shares), (strong_title, strong_shares) = weak, strong
    difference, limit = paired_difference(strong_shares, weak_shares)
    passed = difference <= limit
    seen = (
        f"{weak_title} leaves {np.mean(weak_shares):.1%} correct, {strong_title} {np.mean(strong_shares):.1%} "
        f"(n = {len(weak_shares)})"
    )
    sentence = f"{seen}." if passed else f"{seen}, which is beyond chance: {suggests}."
    return Check(name, passed, difference, limit, sentence)
