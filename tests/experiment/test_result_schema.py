"""JSON files of version 0.2.0 are read in the words of today."""

import json
import tarfile
from pathlib import Path

import pytest

from rsr_tf.experiment.result_schema import (
    SCHEMA,
    check_result,
    read_history_rows,
    read_result,
    up_to_date,
    write_result,
)

pytestmark = pytest.mark.integration

RESULTS = Path(__file__).parent.parent.parent / "docs" / "results"
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


def changed(content, path, value):
    """Return a copy of nested lists and dicts with the value at a dotted path replaced, or removed for `None`."""
    content = json.loads(json.dumps(content))
    *parents, last = path.split("/")
    place = content
    for part in parents:
        place = place[int(part) if isinstance(place, list) else part]
    last = int(last) if isinstance(place, list) else last
    if value is None:
        del place[last]
    else:
        place[last] = value
    return content


DAMAGE = {
    "evaluation.json": [
        ("scheme", None),
        ("networks", None),
        ("networks", []),
        ("networks/after pruning", None),
        ("networks/after pruning/scores", {}),
        ("networks/after pruning/sparsity", "x"),
        ("networks/after pruning/scores/noisy/pgd/mean", "NaN"),
        ("networks/after pruning/scores/noisy/pgd/mean", 1.5),
        ("networks/after pruning/scores/noisy/pgd/interval", [0.5]),
        ("networks/after pruning/histogram/edges/0", "low"),
        ("networks/after pruning/histogram/counts/0", None),
        ("networks/after pruning/share_below/gamma", []),
        ("networks/after pruning/layers/0/weights", 0),
        ("networks/after pruning/layers/0/zeros", 10**30),
        ("networks/<script>", {}),
        ("attack/epsilon", 0),
        ("attack/steps", True),
        ("examples", "examples"),
        ("examples/labels/0", 10),
        ("examples/labels/0", -1),
        ("examples/clean/0", None),
        ("class_names", "digits"),
        ("data", "\ud800"),
    ],
    "verdict_quick_10.json": [
        ("claim", None),
        ("claim/network", "zzz"),
        ("claim/network", []),
        ("network", "zzz"),
        ("sparsity", "<script>"),
        ("networks/network", None),
        ("networks/stripped/worst_case/accuracy", 2),
        ("attacks", []),
        ("attacks/3", None),
        ("attacks/0/on", "some"),
        ("attacks/0/attack", 5),
        ("attacks/0/seconds", -1),
        ("attacks/0/parameters", {}),
        ("attacks/0/parameters/epsilon", "far"),
        ("attacks/0/parameters/loss_fn", {"name": "x"}),
        ("curve", []),
        ("curve", 5),
        ("curve/0/mean_interval", [0, 1, 2]),
        ("curve/1/epsilon", 0.9),
        ("checks", []),
        ("checks/0/passed", "yes"),
        ("checks/0/value", None),
        ("parameters/suite", "slow"),
        ("parameters/n", 0),
        ("parameters/random/network", None),
        ("versions", [1]),
    ],
    "artefacts.json": [
        ("networks", {"a": {}}),
        ("speedup", 1),
        ("speedup/Keras file", None),
        ("machine", None),
        ("networks/after pruning/dense_bytes", 0),
        ("networks/after pruning/artefacts/Keras file/latency/128", None),
        ("networks/after pruning/artefacts/Keras file/scores/pgd/std", "x"),
    ],
    "sweep/sweep.json": [
        ("network", 5),
        ("share_below", 3),
        ("points", 7),
        ("lambdas", 1),
        ("lambdas", None),
        ("points/0/target", "depth"),
        ("points/0/bytes/dense_bytes", 0),
        ("points/0/layers/0/weights", None),
        ("points/0/scores", {}),
        ("points/0/scores/noisy/fgsm", None),
        ("share_below/other", {"gamma": [1], "share": [1]}),
    ],
}


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [(file, *damage) for file, damages in DAMAGE.items() for damage in damages],
    ids=lambda value: str(value).encode("ascii", "replace").decode()[:60],
)
def test_damaged_file_is_refused_by_name_and_key(old, tmp_path, file, key, value):
    path = tmp_path / Path(file).name
    path.write_text(json.dumps(changed(json.loads((old / file).read_text()), key, value)))
    with pytest.raises(ValueError, match=rf"\Acannot read .*{path.name}: .+\Z"):
        read_result(path)


@pytest.mark.parametrize("file", FILES)
def test_file_of_0_2_0_fits_its_model(old, file):
    assert read_result(old / file)["schema"] == SCHEMA


RESULTS = Path(__file__).parent.parent.parent / "docs" / "results"


@pytest.mark.parametrize("kind", ["artefacts", "sweep", "verdict"])
def test_published_files_of_both_schemas_fit_their_model(tmp_path, kind):
    files = sorted(RESULTS.glob(f"*_{kind}*.json"))
    assert files
    for file in files:
        copied = tmp_path / file.name[file.name.index(kind) :]
        copied.write_bytes(file.read_bytes())
        assert read_result(copied)["schema"] == SCHEMA


def test_damaged_accuracy_with_frozen_noise_is_refused(tmp_path):
    content = json.loads((RESULTS / "paper_resnet20_rsr_verdict_paper.json").read_text())
    content["frozen"]["worst_case"]["mean"] = "0.5"
    (tmp_path / "verdict_paper.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"`frozen\.worst_case\.mean` should be .* Received: '0.5'"):
        read_result(tmp_path / "verdict_paper.json")


def test_message_has_the_key_and_the_received_value(old, tmp_path):
    content = changed(json.loads((old / "evaluation.json").read_text()), "networks/after pruning/sparsity", "x" * 1000)
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"`networks\.pruned\.sparsity` should be a .* number\. Received: 'xxx.*xxx'"):
        read_result(tmp_path / "evaluation.json")


def test_verdict_of_before_0_2_0_is_returned_as_it_is(tmp_path):
    (tmp_path / "verdict_quick.json").write_text('{"claim": 3}')
    assert read_result(tmp_path / "verdict_quick.json") == {"schema": SCHEMA, "claim": 3}


def test_network_that_no_check_could_measure_has_infinite_values(old, tmp_path):
    content = json.loads((old / "verdict_quick_10.json").read_text())
    content["checks"][0]["value"] = float("inf")
    (tmp_path / "verdict_a.json").write_text(json.dumps(content))
    assert read_result(tmp_path / "verdict_a.json")["checks"][0]["value"] == float("inf")


METADATA = {"noisy": True, "sparsity": 0.5, "classes": ["a"], "config": {}, "versions": {"keras": "3"}}


@pytest.mark.parametrize("change", [{"sparsity": "<script>"}, {"noisy": 1}, {"classes": "ab"}, {"config": [1]}])
def test_metadata_of_a_saved_model_is_checked(change):
    assert check_result(Path("a/rsr_tf.json"), METADATA) is None
    with pytest.raises(ValueError, match=rf"\Acannot read a/rsr_tf\.json: `{next(iter(change))}` "):
        check_result(Path("a/rsr_tf.json"), {**METADATA, **change})


HISTORY = "stage,epoch,loss,adversarial_loss,adversarial_accuracy\ntrain,0,0.5,1.0,0.1\nundefended,0,0.5,,\n"


def test_history_is_read_as_strings(tmp_path):
    (tmp_path / "history.csv").write_text(HISTORY)
    rows = read_history_rows(tmp_path / "history.csv")
    assert [(row["stage"], row["epoch"], row["adversarial_loss"]) for row in rows] == [
        ("train", "0", "1.0"),
        ("undefended", "0", ""),
    ]
    assert read_history_rows(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    "content",
    [
        HISTORY.replace("stage", "state"),
        HISTORY.replace("train", "warm-up"),
        HISTORY.replace("train,0", "train,three"),
        HISTORY.replace("train,0", "train,1.0"),
        HISTORY.replace("train,0", "train,-1"),
        HISTORY.replace("1.0", "x"),
        HISTORY.replace("1.0", ""),
        HISTORY + "train,1\n",
        HISTORY + "train,1,1,1,1,1\n",
        HISTORY + '"' + "x" * 200_000 + "\n",
        "\0" * 100 + HISTORY,
        "5\n6\n",
        "",
        "[" * 100_000,
    ],
    ids=lambda content: repr(content[-20:]),
)
def test_damaged_history_is_refused_by_name(tmp_path, content):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(ValueError, match=r"\Acannot read .*history\.csv: .+\Z"):
        read_history_rows(tmp_path / "history.csv")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", "stage,größe".encode("latin-1")])
def test_history_that_is_no_text_is_refused_by_name(tmp_path, content):
    (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"\Acannot read .*history\.csv: it is not UTF-8"):
        read_history_rows(tmp_path / "history.csv")


def test_folder_in_the_place_of_a_file_is_named(tmp_path):
    for name, read in (("history.csv", read_history_rows), ("evaluation.json", read_result)):
        (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match=rf"cannot read .*{name}: Is a directory"):
            read(tmp_path / name)


@pytest.mark.parametrize("key", ["points/3/layers/0", "points/3/scores/noisy", "lambdas/1/networks/after pruning"])
def test_entries_of_a_sweep_that_are_not_alike_are_refused(tmp_path, key):
    content = changed(json.loads((RESULTS / "quickstart_sweep.json").read_text()), key, None)
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"cannot read .*sweep\.json: `.*must have"):
        read_result(tmp_path / "sweep.json")


@pytest.mark.parametrize("source", ["substitute", "without rounding"])
def test_verdict_with_attacks_from_further_networks_is_read(tmp_path, source):
    verdict = json.loads((RESULTS / "quickstart_verdict_paper.json").read_text())
    further = [{**row, "crafted_on": source} for row in verdict["attacks"][:2]]
    (tmp_path / "verdict_paper.json").write_text(json.dumps({**verdict, "attacks": verdict["attacks"] + further}))
    assert read_result(tmp_path / "verdict_paper.json")["attacks"][-1]["crafted_on"] == source
