"""The part of a report on a suite of attacks, for readers who do not know the paper: rows and sentences."""

from rsr_tf.choices import SUITES
from rsr_tf.radii import radius_text
from rsr_tf.report import labels
from rsr_tf.report.labels import distance_text, network_label, percent
from rsr_tf.report.verdict_charts import attack_chart, epsilon_curve, origin_of

WITH_NOISE = {"on": "With noise on, ", "off": "With noise off, ", "none": ""}
"""How a sentence on a network opens, by the keys of `rsr_tf.report.labels.NOISE`."""


def strongest_first(verdicts):
    """Sort verdicts by network (the pruned one first), norm (linf first), suite (the strongest first), images.

    Args:
        verdicts: list of dicts, each the content of a `verdict_*.json`.

    Returns:
        A sorted list.
    """
    networks = list(labels.NETWORKS)

    def key(verdict):
        parameters = verdict["parameters"]
        network = networks.index(verdict["network"])
        in_linf = norm_of(verdict) == "linf"
        return network, not in_linf, SUITES.index(parameters["suite"]), -parameters["num_images"]

    return sorted(verdicts, key=key)


def verdict_view(verdict):
    """Return everything that the page of one verdict shows, as text, rows and SVG.

    Args:
        verdict: dict, content of a `verdict_*.json`.

    Returns:
        A dict for `verdict.html.jinja`.
    """
    return {
        **summary(verdict),
        "sentences": claim_sentences(verdict),
        "networks": network_rows(verdict),
        "random": verdict["parameters"]["random"]["noise_on"],
        "frozen": bool(verdict.get("frozen")),
        "transfer": any(origin_of(row) == labels.TRANSFER for row in verdict["attacks"]),
        "predictions": verdict["parameters"]["predictions"],
        "failed": [check for check in verdict["checks"] if not check["passed"]],
        "checks": verdict["checks"],
        "charts": {noise_of(verdict, target): attack_chart(verdict, target) for target in verdict["by_noise"]},
        "curve": epsilon_curve(verdict),
        "kinds": verdict["kinds"],
        "attacks": attack_table(verdict),
        "chosen": verdict["parameters"]["images"],
        "images": {subset: _most_images(verdict, subset) for subset in ("all", "checks")},
        "facts": facts(verdict),
        "change": "largest change of a pixel" if norm_of(verdict) == "linf" else "largest l2 distance",
    }


def _most_images(verdict, subset):
    return max(row["num_images"] for row in verdict["attacks"] if row["subset"] == subset)


def summary(verdict):
    """Return one row of a list of verdicts.

    Args:
        verdict: dict, content of a `verdict_*.json`.
    """
    claim, parameters = verdict["claim"], verdict["parameters"]
    return {
        "network": f"the {network_label(verdict['network'])} network",
        "suite": parameters["suite"],
        "num_images": parameters["num_images"],
        "radius": radius_text(parameters["epsilon"], norm_of(verdict)),
        "claim": claim,
        "clean": clean_of(verdict),
        "noise": noise_of(verdict, claim["noise"]),
        "failed_checks": verdict["failed_checks"],
    }


def claim_sentences(verdict):
    """Return the claim in words.

    Args:
        verdict: dict, content of a `verdict_*.json`.

    Returns:
        A list of sentences.
    """
    claim, parameters = verdict["claim"], verdict["parameters"]
    low, high = (percent(bound) for bound in claim["interval"])
    sentences = [
        _ball_sentence(norm_of(verdict), parameters["epsilon"]),
        _accuracy_sentence(verdict),
        f"Without an attack the accuracy is {percent(clean_of(verdict))}.",
    ]
    if verdict["sparsity"] is not None:
        sentences.append(f"{percent(verdict['sparsity'])} of its weights are zero.")
    sentences.append(
        f"The {percent(0.95, 0)} confidence interval, for other images of the same kind, is {low} to {high}; "
        "a stronger attack can lower the number, none can raise it."
    )
    if parameters["suite"] == "quick":
        sentences.append("This is the quick suite: shortened attacks for a first estimate.")
    return sentences


def norm_of(verdict):
    """Return the norm of a verdict; verdicts of before it had a choice are of linf."""
    return verdict["parameters"].get("norm", "linf")


def _ball_sentence(norm, epsilon):
    if norm == "linf":
        levels = f"{255 * epsilon:.3g}"
        return f"An attacker may change each pixel by up to {levels} of 255 grey levels (epsilon = {levels}/255)."
    return (
        f"An attacker may change all pixels together by an l2 distance of up to {epsilon:.3g} (epsilon, "
        "the root of the sum of the squared changes of all values, which lie in [0, 1])."
    )


def _accuracy_sentence(verdict):
    """Return the sentence on the robust accuracy, by majority or by single predictions."""
    claim = verdict["claim"]
    n, predictions = claim["num_images"], claim["predictions"]
    opening = WITH_NOISE[_noise_state(verdict, claim["noise"])]
    if claim["measure"] == "majority":
        majority = f", each by a majority of {predictions} predictions" if predictions > 1 else ""
        found = f"the network classifies {round(claim['accuracy'] * n)} of {n} test images correctly{majority}, "
        found += f"under every attack that was tried: {percent(claim['accuracy'])}."
    else:
        found = f"the network is shown the worst version of each of {n} test images that any attack found, and "
        found += (
            f"{percent(claim['accuracy'])} of its predictions are correct ({predictions} predictions for each image)."
        )
    return opening + found if opening else found[0].upper() + found[1:]


def clean_of(verdict):
    """Return the accuracy without an attack, for the network and measure of the claim."""
    claim = verdict["claim"]
    return verdict["by_noise"][claim["noise"]]["clean"]["accuracy" if claim["measure"] == "majority" else "mean"]


def noise_of(verdict, target):
    """Return the noise label of a network of a verdict, `"noise_on"` or `"noise_off"`."""
    return labels.NOISE[_noise_state(verdict, target)]


def _noise_state(verdict, target):
    has_noise = target == "noise_off" or verdict["parameters"]["random"][target]
    return labels.noise_state(target, has_noise=has_noise)


def network_rows(verdict):
    """Return each network without an attack and under the worst one, by majority and by single predictions.

    The last row is that of the noise frozen to one draw, if the verdict has it; the claim is never about it.
    """
    claim, frozen = verdict["claim"], verdict.get("frozen")
    found = {noise_of(verdict, name): (name, scores) for name, scores in verdict["by_noise"].items()}
    if frozen:
        found[labels.NOISE_FROZEN] = (None, frozen)
    return [
        {
            "noise": label,
            "clean": scores["clean"],
            "worst_case": scores["worst_case"],
            "claim": claim["measure"] if claim["noise"] == name else None,
        }
        for label, (name, scores) in found.items()
    ]


def attack_table(verdict):
    """Return one row for each attack and source, with its settings and the scores on every network."""
    rows = {}
    for row in verdict["attacks"]:
        entry = rows.setdefault((row["attack"], row["crafted_on"]), {**row, "scores": {}})
        entry["scores"][row["scored_on"]] = row
    return [
        {
            "attack": labels.attack_label(row["attack"]),
            "crafted_on": _source_label(verdict, row["crafted_on"]),
            "num_images": row["num_images"],
            "scores": [row["scores"][target] for target in verdict["by_noise"]],
            "settings": settings(row["parameters"]),
            "distance": distance_text(row["largest_distance"], norm_of(verdict)),
            "seconds": row["seconds"],
        }
        for row in rows.values()
    ]


def _source_label(verdict, source):
    known = labels.SOURCES.get(source) or (source in verdict["by_noise"] and noise_of(verdict, source))
    return known or f"{labels.TWIN} {source}"


def settings(parameters):
    """Return the parameters of an attack in words.

    Args:
        parameters: dict, `"parameters"` of a row of `"attacks"`.

    Returns:
        Text such as `"attack PGD, step size 2/255"`.
    """
    norm = parameters.get("norm", "linf")
    return ", ".join(
        f"{labels.setting_label(name)} {labels.setting_value(name, value, norm)}" for name, value in parameters.items()
    )


def facts(verdict):
    """Return data, network, seeds and other conditions of an evaluation, as pairs of name and value."""
    parameters, norm = verdict["parameters"], norm_of(verdict)
    noise = [f"{noise_of(verdict, name)}: {spread:.2g}" for name, spread in parameters["noise"].items()]
    seconds = {(row["attack"], row["crafted_on"]): row["seconds"] for row in verdict["attacks"]}
    return [
        ("data", verdict["data"]),
        ("network", f"{verdict['model']}, {network_label(verdict['network'])}"),
        ("threat model", f"{norm} ball of radius {distance_text(parameters['epsilon'], norm)}, true labels"),
        ("suite", f"{parameters['suite']}, {len(seconds)} attacks, {sum(seconds.values()):.0f} s"),
        ("test images", f"{parameters['num_images']}, drawn with seed {parameters['seed']}"),
        ("predictions", f"{parameters['predictions']} for each image by a network with noise, 1 by one without"),
        ("batch size", f"{parameters['batch_size']}"),
        (
            "noise",
            f"{', '.join(noise)}; standard deviation of the logits over calls, relative to that over classes",
        ),
        ("versions", ", ".join(f"{name} {version}" for name, version in verdict["versions"].items())),
    ]
