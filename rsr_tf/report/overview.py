"""The top of a report: four tiles, what the folder holds, and where its numbers come from."""

import tomllib

from rsr_tf.report.labels import STAGE_TIMES, distance_text, duration, moment, percent
from rsr_tf.report.verdict_page import clean_of, summary

DEPLOYED = ("pruned", "exported", "given")
"""The networks that the tiles are about."""


def tiles(evaluation, verdicts, artefacts, folder):
    """Return the four tiles: accuracy under attack, clean accuracy, zeros and bytes.

    Args:
        evaluation: dict, content of `evaluation.json`, or an empty one.
        verdicts: contents of `verdict_*.json`, strongest first.
        artefacts: dict, content of `artefacts.json`, or an empty one.
        folder: string, the path of the run folder in commands.

    Returns:
        A list of dicts with `"name"`; `"number"`, or `None` if nothing was measured; `"against"`, `"basis"` and
        `"doubtful"`; and `"command"`, which measures it.
    """
    networks = evaluation.get("networks", {})
    verdict = next((verdict for verdict in verdicts if verdict["network"] in DEPLOYED), None)
    found = {
        "Accuracy under attack": _attacked(networks, evaluation, verdicts, verdict),
        "Clean accuracy": _clean(networks, verdict),
        "Zeros": _zeros(networks, verdict, artefacts),
        "Bytes": _bytes(networks, artefacts),
    }
    absent = {"number": None, "against": "", "basis": "", "doubtful": False, "command": f"rsr evaluate {folder}"}
    return [absent | (tile or {}) | {"name": name} for name, tile in found.items()]


def lowest(entry, attacks):
    """Return the lowest score of a network of `evaluation.json` under some attacks, with or without its noise.

    Args:
        entry: dict, a network of `evaluation.json`, or `None`.
        attacks: keys of `rsr_tf.report.labels.SCORES`.

    Returns:
        A dict, or `None` without such a network or score.
    """
    scores = [scores[attack] for scores in (entry or {}).get("scores", {}).values() for attack in attacks]
    return min(scores, key=lambda score: score["mean"], default=None)


def _attacked(networks, evaluation, verdicts, verdict):
    plain = next((verdict for verdict in verdicts if verdict["network"] == "undefended"), None)
    score, baseline = (lowest(networks.get(name), ("pgd", "fgsm")) for name in ("pruned", "undefended"))
    against = plain["claim"]["accuracy"] if plain else baseline and baseline["mean"]
    tile = {"against": _against("undefended", against)}
    if verdict:
        parameters = verdict["parameters"]
        basis = f"at most: suite “{parameters['suite']}”, epsilon {summary(verdict)['radius']}"
        basis += f", n = {verdict['claim']['num_images']}"
        if verdict["failed_checks"]:
            basis += f"; not reliable, failed checks: {verdict['failed_checks']}"
        number, doubtful = verdict["claim"]["accuracy"], bool(verdict["failed_checks"])
        return tile | {"number": percent(number), "basis": basis, "doubtful": doubtful}
    if score is None:
        return None
    attack = evaluation["attack"]
    basis = f"PGD-{attack['steps']} or FGSM, epsilon {distance_text(attack['epsilon'])}, n = {score['num_images']}"
    return tile | {"number": percent(score["mean"]), "basis": basis}


def _clean(networks, verdict):
    score, baseline = (lowest(networks.get(name), ("clean",)) for name in ("pruned", "undefended"))
    against = _against("undefended", baseline and baseline["mean"])
    if score:
        return {"number": percent(score["mean"]), "against": against, "basis": f"no attack, n = {score['num_images']}"}
    if verdict:
        images = verdict["parameters"]["num_images"]
        return {"number": percent(clean_of(verdict)), "against": against, "basis": f"no attack, n = {images}"}
    return None


def _against(name, share):
    return f"{name}: {'not measured' if share is None else percent(share)}"


def _zeros(networks, verdict, artefacts):
    if "pruned" in networks:
        layers = networks["pruned"]["layers"]
        zeros, weights = (sum(layer[key] for layer in layers) for key in ("zeros", "weights"))
        before = networks.get("trained", {}).get("sparsity")
        against = "pruned during training" if before is None else _against("before pruning", before)
        basis = f"{zeros:,} of {weights:,} weights of kernels"
        return {"number": percent(networks["pruned"]["sparsity"]), "against": against, "basis": basis}
    known = [verdict["sparsity"]] if verdict and verdict["sparsity"] is not None else []
    known += [artefacts["networks"][name]["sparsity"] for name in DEPLOYED if name in artefacts.get("networks", {})]
    return {"number": percent(known[0]), "basis": "of the weights of kernels"} if known else None


def _bytes(networks, artefacts):
    sizes = (networks.get("pruned", {}).get("facts") or {}).get("bytes")
    for name in DEPLOYED:
        entry = artefacts.get("networks", {}).get(name, {})
        if not sizes and "compact archive" in entry.get("artefacts", {}):
            archive = entry["artefacts"]["compact archive"]["bytes"]
            sizes = {"compact_bytes": archive, "dense_bytes": entry["dense_bytes"]}
    if not sizes:
        return None
    compact, dense = sizes["compact_bytes"], sizes["dense_bytes"]
    basis = f"compact archive, {percent(compact / dense)} of the dense weights"
    return {"number": f"{compact:,}", "against": f"dense float32: {dense:,}", "basis": basis}


def facts(evaluation, stages, config_text, folder):
    """Return where the numbers come from: date, time, machine, size, seed and versions.

    Args:
        evaluation, folder: as for `tiles`.
        stages: dict, `"stages"` of `stages.json`, or an empty one.
        config_text: string, the resolved config as TOML.

    Returns:
        A list of `(name, text, command)`; where nothing was measured the text is `None`, and the command, which may be
        `None`, measures it.
    """
    config = tomllib.loads(config_text)
    known = (evaluation.get("networks", {}).get("pruned", {}).get("facts")) or {}
    measure = f"rsr evaluate {folder}"
    return [
        ("date", _dates(stages), None),
        ("duration", _times(stages), None),
        ("machine", _machines(stages), None),
        ("parameters", _parameters(evaluation, known), measure),
        ("multiplications", f"{known['macs']:,} MACs for one image" if known.get("macs") else None, measure),
        ("seed", str(config.get("seed", 0)), None),
        ("versions", ", ".join(f"{name} {version}" for name, version in config.get("versions", {}).items()), None),
    ]


def _parameters(evaluation, known):
    if not known:
        return None
    zeros = sum(layer["zeros"] for layer in evaluation["networks"]["pruned"]["layers"])
    return f"{known['parameters']:,}, {known['parameters'] - zeros:,} of them not zero"


def _dates(stages):
    if not stages:
        return None
    first = min(stage["started"] for stage in stages.values())
    last = max(stage["finished"] for stage in stages.values())
    return f"{moment(first)} to {moment(last)}"


def _times(stages):
    if not stages:
        return None
    found = [f"{STAGE_TIMES.get(name, name)} {duration(stage['seconds'])}" for name, stage in stages.items()]
    return f"{', '.join(found)}; {duration(sum(stage['seconds'] for stage in stages.values()))} in all"


def _machines(stages):
    def describe(machine):
        accelerators = ", ".join(machine["accelerators"]) or "no accelerator"
        cores = f"{machine['cores']} core{'s' if machine['cores'] > 1 else ''}"
        return f"{machine['processor']}, {cores}, {accelerators}, {machine['system']}, Python {machine['python']}"

    return "; ".join(dict.fromkeys(describe(stage["machine"]) for stage in stages.values())) or None


def by_class(evaluation):
    """Return the accuracy of every class, if it was recorded.

    Args:
        evaluation: as for `tiles`.

    Returns:
        A dict from the name of each class to a dict with `"clean"`, `"pgd"` and `"undefended"` (under PGD), shares or
        `None`; an empty dict if nothing was recorded.
    """
    networks = evaluation.get("networks", {})
    pruned = _deployed_scores(networks.get("pruned", {}))
    columns = {name: pruned.get(name, {}).get("by_class") for name in ("clean", "pgd")}
    if not all(columns.values()):
        return {}
    undefended = _deployed_scores(networks.get("undefended", {})).get("pgd", {}).get("by_class") or {}
    columns["undefended"] = undefended
    names = dict(enumerate(evaluation["class_names"]))
    return {
        names.get(int(label), label): {name: shares.get(label) for name, shares in columns.items()}
        for label in sorted(columns["clean"], key=int)
    }


def _deployed_scores(entry):
    scores = entry.get("scores", {})
    return scores.get("noise_on") or scores.get("noise_off") or {}
