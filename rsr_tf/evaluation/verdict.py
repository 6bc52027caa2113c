"""The verdict on a network, as plain numbers: what withstood every attack, which attacks, and whether to believe it."""

from rsr_tf.evaluation.scores import wilson_interval

TITLES = {"network": "as it is used", "stripped": "without its noise"}


def make_verdict(trials, checks, worst_cases, *, parameters, curve=None):
    """Everything that a report has to know.

    Args:
        trials: list of `rsr_tf.evaluation.trials.Trial`, the first of them without an attack.
        checks: list of `rsr_tf.evaluation.checks.Check`.
        worst_cases: dict from each network to the dict of `worst_case`.
        parameters: dict of plain values: suite, epsilon, number of images, draws, seeds.
        curve: dict from epsilon to `RepeatedScore`, for the accuracy against epsilon. Defaults to `None`, for no curve.

    Returns:
        A dict of plain values, for JSON: `"claim"`, `"sentence"`, `"failed_checks"`, `"networks"` (clean and worst case
        of each), `"attacks"` (a row for each attack and network that it was scored on), `"checks"`, `"curve"` (a score
        for each epsilon), `"parameters"`.
    """
    clean = trials[0].scores
    found = claim(worst_cases)
    return {
        "claim": found,
        "sentence": claim_sentence(found, parameters["epsilon"], checks),
        "failed_checks": sum(not check.passed for check in checks),
        "networks": {
            name: {"clean": clean[name].as_dict(), "worst_case": worst_case} for name, worst_case in worst_cases.items()
        },
        "attacks": [row for trial in trials for row in attack_rows(trial, parameters["n"])],
        "checks": [check.as_dict() for check in checks],
        "curve": [{"epsilon": radius, **score.as_dict()} for radius, score in (curve or {}).items()],
        "parameters": parameters,
    }


def worst_case(robust, fresh):
    """The accuracy of one network under the worst of all attacks, image by image.

    Args:
        robust: share of the images that were right in a majority of draws under every attack.
        fresh: `RepeatedScore` of each image's worst adversarial image, by draws that had no part in choosing it.

    Returns:
        A dict: `"accuracy"` and its `"interval"` of the majority, `"mean"` and its `"mean_interval"` of single draws,
        `"n"` and `"draws"`.
    """
    return {**fresh.as_dict(), "accuracy": robust, "interval": list(wilson_interval(robust, fresh.n))}


def claim(worst_cases):
    """The lowest accuracy of all: over networks, and over majority and mean.

    Args:
        worst_cases: dict from each network to the dict of `worst_case`.

    Returns:
        A dict: `"accuracy"`, `"interval"`, `"n"`, `"draws"`, `"network"` and `"measure"`, which is `"majority"` or
        `"mean"`.
    """
    candidates = [
        {
            "accuracy": score[accuracy],
            "interval": score[interval],
            **{key: score[key] for key in ("n", "draws")},
            **{"network": network, "measure": measure},
        }
        for network, score in worst_cases.items()
        for measure, accuracy, interval in (("majority", "accuracy", "interval"), ("mean", "mean", "mean_interval"))
    ]
    return min(candidates, key=lambda candidate: candidate["accuracy"])


def claim_sentence(claim, epsilon, checks):
    """The claim in words, and how far to trust it."""
    low, high = claim["interval"]
    radius = f"epsilon {255 * epsilon:.3g}/255"
    if claim["measure"] == "majority":
        what = f"of images withstand every attack at {radius}"
        draws = f", right in a majority of {claim['draws']} draws" if claim["draws"] > 1 else ""
    else:
        what, draws = f"of {claim['draws']} draws an image are right under its worst attack at {radius}", ""
    failed = [check.name for check in checks if not check.passed]
    trust = "Every check passed." if not failed else f"Not to be trusted as it stands; failed: {'; '.join(failed)}."
    return (
        f"At most {claim['accuracy']:.1%} {what} "
        f"(95 % interval {low:.1%} to {high:.1%}, n = {claim['n']}{draws}; network {TITLES[claim['network']]}). {trust}"
    )


def attack_rows(trial, n):
    """One attack as rows of a table, one for each network that its images were scored on.

    Args:
        trial: a `rsr_tf.evaluation.trials.Trial`.
        n: number of all images.

    Returns:
        A list of dicts: `"attack"`, `"crafted_on"`, `"scored_on"`, `"on"` (which images were attacked), the score on
        the attacked images (`"accuracy"`, `"mean"`, their intervals, `"n"`, `"draws"`), `"withstood"` (share of all
        images right under this attack and every one before) and its `"withstood_interval"`, `"largest_distance"`,
        `"pixels"`, `"seconds"` and `"parameters"`.
    """
    return [
        {
            "attack": trial.name,
            "crafted_on": trial.source,
            "scored_on": target,
            "on": trial.on,
            **score.as_dict(),
            "withstood": trial.withstood[target],
            "withstood_interval": list(wilson_interval(trial.withstood[target], n)),
            "largest_distance": float(trial.distance.max()),
            "pixels": [float(trial.low.min()), float(trial.high.max())],
            "seconds": trial.seconds,
            "parameters": trial.parameters,
        }
        for target, score in trial.scores.items()
    ]
