"""The attacks of `rsr evaluate` on the networks of a run, as pieces that several processes share."""

import pytest
from helpers import parse, tiny_network

from rsr_tf.experiment import builders, evaluation_stage
from rsr_tf.experiment.evaluation_stage import evaluate_networks
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.files.locks import step_lock

pytestmark = pytest.mark.integration

PIECES = ["trained, noise_on", "trained, noise_off", "pruned, noise_on", "pruned, noise_off"]


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
    evaluate_networks(networks, *settings, folder)
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
    evaluate_networks({"pruned": networks["pruned"]}, *settings, folder)
    evaluate_networks(networks, *settings, folder)
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
        evaluate_networks(networks, *settings, folder)
    assert attacked == [*PIECES[1:], PIECES[0]]
    assert f"another process has {PIECES[0]}" in caplog.text
    assert list(folder.read_evaluation()["networks"]["trained"]["scores"]) == ["noise_on", "noise_off"]
