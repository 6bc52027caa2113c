"""JSON files of version 0.2.0 are read in the words of today."""

import json
import tarfile
from pathlib import Path

import pytest

from rsr_tf.experiment.result_schema import SCHEMA, read_result, up_to_date, write_result

pytestmark = pytest.mark.integration

ARCHIVE = Path(__file__).parent.parent / "compatibility" / "version_0_2_0.tar.xz"
FILES = (
    *("evaluation.json", "verdict_quick_10.json", "artefacts.json", "sweep/sweep.json"),
    *("zoo/pruned/zoo_tier1_1.json", "../transfer/transfer.json"),
)
SCORE = {"mean": 0.5, "std": 0.1, "interval": [0.4, 0.6], "n": 100, "draws": 2, "accuracies": [0.4, 0.6]}
MAJORITY = {"accuracy": 0.5, "mean": 0.4, "mean_interval": [0.3, 0.5], "n": 100, "draws": 20}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "v020" / "finished"


def keys_of(value):
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("file", FILES)
def test_no_word_of_the_earlier_schema_is_left(old, file):
    found = up_to_date(json.loads((old / file).read_text()))
    assert found["schema"] == SCHEMA
    gone = {"draws", "n", "noisy", "stripped", "withstood", "before pruning", "after pruning", "as trained", "on"}
    if file == "artefacts.json":
        gone -= {"noisy"}  # there it says of a file whether it has noise
    assert keys_of(found) & gone == set()
    assert up_to_date(found) is found


def test_scores_of_a_network_are_named_by_noise_and_repeats():
    content = {
        "attack": {"epsilon": 0.1, "step_size": 0.02, "steps": 5, "n": 100, "draws": 2},
        "networks": {"before pruning": {"scores": {"noisy": {"pgd": SCORE}, "stripped": {"pgd": SCORE}}}},
        "examples": {"after pruning": {"clean_predictions": [1]}},
    }
    score = {"mean": 0.5, "std": 0.1, "interval": [0.4, 0.6], "num_images": 100, "repeats": 2, "accuracies": [0.4, 0.6]}
    assert up_to_date(content) == {
        "schema": 2,
        "attack": {"epsilon": 0.1, "step_size": 0.02, "steps": 5, "num_images": 100, "repeats": 2},
        "networks": {"trained": {"scores": {"noise_on": {"pgd": score}, "noise_off": {"pgd": score}}}},
        "examples": {"pruned": {"clean_predictions": [1]}},
    }


def test_verdict_is_by_noise_predictions_and_eot_samples():
    row = {
        **{"attack": "APGD-CE", "crafted_on": "network", "scored_on": "stripped", "on": "left", "withstood": 0.4},
        **MAJORITY,
        "parameters": {"attack": "AdaptivePGD", "draws": 4, "restarts": 1},
    }
    verdict = {
        "network": "pruned",
        "claim": {"accuracy": 0.4, "n": 100, "draws": 20, "network": "stripped", "measure": "mean"},
        "networks": {"network": {"clean": MAJORITY}, "stripped": {"clean": MAJORITY}},
        "curve": [],
        "attacks": [row],
        "parameters": {"suite": "quick", "n": 100, "draws": 20, "random": {"network": True, "stripped": False}},
    }
    majority = {"accuracy": 0.5, "mean": 0.4, "mean_interval": [0.3, 0.5], "num_images": 100, "predictions": 20}
    assert up_to_date(verdict) == {
        "schema": 2,
        "network": "pruned",
        "claim": {
            **{"accuracy": 0.4, "num_images": 100, "predictions": 20, "measure": "mean"},
            "noise": "noise_off",
        },
        "by_noise": {"noise_on": {"clean": majority}, "noise_off": {"clean": majority}},
        "curve": [],
        "kinds": [],
        "attacks": [
            {
                **{"attack": "APGD-CE", "crafted_on": "noise_on", "scored_on": "noise_off"},
                **{"subset": "still_robust", "robust_accuracy": 0.4},
                **majority,
                "parameters": {"attack": "EOTPGD", "eot_samples": 4, "restarts": 1},
            }
        ],
        "parameters": {
            **{"suite": "quick", "num_images": 100, "predictions": 20},
            "random": {"noise_on": True, "noise_off": False},
        },
    }


def test_draws_of_a_transfer_matrix_are_predictions():
    matrix = {"attacks": {}, "n": 100, "draws": 2, "accuracy": {"clean": {"a": SCORE}}}
    found = up_to_date(matrix)
    assert (found["predictions"], found["accuracy"]["clean"]["a"]["predictions"]) == (2, 2)


def test_nothing_stays_nothing():
    assert up_to_date({}) == {}


def test_content_that_is_no_object_is_refused():
    with pytest.raises(ValueError, match=r"JSON object\. Received: list"):
        up_to_date([1])


def test_what_is_written_is_read_with_its_schema(tmp_path):
    write_result(tmp_path / "a.json", {"x": 1})
    assert read_result(tmp_path / "a.json") == {"schema": SCHEMA, "x": 1}
    assert read_result(tmp_path / "none.json") == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 3}'])
def test_file_that_cannot_be_read_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"cannot read .*a\.json"):
        read_result(tmp_path / "a.json")


def test_file_of_a_later_version_is_refused():
    with pytest.raises(ValueError, match=r"at most 2.*Received: 3"):
        up_to_date({"schema": 3})
