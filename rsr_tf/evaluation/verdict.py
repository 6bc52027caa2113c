"""The verdict on a network: its robust accuracy, the attacks that it is based on, and whether the checks passed."""

from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.evaluation.suites import NOISE_OFF, NOISE_ON
from rsr_tf.radii import radius_text

TITLES = {NOISE_ON: "as deployed", NOISE_OFF: "with noise off"}


def make_verdict(results, checks, worst_cases, *, parameters, curve=None, frozen=None):
    """Collect everything that a report shows about an evaluation.

    Args:
        results: list of `rsr_tf.evaluation.AttackResult`, the first of them without an attack.
        checks: list of `rsr_tf.evaluation.Check`.
        worst_cases: dict from each network to the dict of `worst_case`.
        parameters: JSON-serializable dict: suite, epsilon, number of images, predictions per image, seeds.
        curve: dict from epsilon to `MajorityScore`, the accuracy by epsilon. Defaults to `None`, for no curve.
        frozen: dict of `rsr_tf.evaluation.frozen.attack_frozen`, or `None` (default) if it was not measured.

    Returns:
        A JSON-serializable dict: `"claim"`, `"sentence"`, `"failed_checks"`, `"by_noise"` (clean and worst case with
        noise on and off), `"attacks"` (a row for each attack and network that it was scored on), `"kinds"` (name
        and description of each kind of attack), `"checks"`, `"curve"` (a score for each epsilon), `"frozen"`
        (clean, worst case and attacks with the noise frozen to a draw that the attacker knows, or `None`),
        `"parameters"`.
    """
    clean = results[0].scores
    found = claim(worst_cases)
    return {
        "claim": found,
        "sentence": claim_sentence(found, parameters["epsilon"], checks, norm=parameters.get("norm", "linf")),
        "failed_checks": sum(not check.passed for check in checks),
        "by_noise": {
            name: {"clean": clean[name].as_dict(), "worst_case": worst_case} for name, worst_case in worst_cases.items()
        },
        "attacks": [row for result in results for row in attack_rows(result, parameters["num_images"])],
        "kinds": [list(kind) for kind in dict.fromkeys(result.kind for result in results)],
        "checks": [check.as_dict() for check in checks],
        "curve": [{"epsilon": radius, **score.as_dict()} for radius, score in (curve or {}).items()],
        "frozen": frozen,
        "parameters": parameters,
    }


def worst_case(robust, fresh):
    """Return the accuracy of one network under the worst of all attacks, image by image.

    Args:
        robust: share of the images that were correct in a majority of predictions under every attack.
        fresh: `MajorityScore` of each image's worst adversarial image, under noise that did not select it.

    Returns:
        A dict: `"accuracy"` and its `"interval"` of the majority, `"mean"` and its `"mean_interval"` of single
        predictions, `"num_images"` and `"predictions"`.
    """
    return {**fresh.as_dict(), "accuracy": robust, "interval": list(wilson_interval(robust, fresh.num_images))}


def claim(worst_cases):
    """Return the lowest accuracy of all: over the networks, and over majority and mean.

    Args:
        worst_cases: dict from each network to the dict of `worst_case`.

    Returns:
        A dict: `"accuracy"`, `"interval"`, `"num_images"`, `"predictions"`, `"noise"`, the network that it is about,
        and `"measure"`, which is `"majority"` or `"mean"`.
    """
    candidates = [
        {
            "accuracy": score[accuracy],
            "interval": score[interval],
            **{key: score[key] for key in ("num_images", "predictions")},
            **{"noise": network, "measure": measure},
        }
        for network, score in worst_cases.items()
        for measure, accuracy, interval in (("majority", "accuracy", "interval"), ("mean", "mean", "mean_interval"))
    ]
    return min(candidates, key=lambda candidate: candidate["accuracy"])


def claim_sentence(claim, epsilon, checks, *, norm="linf"):
    """Return the claim as a sentence, with the checks that failed.

    Args:
        claim: dict of `claim`.
        epsilon: radius of the ball, in units of pixels in [0,1].
        checks: list of `rsr_tf.evaluation.Check`.
        norm: norm of the ball. Defaults to `"linf"`.

    Returns:
        A string.
    """
    (low, high), predictions = claim["interval"], claim["predictions"]
    radius = f"epsilon {radius_text(epsilon, norm)}"
    if claim["measure"] == "majority":
        what = f"of images withstand every attack at {radius}"
        suffix = f", correct in a majority of {predictions} predictions" if predictions > 1 else ""
    else:
        what, suffix = f"of {predictions} predictions per image are correct under its worst attack at {radius}", ""
    failed = [check.name for check in checks if not check.passed]
    trust = "Every check passed." if not failed else f"Not reliable; failed checks: {'; '.join(failed)}."
    size = f"n = {claim['num_images']}{suffix}; network {TITLES[claim['noise']]}"
    return f"At most {claim['accuracy']:.1%} {what} (95 % interval {low:.1%} to {high:.1%}, {size}). {trust}"


def attack_rows(result, num_images):
    """Return one attack as rows of a table, one for each network that its images were scored on.

    Args:
        result: a `rsr_tf.evaluation.AttackResult`.
        num_images: number of all images.

    Returns:
        A list of dicts: `"attack"`, `"crafted_on"`, `"scored_on"`, `"subset"` (which images were attacked), the score
        on the attacked images (`"accuracy"`, `"mean"`, their intervals, `"num_images"`, `"predictions"`),
        `"robust_accuracy"` (share of all images correct under this attack and every earlier one) and its
        `"robust_accuracy_interval"`, `"largest_distance"`, `"pixels"`, `"seconds"` and `"parameters"`.
    """
    return [
        {
            "attack": result.name,
            "crafted_on": result.source,
            "scored_on": target,
            "subset": result.subset,
            **score.as_dict(),
            "robust_accuracy": result.robust_accuracy[target],
            "robust_accuracy_interval": list(wilson_interval(result.robust_accuracy[target], num_images)),
            "largest_distance": float(result.distance.max()),
            "pixels": [float(result.low.min()), float(result.high.max())],
            "seconds": result.seconds,
            "parameters": result.parameters,
        }
        for target, score in result.scores.items()
    ]
