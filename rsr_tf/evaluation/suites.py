"""The attacks of each suite, and the order of the steps of an evaluation."""

import dataclasses
import math
from dataclasses import dataclass

from rsr_tf.attacks.apgd import APGD
from rsr_tf.attacks.baselines import NoAttack, RandomSigns
from rsr_tf.attacks.eot_pgd import EOTPGD
from rsr_tf.attacks.hop_skip_jump import HopSkipJump
from rsr_tf.attacks.pgd import FGSM, PGD
from rsr_tf.attacks.square import Square
from rsr_tf.evaluation.radii import other_radii

# Identifiers of networks, subsets and steps, used in every verdict. Those of steps name the files of a stored
# state and are hashed into the seed of each step: never change them. The report has labels for readers.

NOISE_ON = "noise_on"
NOISE_OFF = "noise_off"
RESCALED = "rescaled"
"""What a step attacks: the network with noise on, with noise off, or with noise on and its logits rescaled."""
NOISE_FROZEN = "noise_frozen"
SUBSTITUTE = "substitute"
"""Also attacked: the network with its noise frozen to one draw, and a substitute that was trained on its answers."""
RESERVED = (NOISE_ON, NOISE_OFF, RESCALED, NOISE_FROZEN, SUBSTITUTE, "network", "stripped")
"""Names that no twin can have: those above, and those in a stored state."""

ALL_IMAGES = "all"
CHECK_IMAGES = "checks"
STILL_ROBUST = "still_robust"
"""Which images a step attacks: all, the first ones, or those that no attack has broken yet."""

CLEAN = "clean"
PAPERS_PGD = "PGD-7, as in the paper"
SINGLE_STEP = "FGSM"
SHORT_PGD = "short PGD"
RANDOM_NOISE = "random noise"
SHORT_SQUARE = "short Square"
ONE_DRAW_PGD = "PGD, one draw"
FEW_STEPS_PGD = "PGD, one draw, few steps"
RESTARTED_PGD = "PGD, one draw, restarts"
PGD_20 = "PGD-20"
APGD_CE = "APGD-CE"
APGD_DLR = "APGD-DLR"
PGD_100_CE = "PGD-100, 5 restarts, CE"
PGD_100_DLR = "PGD-100, 5 restarts, DLR"
SQUARE = "Square"
DECISIONS = "HopSkipJump"


def stored_name(network):
    """Return the name of a network in a stored state and in the seeds of its steps: that of version 0.2.0."""
    return {NOISE_ON: "network", NOISE_OFF: "stripped"}.get(network, network)


def sweep_name(radius, norm="linf"):
    """Return the identifier of the step that attacks with another epsilon than that of the evaluation."""
    return f"{ONE_DRAW_PGD}, epsilon {f'{255 * radius:.4g}/255' if norm == 'linf' else f'{radius:.4g}'}"


ENOUGH_DRAWS = 20
"""Draws of the noise in a gradient. More broke no more of the ensemble that docs/rivals.md measures."""


@dataclass(frozen=True)
class Suite:
    """The budget of a suite.

    Args:
        num_images: number of test images that the claim is about.
        eot_samples: gradients that an attack of the claim averages, for a random network.
        apgd_steps: steps of both APGD attacks.
        queries: queries of the Square attack; 0 leaves it out.
        query_samples: scores that the Square attack averages, for a random network.
        pgd: whether PGD-20 is among the attacks of the claim.
        long_pgd: whether PGD-100 with restarts is among the attacks of the claim.
        num_check_images: number of images, from the first on, that the attacks of the checks are run on.
        check_steps, check_samples, check_queries: steps, gradients and queries of the attacks of the checks.
        decision_iterations, decision_samples: iterations and first samples of the attack by decisions, which is run
            if a check has failed.

    Example:
        >>> rsr_tf.evaluation.SUITES["paper"].for_ensemble(8).eot_samples  # 24 draws of the noise
        3
    """

    num_images: int = 1000
    eot_samples: int = 20
    apgd_steps: int = 100
    queries: int = 0
    query_samples: int = 1
    pgd: bool = False
    long_pgd: bool = False
    num_check_images: int = 200
    check_steps: int = 20
    check_samples: int = 10
    check_queries: int = 500
    decision_iterations: int = 40
    decision_samples: int = 100

    def for_ensemble(self, draws):
        """Return the suite with fewer calls of a network that averages several draws of its noise in each.

        Gradients are the mean of `ENOUGH_DRAWS` draws, unless the suite has fewer calls than that takes; scores are the
        mean of as many draws as for a network that draws once.

        Args:
            draws: integer, as for `rsr_tf.attacks.ensemble`.
        """
        enough = math.ceil(ENOUGH_DRAWS / draws)
        gradients = {name: min(getattr(self, name), enough) for name in ("eot_samples", "check_samples")}
        return dataclasses.replace(self, query_samples=math.ceil(self.query_samples / draws), **gradients)


SUITES = {
    "quick": Suite(
        num_images=200,
        eot_samples=4,
        apgd_steps=20,
        queries=60,
        num_check_images=100,
        check_steps=10,
        check_samples=4,
        check_queries=60,
        decision_iterations=20,
        decision_samples=25,
    ),
    "standard-random": Suite(),
    "paper": Suite(pgd=True, queries=1000, query_samples=4),
    "full": Suite(pgd=True, long_pgd=True, queries=5000, query_samples=8, check_samples=20),
}
"""From fast to thorough; the claim of `"standard-random"` is that of AutoAttack's version `rand`."""


@dataclass(frozen=True)
class Step:
    """One attack of an evaluation.

    Args:
        name: identifier of the attack, such as `CLEAN`.
        attack: a `rsr_tf.attacks.Attack`.
        source: the network that is attacked: `NOISE_ON`, `NOISE_OFF` or `RESCALED`.
        subset: the images that are attacked: `ALL_IMAGES`, `CHECK_IMAGES` or `STILL_ROBUST`.
    """

    name: str
    attack: object
    source: str
    subset: str


def plan(suite, *, epsilon, random, norm="linf", largest=1.0):
    """List the steps of an evaluation in order.

    The paper's attack on all images comes first, then the attacks of the checks, because images that these break need
    no other attack, then the attacks of the claim on the images that are still robust.

    Args:
        suite: a `Suite`.
        epsilon: radius of the ball, in units of pixels in [0,1].
        random: dict from each network to whether it is random.
        norm: `"linf"` (default) or `"l2"`.
        largest: the `largest_distance` of two images. Defaults to 1.

    Returns:
        A list of `Step`.
    """
    steps = [Step(CLEAN, NoAttack(), NOISE_ON, ALL_IMAGES)]
    steps += [Step(PAPERS_PGD, papers_attack(epsilon, norm), source, ALL_IMAGES) for source in random]
    for source, is_random in random.items():
        attacks = basic_attacks(suite, epsilon=epsilon, random=is_random, norm=norm)
        steps += [Step(name, attack, source, CHECK_IMAGES) for name, attack in attacks.items()]
    compared = attacks_for_checks(suite, epsilon=epsilon, random=random[NOISE_ON], norm=norm, largest=largest)
    steps += [Step(name, attack, NOISE_ON, CHECK_IMAGES) for name, attack in compared.items()]
    steps.append(Step(ONE_DRAW_PGD, compared[ONE_DRAW_PGD], RESCALED, CHECK_IMAGES))
    for source, is_random in random.items():
        attacks = claim_attacks(suite, epsilon=epsilon, random=is_random, norm=norm)
        steps += [Step(name, attack, source, STILL_ROBUST) for name, attack in attacks.items()]
    return steps


def further_plan(suite, *, epsilon, random, norm="linf"):
    """List the steps that follow if a check has failed: attacks that need neither gradients nor scores of the network.

    Args:
        suite, epsilon, norm: as for `plan`.
        random: whether the network is random.

    Returns:
        A list of `Step`.
    """
    transfer = EOTPGD(epsilon=epsilon, norm=norm, steps=20, eot_samples=1)
    decisions = HopSkipJump(
        epsilon=epsilon,
        norm=norm,
        iterations=suite.decision_iterations,
        initial_samples=suite.decision_samples,
        eot_samples=suite.check_samples if random else 1,
    )
    return [Step(PGD_20, transfer, SUBSTITUTE, STILL_ROBUST), Step(DECISIONS, decisions, NOISE_ON, STILL_ROBUST)]


def twin_plan(suite, *, epsilon, random, twins, norm="linf"):
    """List the steps that transfer to the network: the attacks of the claim by gradients, crafted on its twins.

    Args:
        suite, epsilon, random, norm: as for `claim_attacks`.
        twins: names of the twins.

    Returns:
        A list of `Step`.
    """
    attacks = claim_attacks(suite, epsilon=epsilon, random=random, norm=norm)
    by_gradients = {name: attack for name, attack in attacks.items() if attack.uses_gradients}
    return [Step(name, attack, twin, STILL_ROBUST) for twin in twins for name, attack in by_gradients.items()]


def frozen_plan(suite, *, epsilon, norm="linf"):
    """List the steps against the network with its noise frozen to one draw: the attacks of the claim."""
    attacks = claim_attacks(suite, epsilon=epsilon, random=False, norm=norm)
    clean = Step(CLEAN, NoAttack(), NOISE_FROZEN, ALL_IMAGES)
    return [clean, *(Step(name, attack, NOISE_FROZEN, STILL_ROBUST) for name, attack in attacks.items())]


def papers_attack(epsilon, norm="linf"):
    """Return PGD-7 with one EOT sample per step, the paper's measure of robustness (Section 4.1)."""
    return PGD(epsilon=epsilon, step_size=epsilon / 4, steps=7, norm=norm)


def basic_attacks(suite, *, epsilon, random, norm="linf"):
    """Return FGSM and a short PGD over the noise, which measure transfer between a network and its stripped version.

    Args:
        suite, epsilon, random, norm: as for `claim_attacks`.

    Returns:
        A dict from name to attack.
    """
    samples = suite.check_samples if random else 1
    return {
        SINGLE_STEP: FGSM(epsilon=epsilon, norm=norm),
        SHORT_PGD: EOTPGD(epsilon=epsilon, norm=norm, steps=suite.check_steps, eot_samples=samples),
    }


def attacks_for_checks(suite, *, epsilon, random, norm="linf", largest=1.0):
    """Return what the checks compare with the basic attacks: other kinds of attack, and PGD with other budgets.

    Args:
        suite, epsilon, random, norm: as for `claim_attacks`.
        largest: as for `plan`.

    Returns:
        A dict from name to attack.
    """

    def pgd(*, epsilon=epsilon, steps=suite.check_steps, restarts=1):
        return EOTPGD(epsilon=epsilon, norm=norm, steps=steps, eot_samples=1, restarts=restarts)

    return {
        RANDOM_NOISE: RandomSigns(epsilon, norm),
        SHORT_SQUARE: Square(epsilon=epsilon, norm=norm, queries=suite.check_queries, rescore=random),
        ONE_DRAW_PGD: pgd(),
        FEW_STEPS_PGD: pgd(steps=max(1, suite.check_steps // 5)),
        RESTARTED_PGD: pgd(restarts=2),
        **{sweep_name(radius, norm): pgd(epsilon=radius) for radius in other_radii(epsilon, largest)},
    }


def claim_attacks(suite, *, epsilon, random, norm="linf"):
    """Return the attacks that the claim is about, the fast ones first, with the true labels.

    Args:
        suite: a `Suite`. Of `SUITES`, `"quick"` has both APGD attacks and Square, all shortened. `"standard-random"`:
            both APGD attacks with 100 iterations and 20 EOT samples, as in AutoAttack's version `rand`. `"paper"`: also
            PGD-20 over the noise before them and Square after them. `"full"`: the same with 5,000 queries, and PGD-100
            with restarts and two losses.
        epsilon: radius of the ball, in units of pixels in [0,1].
        random: whether the network is random; otherwise one sample is enough.
        norm: `"linf"` (default) or `"l2"`.

    Returns:
        A dict from name to attack.
    """
    samples, query_samples = (suite.eot_samples, suite.query_samples) if random else (1, 1)
    losses = ("cross_entropy", "dlr")
    attacks = {}
    if suite.pgd:
        attacks[PGD_20] = EOTPGD(epsilon=epsilon, norm=norm, steps=20, eot_samples=samples)
    for name, loss in zip((APGD_CE, APGD_DLR), losses, strict=True):
        attacks[name] = APGD(epsilon=epsilon, norm=norm, steps=suite.apgd_steps, eot_samples=samples, loss=loss)
    if suite.long_pgd:
        for name, loss in zip((PGD_100_CE, PGD_100_DLR), losses, strict=True):
            options = {"norm": norm, "eot_samples": samples, "restarts": 5, "loss": loss}
            attacks[name] = EOTPGD(epsilon=epsilon, steps=100, **options)
    if suite.queries:
        options = {"norm": norm, "eot_samples": query_samples, "rescore": random}
        attacks[SQUARE] = Square(epsilon=epsilon, queries=suite.queries, **options)
    return attacks
