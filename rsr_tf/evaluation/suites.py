"""Which attacks make up a suite."""

from dataclasses import dataclass

from rsr_tf.attacks.apgd import APGD
from rsr_tf.attacks.baselines import RandomSigns
from rsr_tf.attacks.eot_pgd import EOTPGD
from rsr_tf.attacks.pgd import FGSM, PGD
from rsr_tf.attacks.square import Square

EPSILON_FACTORS = (0.25, 0.5, 2, 4)
"""Of the sweep, beside 0 and 1: from 2/255 to 32/255 for an epsilon of 8/255."""
WIDE_RADII = (64 / 255, 0.5)
"""Of every sweep. At a half every image can become a grey one, and any image any other's: no network is right there."""


@dataclass(frozen=True)
class Suite:
    """How much a suite spends.

    Args:
        images: test images that the claim is about.
        draws: gradients that an attack of the claim averages, for a random network.
        apgd_steps: of both APGD attacks.
        queries: of the attack by scores; 0 leaves it out.
        query_draws: calls that it averages a margin over, for a random network.
        pgd: whether PGD-20 is among the attacks of the claim.
        long_pgd: whether PGD-100 with restarts is.
        check_images: the first so many of the images are attacked by everything that the checks compare.
        check_steps, check_draws, check_queries: of the attacks that the checks compare.
    """

    images: int = 1000
    draws: int = 20
    apgd_steps: int = 100
    queries: int = 0
    query_draws: int = 1
    pgd: bool = False
    long_pgd: bool = False
    check_images: int = 200
    check_steps: int = 20
    check_draws: int = 10
    check_queries: int = 500


SUITES = {
    "quick": Suite(
        images=200,
        draws=4,
        apgd_steps=20,
        queries=60,
        check_images=100,
        check_steps=10,
        check_draws=4,
        check_queries=60,
    ),
    "standard-random": Suite(),
    "paper": Suite(pgd=True, queries=1000, query_draws=4),
    "full": Suite(pgd=True, long_pgd=True, queries=5000, query_draws=8, check_draws=20),
}
"""From fast to thorough; the claim of `"standard-random"` is that of the version `rand` of AutoAttack."""


def claim_attacks(suite, *, epsilon, random):
    """The attacks that a claim has to withstand, the fast ones first; in the linf ball, with true labels.

    Args:
        suite: a key of `SUITES`. `"quick"`: both APGD attacks and Square, all shortened. `"standard-random"`: both APGD
            attacks with 100 iterations and 20 draws, as in the version `rand` of AutoAttack. `"paper"`: PGD-20 over the
            noise before them and Square after them. `"full"`: these with 5,000 queries, and PGD-100 with restarts and
            two losses.
        epsilon: radius of the ball, in units of pixels in [0,1].
        random: whether the network is; one draw is enough for one that is not.

    Returns:
        A dict from name to attack.
    """
    size = SUITES[suite]
    draws, query_draws = (size.draws, size.query_draws) if random else (1, 1)
    losses = {"CE": "cross_entropy", "DLR": "dlr"}
    attacks = {}
    if size.pgd:
        attacks["PGD-20"] = EOTPGD(epsilon=epsilon, steps=20, eot_samples=draws)
    for name, loss in losses.items():
        attacks[f"APGD-{name}"] = APGD(epsilon=epsilon, steps=size.apgd_steps, eot_samples=draws, loss=loss)
    if size.long_pgd:
        for name, loss in losses.items():
            attacks[f"PGD-100, 5 restarts, {name}"] = EOTPGD(
                epsilon=epsilon, steps=100, eot_samples=draws, restarts=5, loss=loss
            )
    if size.queries:
        attacks["Square"] = Square(epsilon=epsilon, queries=size.queries, eot_samples=query_draws, rescore=random)
    return attacks


def papers_attack(epsilon):
    """PGD-7 with one draw of the noise a step, what the paper measures robustness by (Section 4.1)."""
    return PGD(epsilon=epsilon, step_size=epsilon / 4, steps=7)


def basic_attacks(suite, *, epsilon, random):
    """FGSM, and a short PGD over the noise: what transfer between a network and its stripped self is measured with.

    Args:
        As `claim_attacks`.

    Returns:
        A dict from name to attack.
    """
    size = SUITES[suite]
    draws = size.check_draws if random else 1
    return {
        "FGSM": FGSM(epsilon=epsilon),
        "short PGD": EOTPGD(epsilon=epsilon, steps=size.check_steps, eot_samples=draws),
    }


def check_attacks(suite, *, epsilon, random):
    """What the checks compare with the basic attacks: other kinds, and PGD of one draw a step with other budgets.

    Args:
        As `claim_attacks`.

    Returns:
        A dict from name to attack.
    """
    size = SUITES[suite]

    def pgd(*, epsilon=epsilon, steps=size.check_steps, restarts=1):
        return EOTPGD(epsilon=epsilon, steps=steps, eot_samples=1, restarts=restarts)

    return {
        "random noise": RandomSigns(epsilon),
        "short Square": Square(epsilon=epsilon, queries=size.check_queries, rescore=random),
        "PGD, one draw": pgd(),
        "PGD, one draw, few steps": pgd(steps=max(1, size.check_steps // 5)),
        "PGD, one draw, restarts": pgd(restarts=2),
        **{sweep_name(radius): pgd(epsilon=radius) for radius in other_radii(epsilon)},
    }


def other_radii(epsilon):
    """The radii of the sweep beside 0 and `epsilon` itself, in ascending order; none above 1."""
    return sorted({*(min(1.0, factor * epsilon) for factor in EPSILON_FACTORS), *WIDE_RADII} - {epsilon})


def sweep_name(radius):
    return f"PGD, one draw, epsilon {255 * radius:.4g}/255"
