"""What an artefact weighs and costs: the measuring, every kind of file, and the stage of a run."""

import json
import time

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import tiny_network
from test_cli import TINY

import rsr_tf
from rsr_tf import artefacts
from rsr_tf.cli import main
from rsr_tf.config import load_config
from rsr_tf.experiment import build
from rsr_tf.run_folder import RunFolder


def test_file_and_folder_have_their_bytes(tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "zeros").write_bytes(bytes(100_000))
    (tmp_path / "folder" / "inner" / "noise").write_bytes(np.random.default_rng(0).bytes(50_000))
    zeros = artefacts.file_sizes(tmp_path / "folder" / "zeros")
    assert zeros["bytes"] == 100_000
    assert zeros["gzip_bytes"] < 1000
    folder = artefacts.file_sizes(tmp_path / "folder")
    assert folder["bytes"] == 150_000
    assert 50_000 < folder["gzip_bytes"] < 52_000


def test_latency_is_that_of_the_calls_after_the_warm_up():
    seen = []

    def function(images):
        time.sleep(0.2 if len(seen) < artefacts.WARM_UP else 0.005)
        seen.append(images.shape)
        return images

    found = artefacts.latency(function, np.zeros((7, 2, 2, 1), np.float32), seconds=0, least=5)
    assert (found["calls"], found["batch"], len(seen)) == (5, 7, 5 + artefacts.WARM_UP)
    low, high = found["quartiles"]
    assert 0.005 <= low <= found["median"] <= high < 0.2


def test_latency_goes_on_for_the_time_asked():
    found = artefacts.latency(lambda images: time.sleep(0.01) or images, np.zeros((1, 2)), seconds=0.2, least=1)
    assert 5 <= found["calls"] <= 20


def test_accuracy_counts_what_is_right_on_every_set():
    """Class 1 for bright images; an answer that is no number is wrong."""

    def function(images):
        bright = np.array(images).mean(axis=(1, 2, 3))
        return np.stack([np.full_like(bright, 0.5), bright], axis=-1)

    labels = np.array([1, 1, 0, 0, 0])
    right = np.array([0.9, 0.8, 0.1, 0.2, 0.3], np.float32).reshape(-1, 1, 1, 1)
    half_wrong = np.array([0.9, 0.1, 0.1, np.nan, 0.9], np.float32).reshape(-1, 1, 1, 1)
    score = artefacts.accuracy(function, [right, half_wrong], labels, batch_size=2)
    assert score.accuracies == (1.0, 0.4)
    assert score.n == 5


def test_dense_bytes_are_those_of_the_weights():
    """By hand: 3x3x1x4 kernel, then 4x(2 trained, 2 counted), then 4x10 kernel and 10 biases; noise does not count."""
    block = rsr_tf.NoisyConvBlock(4, 3)
    model = keras.Sequential([keras.Input((8, 8, 1)), block, keras.layers.Flatten(), rsr_tf.NoisyDense(10)])
    assert artefacts.dense_bytes(model) == 4 * (36 + 16 + 8 * 8 * 4 * 10 + 10)


def test_transferred_images_stay_in_the_ball_and_mislead(images, labels):
    model = tiny_network()
    right = np.argmax(rsr_tf.strip(model)(images), axis=-1).astype("int32")
    options = {"epsilon": 0.3, "step_size": 0.1, "steps": 5, "draws": 2, "batch_size": 6}
    sets = artefacts.transferred_images(model, images, right, **options)
    for x_adv in sets:
        assert np.abs(x_adv - images).max() <= 0.3 + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
    assert np.abs(sets[0] - sets[1]).max() > 0
    ask = rsr_tf.as_model_fn(rsr_tf.strip(model))
    assert artefacts.accuracy(ask, [images], right, batch_size=6).mean == 1
    assert artefacts.accuracy(ask, sets, right, batch_size=6).mean < 0.7


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Every kind of file of one pruned network, written."""
    keras.utils.set_random_seed(0)
    folder, model = tmp_path_factory.mktemp("kinds"), tiny_network()
    rsr_tf.prune(model, sparsity=0.8)
    images = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")
    kinds = artefacts.artefacts_of(model, calibration=images)
    for kind in kinds:
        if not (folder / kind.file).exists():
            kind.write(model, folder / kind.file)
    return model, images, folder, {kind.title: kind for kind in kinds}


def test_kinds_without_noise_answer_as_the_stripped_network(kinds):
    model, images, folder, kinds = kinds
    logits = np.array(rsr_tf.strip(model)(images))
    quiet = {title: kind for title, kind in kinds.items() if not kind.noisy}
    assert len(quiet) == 6
    for title, kind in quiet.items():
        tolerance = 0.05 * np.ptp(logits) if "int8" in title else 1e-5
        np.testing.assert_allclose(kind.load(folder / kind.file)(images), logits, atol=tolerance, err_msg=title)


def test_noisy_kinds_draw_noise(kinds):
    _, images, folder, kinds = kinds
    noisy = [kind for kind in kinds.values() if kind.noisy]
    assert len(noisy) == 4
    for kind in noisy:
        function = kind.load(folder / kind.file)
        assert np.abs(np.array(function(images)) - np.array(function(images))).max() > 1e-4, kind.title


def test_network_without_noise_has_no_noisy_kinds(images):
    kinds = artefacts.artefacts_of(tiny_network(noise="none"), calibration=images)
    assert not any(kind.noisy for kind in kinds)


# The stage of a run


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose networks are there, untrained, and the command on it; latencies are counted, not waited for."""
    (tmp_path / "tiny.toml").write_text(TINY.replace("deterministic = true", "deterministic = false"))
    config = load_config(tmp_path / "tiny.toml")
    folder = RunFolder(tmp_path / "out")
    folder.claim(config.model_dump(), {})
    network = build.build_network(config, build.load_data(config))
    network.save(folder.model)
    rsr_tf.prune(network, sparsity=0.6)
    network.save(folder.pruned)
    folder.release()
    timed = []

    def latency(function, images):
        timed.append(np.asarray(function(images)).shape)
        return {"median": 1e-3 * len(timed), "quartiles": [0.0, 1.0], "calls": 1, "batch": len(images)}

    monkeypatch.setattr(artefacts, "latency", latency)
    kinds = artefacts.artefacts_of
    chosen = ("Keras file", "SavedModel", "compact archive, noisy", "SavedModel, noisy")
    monkeypatch.setattr(
        artefacts, "artefacts_of", lambda *a, **k: [kind for kind in kinds(*a, **k) if kind.title in chosen]
    )

    def command(*arguments):
        timed.clear()
        options = ["--output", str(folder.path), *arguments]
        result = CliRunner().invoke(main, ["artefacts", str(tmp_path / "tiny.toml"), *options])
        assert result.exit_code == 0, result.output
        return json.loads(folder.measured_artefacts.read_text()), len(timed)

    return folder, command


def test_stage_measures_every_artefact_once(run, caplog):
    folder, command = run
    with caplog.at_level("INFO"):
        content, timed = command()
    assert timed == 2 * 4 * 2
    assert "after pruning, 60.0% zeros" in caplog.text
    assert content["machine"]["cores"] >= 1
    for name, network in content["networks"].items():
        assert set(network["artefacts"]) == {"Keras file", "SavedModel", "compact archive, noisy", "SavedModel, noisy"}
        for entry in network["artefacts"].values():
            assert (folder.artefacts / name.replace(" ", "_") / entry["file"]).exists()
            assert entry["scores"]["clean"]["n"] == entry["scores"]["pgd"]["n"] == 60
            assert (entry["scores"]["clean"]["draws"], entry["scores"]["pgd"]["draws"]) == (
                2 if entry["noisy"] else 1,
                2,
            )
    sizes = [network["artefacts"]["compact archive, noisy"]["bytes"] for network in content["networks"].values()]
    assert sizes[1] < sizes[0]

    again, timed = command()
    assert timed == 0
    assert again == content

    again, timed = command("--again")
    assert timed == 2 * 4 * 2
    assert again["networks"]["after pruning"]["artefacts"]["SavedModel"]["latency"]["1"]["median"] > 0

    del again["networks"]["after pruning"]["artefacts"]["SavedModel"]  # as if stopped before it
    folder.write_artefacts(again)
    assert command()[1] == 2


def test_another_network_is_measured_anew(run):
    folder, command = run
    before, _ = command()
    network = keras.models.load_model(folder.pruned)
    rsr_tf.prune(network, sparsity=0.9)
    network.save(folder.pruned)
    after, timed = command()
    assert timed == 4 * 2
    assert after["networks"]["before pruning"] == before["networks"]["before pruning"]
    assert after["networks"]["after pruning"]["sparsity"] == pytest.approx(0.9, abs=0.01)


def test_full_disk_is_one_line(run, monkeypatch):
    folder, command = run

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artefacts, "save_compact", fail)
    result = CliRunner().invoke(
        main, ["artefacts", str(folder.path.parent / "tiny.toml"), "--output", str(folder.path)]
    )
    assert result.exit_code == 2
    assert "No space left on device. What was saved before is intact" in result.stderr
    assert set(json.loads(folder.measured_artefacts.read_text())["networks"]["before pruning"]["artefacts"]) == {
        "Keras file",
        "SavedModel",
    }
