"""What an artefact weighs and costs: the measuring, every kind of file, and the stage of a run."""

import json
import shutil
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from helpers import TINY, tiny_network

import rsr_tf
from rsr_tf.cli import main
from rsr_tf.config import load_config
from rsr_tf.experiment.builders import build_network, load_data
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.export import benchmark as artefacts


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


def test_latency_is_that_of_the_second_call_in_a_row():
    calls = []

    def function(name, pause):
        def call(images):
            first = calls[-1:] != [name]
            calls.append(name)
            time.sleep(0.1 if first else pause)
            return images

        return call

    functions = {"fast": function("fast", 0.005), "slow": function("slow", 0.02)}
    found = artefacts.latencies(functions, np.zeros((7, 2, 2, 1), np.float32), seconds=0, least=4)
    assert list(found) == ["fast", "slow"]
    assert calls[-16:] == ["fast", "fast", "slow", "slow"] * 4
    assert found["fast"].shape == (4,)
    assert found["fast"].min() >= 0.005
    assert found["fast"].max() < 0.02 <= found["slow"].min()
    assert found["slow"].max() < 0.1


def test_latency_is_measured_for_the_time_asked():
    pause = {name: lambda images: time.sleep(0.01) or images for name in ("a", "b")}
    found = artefacts.latencies(pause, np.zeros((1, 2)), seconds=0.1, least=1)
    assert 5 <= len(found["a"]) <= 10


def test_spread_is_median_and_quartiles():
    assert artefacts.spread([5.0, 1.0, 3.0, 2.0, 4.0]) == {"median": 3.0, "quartiles": [2.0, 4.0]}


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

TITLES = ["SavedModel", "compact archive, noisy"]


def count_latencies(patch, titles=TITLES):
    """A list that fills with the batches whose latency was measured, of some kinds of artefact; nobody waits for it.

    The artefacts take 1, 2, 3 and so on seconds in the first round, and twice that in the second.
    """
    seen, kinds = [], artefacts.artefacts_of

    def latencies(functions, images):
        seen.extend(len(function(images)) for function in functions.values())
        return {name: np.array([1.0, 2.0]) * (place + 1) for place, name in enumerate(functions)}

    def chosen(model, **options):
        return [kind for kind in kinds(model, **options) if kind.title in titles]

    patch.setattr(artefacts, "latencies", latencies)
    patch.setattr(artefacts, "artefacts_of", chosen)
    return seen


@pytest.fixture
def timed(monkeypatch):
    return count_latencies(monkeypatch)


def measure(folder, *arguments):
    """Run the stage; what it left in `artefacts.json`."""
    result = CliRunner().invoke(
        main, ["artefacts", str(folder.path.parent / "tiny.toml"), "--output", str(folder.path), *arguments]
    )
    assert result.exit_code == 0, result.output
    return json.loads(folder.measured_artefacts.read_text())


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory):
    """A run whose networks are there, untrained, and the stage done on it."""
    parent = tmp_path_factory.mktemp("run")
    (parent / "tiny.toml").write_text(TINY.replace("deterministic = true", "deterministic = false"))
    config = load_config(parent / "tiny.toml")
    folder = RunFolder(parent / "out")
    folder.claim(config.model_dump(), {})
    network = build_network(config, load_data(config))
    network.save(folder.model)
    rsr_tf.prune(network, sparsity=0.6)
    network.save(folder.pruned)
    folder.release()
    with pytest.MonkeyPatch.context() as patch:
        seen = count_latencies(patch)
        return folder, measure(folder), seen


@pytest.fixture
def folder(measured_once, tmp_path):
    shutil.copytree(measured_once[0].path.parent, tmp_path, dirs_exist_ok=True)
    return RunFolder(tmp_path / "out")


def test_stage_writes_and_measures_every_artefact(measured_once):
    folder, content, seen = measured_once
    assert seen == [1] * 4 + [128] * 4  # both kinds run in TensorFlow
    assert content["machine"]["cores"] >= 1
    assert set(content["networks"]) == {"before pruning", "after pruning"}
    for name, network in content["networks"].items():
        assert list(network["artefacts"]) == TITLES
        for entry in network["artefacts"].values():
            assert (folder.artefacts / name.replace(" ", "_") / entry["file"]).exists()
            clean, attacked = entry["scores"]["clean"], entry["scores"]["pgd"]
            assert (clean["n"], clean["draws"], attacked["n"], attacked["draws"]) == (60, 1 + entry["noisy"], 60, 2)


def test_pruning_shows_in_the_archive_and_in_the_table(measured_once):
    _, content, _ = measured_once
    before, after = (content["networks"][f"{when} pruning"] for when in ("before", "after"))
    sizes = [network["artefacts"]["compact archive, noisy"]["bytes"] for network in (before, after)]
    assert sizes[1] < sizes[0]
    table = artefacts.format_table(content)
    assert "after pruning, 60.0% zeros" in table
    for size in sizes:
        assert f"{size:,}" in table
    assert f"{sizes[1] / after['dense_bytes']:.1%}" in table


def test_second_run_measures_nothing(folder, measured_once, timed):
    assert measure(folder) == measured_once[1]
    assert timed == []


def test_latency_alone_is_measured_again(folder, timed):
    content = folder.read_artefacts()
    for network in content["networks"].values():
        for entry in network["artefacts"].values():
            entry["scores"]["clean"]["mean"] = 0.125  # stays, as it is not looked at again
    folder.write_artefacts(content)
    again = measure(folder, "--again")
    assert timed == [1] * 4 + [128] * 4
    assert again["networks"]["before pruning"]["artefacts"]["SavedModel"]["scores"]["clean"]["mean"] == 0.125


def test_stopped_stage_goes_on(folder, timed):
    content = folder.read_artefacts()
    del content["networks"]["after pruning"]["artefacts"]["SavedModel"]["scores"]
    folder.write_artefacts(content)
    assert measure(folder)["networks"]["after pruning"]["artefacts"]["SavedModel"]["scores"]["clean"]["n"] == 60
    assert timed == []  # the latencies are those of the same files


@pytest.mark.parametrize("missing", ["speedup", "latency"])
def test_stage_that_was_stopped_before_the_latencies_goes_on(folder, timed, missing):
    content = folder.read_artefacts()
    del (content if missing == "speedup" else content["networks"]["after pruning"]["artefacts"]["SavedModel"])[missing]
    folder.write_artefacts(content)
    assert measure(folder)["speedup"]
    assert timed == [1] * 4 + [128] * 4


def test_latencies_are_compared_within_a_round(measured_once):
    """By hand: 1 and 2 s before pruning, 3 and 4 s after it, and twice these in the second round."""
    _, content, _ = measured_once
    before, after = (content["networks"][f"{when} pruning"]["artefacts"] for when in ("before", "after"))
    assert before[TITLES[0]]["latency"]["128"] == {"median": 1.5, "quartiles": [1.25, 1.75], "calls": 2}
    assert after[TITLES[1]]["latency"]["1"]["median"] == 6
    expected = {TITLES[0]: 1 / 3, TITLES[1]: 2 / 4}
    for title, ratio in expected.items():
        for size in ("1", "128"):
            assert content["speedup"][title][size] == {"median": ratio, "quartiles": [ratio, ratio]}


def test_another_network_is_measured_anew(folder, timed):
    network = keras.models.load_model(folder.pruned)
    rsr_tf.prune(network, sparsity=0.9)
    network.save(folder.pruned)
    content = folder.read_artefacts()
    content["networks"]["before pruning"]["artefacts"]["SavedModel"]["scores"]["clean"]["mean"] = 0.125  # stays
    folder.write_artefacts(content)
    networks = measure(folder)["networks"]
    assert timed == [1] * 4 + [128] * 4
    assert networks["before pruning"]["artefacts"]["SavedModel"]["scores"]["clean"]["mean"] == 0.125
    assert networks["after pruning"]["sparsity"] == pytest.approx(0.9, abs=0.01)
    assert sum(path.name == "noisy.rsrz" for path in folder.artefacts.rglob("*")) == 2


def test_runtimes_are_timed_apart_and_networks_of_one_side_by_side(folder, monkeypatch):
    groups = []

    def latencies(functions, images):
        groups.append((len(images), list(functions)))
        return {key: np.ones(2) for key in functions}

    count_latencies(monkeypatch, ["SavedModel", "TFLite float32"])
    monkeypatch.setattr(artefacts, "latencies", latencies)
    folder.measured_artefacts.unlink()
    measure(folder)
    both = ["before pruning", "after pruning"]
    assert groups == [
        (size, [(name, title) for name in both]) for title in ("SavedModel", "TFLite float32") for size in (1, 128)
    ]


def test_network_that_was_pruned_in_training_stands_alone(folder, timed):
    schedule = "[pruning]\nschedule = 'constant'\nfrequency = 1\n"
    for path in (folder.config, folder.path.parent / "tiny.toml"):
        path.write_text(path.read_text().replace("[pruning]\n", schedule, 1))
    folder.config.unlink()
    folder.claim(load_config(folder.path.parent / "tiny.toml").model_dump(), {})
    folder.release()
    folder.measured_artefacts.unlink()
    content = measure(folder)
    assert list(content["networks"]) == ["after pruning"]
    assert content["speedup"] == {}
    assert timed == [1] * 2 + [128] * 2
    assert "after pruning, 60.0% zeros" in artefacts.format_table(content)


def test_full_disk_is_one_line(folder, timed, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    shutil.rmtree(folder.artefacts)
    folder.measured_artefacts.unlink()
    monkeypatch.setattr(artefacts, "save_compact", fail)
    result = CliRunner().invoke(
        main, ["artefacts", str(folder.path.parent / "tiny.toml"), "--output", str(folder.path)]
    )
    assert result.exit_code == 2
    assert "No space left on device. What was saved before is intact" in result.stderr
    assert list(folder.read_artefacts()["networks"]["before pruning"]["artefacts"]) == ["SavedModel"]
    assert list(folder.path.rglob("partial-*")) == []


def test_noise_that_does_not_run_deterministically_is_left_out(folder, monkeypatch):
    count_latencies(monkeypatch, ["SavedModel", "SavedModel, noisy"])
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    for path in (folder.config, folder.path.parent / "tiny.toml"):
        path.write_text(path.read_text().replace("deterministic = false", "deterministic = true"))
    for network in measure(folder)["networks"].values():
        assert "SavedModel, noisy" not in network["artefacts"]
