"""The attacks of `rsr evaluate` on the networks of a run, as pieces that several processes share."""

import copy
import dataclasses

import pytest
from helpers import parse, tiny_network

from rsr_tf.experiment import builders, evaluation_stage
from rsr_tf.experiment.evaluation_stage import evaluate_networks
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.files.locks import step_lock

pytestmark = pytest.mark.integration

PIECES = ["trained, noise_on", "trained, noise_off", "pruned, noise_on", "pruned, noise_off"]
IDENTITIES = {"trained": "1", "pruned": "2"}


@pytest.fixture(scope="module")
def settings():
    config = parse("", "evaluation.images=20", "evaluation.steps=1", "evaluation.draws=1")
    return builders.load_data(config), config


@pytest.fixture
def networks():
    return {"trained": tiny_network(), "pruned": tiny_network()}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.fixture
def attacked(monkeypatch):
    """The pieces that are attacked, in order; every piece has its name as a score."""
    found = []

    def attack(model_fn, images, labels, config, title):
        found.append(title)
        return {"clean": score(len(found))}

    monkeypatch.setattr(evaluation_stage, "attack_network", attack)
    monkeypatch.setattr(evaluation_stage, "attack_examples", lambda networks, *_: {"of": list(networks)})
    monkeypatch.setattr(RunFolder, "read_evaluation", lambda self: contents.get(self.path, {}))
    monkeypatch.setattr(RunFolder, "write_evaluation", lambda self, content: contents.update({self.path: content}))
    contents = {}
    return found


def score(value):
    return {"mean": value / 10}


def test_every_network_is_attacked_with_and_without_its_noise(networks, folder, settings, attacked):
    evaluate_networks(networks, *settings, folder, IDENTITIES)
    content = folder.read_evaluation()
    assert attacked == PIECES
    assert {name: list(entry["scores"]) for name, entry in content["networks"].items()} == {
        "trained": ["noise_on", "noise_off"],
        "pruned": ["noise_on", "noise_off"],
    }
    assert content["networks"]["pruned"]["facts"]["parameters"] > 0
    assert content["examples"] == {"of": ["pruned"]}


def test_earlier_results_are_kept(networks, folder, settings, attacked, monkeypatch):
    measured, measure = [], evaluation_stage.network_facts
    monkeypatch.setattr(evaluation_stage, "network_facts", lambda each: measured.append(each) or measure(each))
    evaluate_networks({"pruned": networks["pruned"]}, *settings, folder, IDENTITIES)
    evaluate_networks(networks, *settings, folder, IDENTITIES)
    assert measured == [networks["pruned"], networks["trained"]]
    assert attacked == [*PIECES[2:], *PIECES[:2]]
    assert folder.read_evaluation()["networks"]["pruned"]["scores"]["noise_on"] == {"clean": score(1)}


def test_piece_of_another_process_is_left_to_it_and_waited_for(networks, folder, settings, attacked, caplog):
    """The other process stops without a result, so that this one does its piece at last."""
    caplog.set_level("INFO")
    other = step_lock(folder.path, PIECES[0])
    other.__enter__()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rsr_tf.files.locks.time.sleep", lambda seconds: other.__exit__(None, None, None))
        evaluate_networks(networks, *settings, folder, IDENTITIES)
    assert attacked == [*PIECES[1:], PIECES[0]]
    assert f"another process has {PIECES[0]}" in caplog.text
    assert list(folder.read_evaluation()["networks"]["trained"]["scores"]) == ["noise_on", "noise_off"]


@pytest.mark.parametrize(("replaced", "expected"), [("trained", PIECES[:2]), ("pruned", PIECES[2:])])
def test_network_whose_file_was_replaced_is_attacked_again(
    networks, folder, settings, attacked, monkeypatch, caplog, replaced, expected
):
    caplog.set_level("INFO")
    examples = []
    evaluate_networks(networks, *settings, folder, IDENTITIES)
    before = copy.deepcopy(folder.read_evaluation())
    attacked.clear()
    networks[replaced] = tiny_network(filters=2)
    monkeypatch.setattr(evaluation_stage, "attack_examples", lambda *_: examples.append("new") or {})
    evaluate_networks(networks, *settings, folder, IDENTITIES | {replaced: "3"})
    content = folder.read_evaluation()
    assert attacked == expected
    assert list(content["networks"]) == ["trained", "pruned"]
    for name, entry in content["networks"].items():
        assert (entry != before["networks"][name]) == (name == replaced)
    assert content["networks"][replaced]["identity"] == "3"
    assert content["networks"][replaced]["weights"] < before["networks"][replaced]["weights"]
    assert examples == ["new"]
    assert f"{replaced} has changed since {folder.evaluation} was written" in caplog.text


def test_all_networks_are_attacked_again_on_changed_test_images(networks, folder, settings, attacked, caplog):
    """A file of data that was replaced must not leave scores of two test sets in one table."""
    caplog.set_level("INFO")
    data_set, config = settings
    evaluate_networks({"pruned": networks["pruned"]}, data_set, config, folder, IDENTITIES)
    changed = dataclasses.replace(data_set, test=data_set.test.first(15))
    attacked.clear()
    evaluate_networks(networks, changed, config, folder, IDENTITIES)
    content = folder.read_evaluation()
    assert attacked == PIECES
    assert (content["attack"]["num_images"], content["examples"]) == (15, {"of": ["pruned"]})
    assert f"the test images have changed since {folder.evaluation} was written" in caplog.text
    attacked.clear()
    evaluate_networks(networks, changed, config, folder, IDENTITIES)
    del content["test_images"]  # as of an earlier version
    evaluate_networks(networks, data_set, config, folder, IDENTITIES)
    assert attacked == []


def test_results_without_identities_are_kept(networks, folder, settings, attacked):
    evaluate_networks(networks, *settings, folder, IDENTITIES)
    content = folder.read_evaluation()
    for entry in content["networks"].values():
        del entry["identity"]
    before = copy.deepcopy(content)
    attacked.clear()
    evaluate_networks(networks, *settings, folder, {"trained": "5", "pruned": "6"})
    assert attacked == []
    assert folder.read_evaluation() == before
