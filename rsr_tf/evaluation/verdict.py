"""The verdict on a network: its robust accuracy, the attacks that it is based on, and whether the checks passed."""

from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.evaluation.suites import NETWORK, STRIPPED

TITLES = {NETWORK: "as it is used", STRIPPED: "without its noise"}


def make_verdict(results, checks, worst_cases, *, parameters, curve=None):
    """Collect everything that a report shows about an evaluation.

    Args:
        results: list of `rsr_tf.evaluation.AttackResult`, the first of them without an attack.
        checks: list of `rsr_tf.evaluation.Check`.
        worst_cases: dict from each network to the dict of `worst_case`.
        parameters: JSON-serializable dict: suite, epsilon, number of images, draws, seeds.
        curve: dict from epsilon to `MajorityScore`, the accuracy by epsilon. Defaults to `None`, for no curve.

    Returns:
        A JSON-serializable dict: `"claim"`, `"sentence"`, `"failed_checks"`, `"networks"` (clean and worst case
        of each), `"attacks"` (a row for each attack and network that it was scored on), `"checks"`, `"curve"` (a score
        for each epsilon), `"parameters"`.
    """
    clean = results[0].scores
    found = claim(worst_cases)
    return {
        "claim": found,
        "sentence": claim_sentence(found, parameters["epsilon"], checks),
        "failed_checks": sum(not check.passed for check in checks),
        "networks": {
            name: {"clean": clean[name].as_dict(), "worst_case": worst_case} for name, worst_case in worst_cases.items()
        },
        "attacks": [row for result in results for row in attack_rows(result, parameters["n"])],
        "checks": [check.as_dict() for check in checks],
        "curve": [{"epsilon": radius, **score.as_dict()} for radius, score in (curve or {}).items()],
        "parameters": parameters,
    }


def worst_case(robust, fresh):
    """Return the accuracy of one network under the worst of all attacks, image by image.

    Args:
        robust: share of the images that were correct in a majority of draws under every attack.
        fresh: `MajorityScore` of each image's worst adversarial image, under draws that did not select it.

    Returns:
        A dict: `"accuracy"` and its `"interval"` of the majority, `"mean"` and its `"mean_interval"` of single draws,
        `"n"` and `"draws"`.
    """
    return {**fresh.as_dict(), "accuracy": robust, "interval": list(wilson_interval(robust, fresh.n))}


def claim(worst_cases):
    """Return the lowest accuracy of all: over the networks, and over majority and mean.

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
    """Return the claim as a sentence, with the checks that failed.

    Args:
        claim: dict of `claim`.
        epsilon: radius of the ball, in units of pixels in [0,1].
        checks: list of `rsr_tf.evaluation.Check`.

    Returns:
        A string.
    """
    low, high = claim["interval"]
    radius = f"epsilon {255 * epsilon:.3g}/255"
    if claim["measure"] == "majority":
        what = f"of images withstand every attack at {radius}"
        draws = f", correct in a majority of {claim['draws']} draws" if claim["draws"] > 1 else ""
    else:
        what, draws = f"of {claim['draws']} draws per image are correct under its worst attack at {radius}", ""
    failed = [check.name for check in checks if not check.passed]
    trust = "Every check passed." if not failed else f"Not reliable; failed checks: {'; '.join(failed)}."
    return (
        f"At most {claim['accuracy']:.1%} {what} "
        f"(95 % interval {low:.1%} to {high:.1%}, n = {claim['n']}{draws}; network {TITLES[claim['network']]}). {trust}"
    )


def attack_rows(result, n):
    """Return one attack as rows of a table, one for each network that its images were scored on.

    Args:
        result: a `rsr_tf.evaluation.AttackResult`.
        n: number of all images.

    Returns:
        A list of dicts: `"attack"`, `"crafted_on"`, `"scored_on"`, `"on"` (which images were attacked), the score on
        the attacked images (`"accuracy"`, `"mean"`, their intervals, `"n"`, `"draws"`), `"withstood"` (share of all
        images correct under this attack and every earlier one) and its `"withstood_interval"`, `"largest_distance"`,
        `"pixels"`, `"seconds"` and `"parameters"`.
    """
    return [
        {
            "attack": result.name,
            "crafted_on": result.source,
            "scored_on": target,
            "on": result.subset,
            **score.as_dict(),
            "withstood": result.robust_accuracy[target],
            "withstood_interval": list(wilson_interval(result.robust_accuracy[target], n)),
            "largest_distance": float(result.distance.max()),
            "pixels": [float(result.low.min()), float(result.high.max())],
            "seconds": result.seconds,
            "parameters": result.parameters,
        }
        for target, score in result.scores.items()
    ]
