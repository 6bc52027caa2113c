"""The JSON files of a run: reading, writing, their schema, and the conversion of earlier files.

Schema 1 is that of version 0.2.0. Schema 2 has one word for one thing:

    trained, pruned          networks of a run; were "before pruning" or "as trained", and "after pruning"
    noise_on, noise_off      were "noisy" and "stripped" in scores, "network" and "stripped" in verdicts
    repeats                  of a whole attack; was "draws"
    predictions              for each image, each with new noise; was "draws"
    eot_samples              gradients or scores averaged within an attack; was "draws"
    num_images               was "n"
    subset, still_robust     images that an attack was given; were "on" and "left"
    robust_accuracy          under this attack and all before it; was "withstood"
    by_noise, noise          of a verdict and its claim; were "networks" and "network"
    kinds                    name and description of each kind of attack in a verdict; new
    frozen                   noise frozen to a draw that the attacker knows, in a verdict; may be missing or null
    random_gradients         in the parameters of a verdict; may be missing
"""

import json

from pydantic import ValidationError

from rsr_tf.errors import explain_validation
from rsr_tf.experiment.schemas import MODELS, History
from rsr_tf.files import read_json, write_text
from rsr_tf.training.callbacks import read_history

SCHEMA = 2

RENAMED = {
    "before pruning": "trained",
    "as trained": "trained",
    "after pruning": "pruned",
    "noisy": "noise_on",
    "stripped": "noise_off",
    "n": "num_images",
    "on": "subset",
    "withstood": "robust_accuracy",
    "withstood_interval": "robust_accuracy_interval",
    "right_draws": "correct_predictions",
}
"""Keys that mean the same wherever they stand in schema 1."""
NOISE = {"network": "noise_on", "stripped": "noise_off"}
"""What the networks of a verdict were called, as keys and as values."""


def read_result(path):
    """Return the contents of a JSON file of a run in the current schema, or an empty dict if it does not exist.

    Args:
        path: `Path` of the file.

    Raises:
        ValueError: if the file is not valid JSON, was written by a later version, or does not fit its model, see
            `check_result`; the message names the file and the key.
    """
    if not path.exists():
        return {}
    content = read_json(path)
    try:
        content = up_to_date(content)
    except ValueError as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if content and not (path.name.startswith("verdict") and "curve" not in content):  # of before version 0.2.0
        check_result(path, content)
    return content


def check_result(path, content):
    """Check the contents of a JSON file of a run against its model, if there is one for it.

    Args:
        path: `Path` of the file; the first word of its name says which of `rsr_tf.experiment.schemas.MODELS` is meant.
        content: dict in the current schema.

    Raises:
        ValueError: for other contents; the message names the file and the key.
    """
    kind = path.stem.partition("_")[0]
    if kind in MODELS:
        _check(path, MODELS[kind].model_validate, content)


def read_history_rows(path):
    """Return the rows of a `history.csv` as dicts of strings, or an empty list if it does not exist.

    Args:
        path: `Path` of the file.

    Raises:
        ValueError: if the file is not CSV, or a value is none that training writes; the message names the file.
    """
    rows = read_history(path)
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise ValueError(f"cannot read {path}: row {number} does not have a value for each column")
    _check(path, History.validate_python, rows)
    return rows


def _check(path, validate, content):
    """Name the file and the key in the first error of a model."""
    try:
        validate(content)
    except ValidationError as error:
        raise ValueError(f"cannot read {path}: {explain_validation(error)}") from error


def write_result(path, content):
    """Write a JSON file of a run atomically, with the number of its schema first.

    Args:
        path: `Path` of the file.
        content: JSON-serializable dict in the current schema.
    """
    write_text(path, json.dumps({"schema": SCHEMA, **content}, indent=1) + "\n")


def up_to_date(content):
    """Return the content of a result file in the current schema.

    Args:
        content: dict read from `evaluation.json`, `verdict_*.json`, `sweep.json`, `artefacts.json`, `transfer.json` or
            `zoo_*.json`; an empty one stays empty.

    Returns:
        A dict; `content` itself if it is up to date.

    Raises:
        ValueError: for a file of a later version, or content that is not a dict.
    """
    if not isinstance(content, dict):
        raise ValueError(f"must hold a JSON object. Received: {type(content).__name__}")
    schema = content.get("schema", 1)
    if schema == SCHEMA or not content:
        return content
    if schema != 1:
        raise ValueError(f"`schema` must be at most {SCHEMA}: a later version wrote this file. Received: {schema!r}")
    try:
        return {"schema": SCHEMA, **_converted(content)}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not of schema 1, which a file without `schema` must be: {error!r}") from error


def _converted(content):
    """Return the content of a file of schema 1 in the words of schema 2."""
    if "curve" in content:  # a verdict; earlier ones than those of 0.2.0 have no curve, and no page shows them
        content = _with_noise_of_verdict(content)
    elif "accuracy" in content:
        content = _with_predictions_of_transfer(content)
    return _renamed(content)


def _with_noise_of_verdict(verdict):
    """Rename the networks of a verdict of schema 1; the other words are renamed everywhere alike."""
    claim, parameters = verdict["claim"], verdict["parameters"]
    parameters = {
        **parameters,
        **{key: _keys(parameters[key], NOISE) for key in ("random", "noise") if key in parameters},
    }
    return {
        **_keys(verdict, {"networks": "by_noise"}),
        "claim": {**_keys(claim, {"network": "noise"}), "noise": NOISE[claim["network"]]},
        "by_noise": _keys(verdict["networks"], NOISE),
        "attacks": [_row_of_verdict(row) for row in verdict["attacks"]],
        "kinds": [],
        "parameters": parameters,
    }


def _with_predictions_of_transfer(matrix):
    """Rename the draws of a transfer matrix of schema 1: several predictions for the same adversarial images."""
    names = {"draws": "predictions"}
    accuracy = {
        source: {target: _keys(score, names) for target, score in row.items()}
        for source, row in matrix["accuracy"].items()
    }
    return {**matrix, "accuracy": accuracy}


def _row_of_verdict(row):
    values = {"AdaptivePGD": "EOTPGD", "left": "still_robust", **NOISE}
    row = {key: values.get(value, value) if isinstance(value, str) else value for key, value in row.items()}
    attack = row["parameters"]["attack"]
    return {**row, "parameters": {**row["parameters"], "attack": values.get(attack, attack)}}


def _renamed(value, place=""):
    """Rename the keys of nested dicts; `place` is the key under which a value stands."""
    if isinstance(value, list):
        return [_renamed(entry, place) for entry in value]
    if not isinstance(value, dict):
        return value
    names = RENAMED | {"draws": _meaning_of_draws(value, place)}
    if isinstance(value.get("noisy"), bool):  # of an export format, whether it has noise
        names = names | {"noisy": "noisy"}
    return {names.get(key, key): _renamed(entry, key) for key, entry in value.items()}


def _meaning_of_draws(entry, place):
    """Say what `"draws"` counts in a dict of schema 1."""
    if "accuracies" in entry or (place == "attack" and "step_size" in entry):
        return "repeats"
    is_attack = "attack" in entry and "mean_interval" not in entry  # the parameters of an attack in a verdict
    return "eot_samples" if is_attack or "restarts" in entry or "patience" in entry else "predictions"


def _keys(entries, names):
    return {names.get(key, key): value for key, value in entries.items()}
