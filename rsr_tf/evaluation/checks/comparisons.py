"""Which numbers of an evaluation go into which check."""

import itertools

import numpy as np

from rsr_tf.evaluation.checks import attack_checks as checks
from rsr_tf.evaluation.scores import RepeatedScore
from rsr_tf.evaluation.suites import other_radii, sweep_name

LOST = "PGD loses its way, so the gradients mislead"


def network_checks(noise, seen):
    """The checks that need no attack.

    Args:
        noise: dict from each network to `rsr_tf.evaluation.probes.noise_by_batch_size`.
        seen: dict with `"logits"` `(n, classes)` and `"zeros"` `(n,)`, the share of zeros in each image's gradient.

    Returns:
        A list of `Check`.
    """
    stripped = [checks.stripped_is_not_random(noise["stripped"])] if "stripped" in noise else []
    return [
        checks.noise_is_on(noise["network"], expected=True if stripped else None),
        checks.noise_does_not_depend_on_batch_size(noise["network"]),
        *stripped,
        checks.returns_logits(seen["logits"]),
        checks.gradients_are_not_zero(seen["zeros"]),
    ]


def attack_checks(trials, epsilon, count):
    """The checks that compare attacks with each other.

    Args:
        trials: list of `Trial`, of every step of a `plan`; the first is of all images.
        epsilon: as for `run_suite`.
        count: number of images, from the first on, that all attacks of the checks have in common.

    Returns:
        A list of `Check`.
    """
    by_name = {(trial.name, trial.source): trial for trial in trials}

    def shares(name, source="network", target="network"):
        score = by_name[name, source].scores[target]
        return score.hits[:count] / score.draws

    def compare(check, weak, strong, suggests):
        return checks.not_stronger(
            check, (weak[0], shares(*weak[1:])), (strong[0], shares(*strong[1:])), suggests=suggests
        )

    pgd, single = ("PGD", "short PGD"), ("PGD with one draw a step", "PGD, one draw")
    found = [
        compare("FGSM not stronger than PGD", ("FGSM", "FGSM"), pgd, LOST),
        compare(
            "black-box not stronger than white-box",
            ("Square, which sees scores alone,", "short Square"),
            pgd,
            "the gradients are masked, and white-box numbers are too high",
        ),
        compare(
            "loss not saturated",
            ("PGD on the same logits, rescaled,", "PGD, one draw", "rescaled"),
            single,
            "the logits are so large or small that the loss is flat, and attacks by cross-entropy are too weak",
        ),
        compare(
            "more steps do not help the defender",
            ("PGD with few steps", "PGD, one draw, few steps"),
            single,
            LOST,
        ),
        compare(
            "restarts do not help the defender",
            single,
            ("PGD with restarts", "PGD, one draw, restarts"),
            "the restart that is kept is not the worst one, so the loss that the attack climbs misleads",
        ),
        compare(
            "more draws do not help the defender",
            single,
            ("PGD over more draws", "short PGD"),
            "averaged gradients mislead, so the mean of the noise is not what defends",
        ),
    ]
    if ("short PGD", "stripped") in by_name:
        found += [
            compare(
                "transfer from the stripped network not stronger",
                ("PGD crafted without the noise", "short PGD", "stripped"),
                pgd,
                "the noise misleads the attack more than it defends; it wants more draws",
            ),
            compare(
                "transfer to the stripped network not stronger",
                ("PGD crafted with the noise", "short PGD", "network", "stripped"),
                ("PGD crafted on the stripped network itself", "short PGD", "stripped", "stripped"),
                "the gradients of the stripped network are masked",
            ),
        ]
    by_scores = broken_by_scores(trials)
    if by_scores:
        found.append(checks.scores_find_little_more(by_scores, len(trials[0].index)))
    curve = accuracy_by_epsilon(trials, epsilon, count)
    radii, clean = list(curve), shares("clean")
    return [
        *found,
        checks.random_noise_does_little(clean, shares("random noise"), shares("short PGD")),
        checks.accuracy_falls_with_epsilon(radii, [score.hits / score.draws for score in curve.values()]),
        checks.accuracy_reaches_zero(radii[-1], curve[radii[-1]].robust),
        checks.stays_in_the_ball(
            np.concatenate([trial.distance - trial.parameters.get("epsilon", 0.0) for trial in trials]),
            np.concatenate([trial.low for trial in trials]),
            np.concatenate([trial.high for trial in trials]),
        ),
    ]


def broken_by_scores(trials):
    """What the attacks of a claim that see scores alone broke on the network that they were crafted on.

    On the images of the checks a short attack by scores had its turn before, so this speaks of the others.

    Args:
        trials: as for `attack_checks`; on each network those by scores come after those by gradients.

    Returns:
        A list with the share of all images for each of these attacks; empty where there was none, or nothing was left.
    """
    return [
        before.withstood[trial.source] - trial.withstood[trial.source]
        for before, trial in itertools.pairwise(trials)
        if "queries" in trial.parameters and trial.on == "left"
    ]


def accuracy_by_epsilon(trials, epsilon, count):
    """What a network that is attacked by the same PGD at several radii still gets right.

    Args:
        trials, epsilon, count: as for `attack_checks`.

    Returns:
        A dict from radius, 0 and ascending, to the `RepeatedScore` of the first `count` images.
    """
    scores = {trial.name: trial.scores["network"] for trial in trials if trial.source == "network"}
    names = {0.0: "clean", epsilon: "PGD, one draw", **{radius: sweep_name(radius) for radius in other_radii(epsilon)}}
    return {
        radius: RepeatedScore(scores[name].hits[:count], scores[name].draws) for radius, name in sorted(names.items())
    }
