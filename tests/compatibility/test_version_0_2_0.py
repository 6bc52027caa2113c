"""What version 0.2.0 left on disk is still read, resumed where it stopped, and gives the same numbers.

`write_with_0_2_0.py` shows how the archive was written. Numbers are compared with a tolerance, as another processor
rounds differently; what the old version had stored is compared exactly.
"""

import json
import logging
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import rsr_tf
from rsr_tf.cli import main
from rsr_tf.experiment.result_schema import read_result

pytestmark = pytest.mark.integration

ARCHIVE = Path(__file__).with_name("version_0_2_0.tar.xz")


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "v020"


@pytest.fixture
def expected(old):
    return json.loads((old / "expected.json").read_text())


@pytest.fixture
def pixels():
    return np.random.default_rng(0).uniform(size=(64, 8, 8, 1)).astype("float32")


@pytest.fixture
def numbers():
    return np.random.default_rng(1).integers(0, 10, 64)


def rsr(caplog, *arguments):
    """Run the command in this process; what it logged."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return caplog.text


def test_network_has_its_settings_zeros_and_noise(old, expected, pixels):
    model = keras.models.load_model(old / "network.keras")
    assert isinstance(model, rsr_tf.RSRModel)
    assert (model.attack.epsilon, model.attack.steps) == (0.1, 2)
    assert rsr_tf.sparsity(model) == expected["sparsity"]
    np.testing.assert_allclose(model.predict(pixels[:8], verbose=0), expected["noisy_logits"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_network_trains_on_with_its_optimizer_as_if_never_saved(old, expected, pixels, numbers):
    model = keras.models.load_model(old / "network.keras")
    model.predict(pixels[:8], verbose=0)
    history = model.fit(pixels, numbers, batch_size=16, epochs=1, verbose=0, shuffle=False).history
    found = {name: history[name] for name in expected["history"]}
    assert found == {name: pytest.approx(values, rel=1e-3) for name, values in expected["history"].items()}
    assert rsr_tf.sparsity(model) == expected["sparsity"]


def test_archive_and_saved_model_hold_the_same_network(old, expected, pixels):
    archive = rsr_tf.strip(rsr_tf.load_compact(old / "network.rsrz"))
    served = tf.saved_model.load(old / "saved_model")
    for logits in (archive.predict(pixels[:8], verbose=0), served.serve_deterministic(pixels[:8])):
        np.testing.assert_allclose(logits, expected["stripped_logits"], rtol=1e-4, atol=1e-4)
    assert np.std(np.array([served.serve(pixels[:8]) for _ in range(3)]), axis=0).max() > 0


@pytest.mark.slow
def test_stopped_training_resumes_after_its_last_epoch(old, caplog):
    said = rsr(caplog, "train", old / "stopped")
    assert "epoch 2 of 8" in said
    resumed, unstopped = (
        [row for row in (old / name / "history.csv").read_text().splitlines() if row.startswith(("stage", "train"))]
        for name in ("stopped", "finished")
    )
    assert resumed[:3] == unstopped[:3]
    names = resumed[0].split(",")
    places = [names.index(name) for name in ("accuracy", "loss", "val_adversarial_accuracy")]
    final, wanted = ([float(rows[-1].split(",")[place]) for place in places] for rows in (resumed, unstopped))
    assert final == pytest.approx(wanted, abs=0.03)


@pytest.mark.slow
def test_stopped_suite_resumes_and_ends_as_an_unstopped_one(old, caplog):
    state = old / "finished" / "suites" / "quick_20"
    kept = {path: path.read_bytes() for path in state.iterdir()}
    rsr(caplog, "evaluate", old / "finished", "--suite", "quick", "--images", 20)
    assert {path: path.read_bytes() for path in kept} == kept
    assert len(list(state.iterdir())) > len(kept)
    verdict, wanted = (
        read_result(old / name) for name in ("finished/verdict_quick_20.json", "verdict_of_unstopped_suite.json")
    )
    assert verdict["claim"].keys() == wanted["claim"].keys()
    for key in ("accuracy", "interval", "num_images", "predictions", "measure", "noise"):
        assert verdict["claim"][key] == pytest.approx(wanted["claim"][key], abs=0.05)
    assert [row["attack"] for row in verdict["attacks"]] == [row["attack"] for row in wanted["attacks"]]
    assert [row["mean"] for row in verdict["attacks"]] == pytest.approx(
        [row["mean"] for row in wanted["attacks"]], abs=0.05
    )


@pytest.mark.slow
def test_finished_run_is_reported_and_nothing_is_done_again(old, caplog):
    stored = (old / "finished" / "evaluation.json").read_bytes()
    rsr(caplog, "run", old / "finished")
    assert (old / "finished" / "evaluation.json").read_bytes() == stored
    page = (old / "finished" / "report.html").read_text()
    assert "<svg" in page
    assert "quick suite" in page


@pytest.mark.slow
def test_sweep_transfer_and_zoo_resume_from_their_files(old, caplog):
    sweep = read_result(old / "finished" / "sweep" / "sweep.json")["points"]
    rsr(caplog, "sweep", old / "finished", "--sparsities", "0.5")
    assert read_result(old / "finished" / "sweep" / "sweep.json")["points"] == sweep

    matrix = read_result(old / "transfer" / "transfer.json")["accuracy"]
    said = rsr(caplog, "transfer", old / "finished", "--images", 10, "--steps", 2, "--output", old / "transfer")
    assert "10 images" not in said
    assert read_result(old / "transfer" / "transfer.json")["accuracy"] == matrix

    table = read_result(old / "finished" / "zoo" / "pruned" / "zoo_tier1_1.json")["columns"]["off"]
    said = rsr(caplog, "zoo", old / "finished", "--images", 1, "--noise", "off", "--group", 1)
    assert "1 of them done" in said
    again = read_result(old / "finished" / "zoo" / "pruned" / "zoo_tier1_1.json")["columns"]["off"]
    assert again["success"] == table["success"]
