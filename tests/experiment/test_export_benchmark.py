"""The stage of a run that exports its networks in every format and measures them."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from helpers import TINY, parse

import rsr_tf
from rsr_tf.cli import main
from rsr_tf.config import load_config
from rsr_tf.experiment import export_benchmark
from rsr_tf.experiment.builders import build_network, load_data
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.export import benchmark, formats

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TITLES = ["SavedModel", "compact archive, noisy"]


def count_latencies(patch, titles=TITLES):
    """A list that fills with the batches whose latency was measured, of some export formats, without waiting.

    The formats take 1, 2, 3 and so on seconds in the first round, and twice that in the second.
    """
    seen, all_formats = [], formats.export_formats

    def latencies(functions, images):
        seen.extend(len(function(images)) for function in functions.values())
        return {name: np.array([1.0, 2.0]) * (place + 1) for place, name in enumerate(functions)}

    def chosen(model, **options):
        return [entry for entry in all_formats(model, **options) if entry.title in titles]

    patch.setattr(benchmark, "latencies", latencies)
    patch.setattr(formats, "export_formats", chosen)
    return seen


def count_calls(patch):
    """A dict that fills with the batches that the loaded file of each format is called with, by title of the format."""
    seen, all_formats = {}, formats.export_formats

    def counted(entry):
        def load(file):
            function = entry.load(file)
            return lambda images: seen.setdefault(entry.title, []).append(images) or function(images)

        return dataclasses.replace(entry, load=load)

    patch.setattr(
        formats, "export_formats", lambda *args, **options: [counted(one) for one in all_formats(*args, **options)]
    )
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
    assert seen == [1] * 4 + [128] * 4  # both formats run in TensorFlow
    assert content["machine"]["cores"] >= 1
    assert set(content["networks"]) == {"trained", "pruned"}
    for name, network in content["networks"].items():
        assert list(network["artefacts"]) == TITLES
        for entry in network["artefacts"].values():
            assert (folder.artefacts / name / entry["file"]).exists()
            clean, attacked = entry["scores"]["clean"], entry["scores"]["pgd"]
            assert (clean["num_images"], clean["repeats"]) == (60, 1 + entry["noisy"])
            assert (attacked["num_images"], attacked["repeats"]) == (60, 2)


def test_pruning_shows_in_the_archive_and_in_the_table(measured_once):
    _, content, _ = measured_once
    before, after = (content["networks"][name] for name in ("trained", "pruned"))
    sizes = [network["artefacts"]["compact archive, noisy"]["bytes"] for network in (before, after)]
    assert sizes[1] < sizes[0]
    table = benchmark.format_table(content)
    assert "pruned, 60.0% zeros" in table
    assert max(map(len, table.splitlines())) < 100
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
            entry["scores"]["clean"]["mean"] = 0.125  # must stay: accuracies are not measured again
    folder.write_artefacts(content)
    again = measure(folder, "--again")
    assert timed == [1] * 4 + [128] * 4
    assert again["networks"]["trained"]["artefacts"]["SavedModel"]["scores"]["clean"]["mean"] == 0.125


def test_stopped_stage_goes_on(folder, timed):
    content = folder.read_artefacts()
    del content["networks"]["pruned"]["artefacts"]["SavedModel"]["scores"]
    folder.write_artefacts(content)
    assert measure(folder)["networks"]["pruned"]["artefacts"]["SavedModel"]["scores"]["clean"]["num_images"] == 60
    assert timed == []  # the latencies are those of the same files


def test_accuracies_are_measured_again_on_changed_test_images(folder, measured_once, timed, monkeypatch):
    loaded = load_data(load_config(folder.path))
    changed = dataclasses.replace(loaded, test=loaded.test.first(50))
    monkeypatch.setattr("rsr_tf.experiment.builders.load_data", lambda config: changed)
    content = measure(folder)
    for network in content["networks"].values():
        assert {entry["scores"]["clean"]["num_images"] for entry in network["artefacts"].values()} == {50}
    assert timed == []  # the latencies are those of the same files
    assert content["speedup"] == measured_once[1]["speedup"]


def test_files_with_noise_predict_by_as_many_draws_as_the_run(tmp_path, monkeypatch):
    config = parse("", *(f"evaluation.{line}" for line in ("images=20", "draws=1", "ensemble=3")))
    data_set = load_data(config)
    calls = count_calls(monkeypatch)
    network = rsr_tf.add_noise(
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    )
    export_benchmark.measure_network(network, {}, tmp_path, data_set=data_set, config=config, save=lambda: None)
    noisy = {title for title in calls if "noisy" in title or "as trained" in title}
    assert len(noisy) == 4
    assert {title: len(images) for title, images in calls.items()} == {t: 6 if t in noisy else 2 for t in calls}


@pytest.mark.parametrize("missing", ["speedup", "latency"])
def test_stage_that_was_stopped_before_the_latencies_goes_on(folder, timed, missing):
    content = folder.read_artefacts()
    del (content if missing == "speedup" else content["networks"]["pruned"]["artefacts"]["SavedModel"])[missing]
    folder.write_artefacts(content)
    assert measure(folder)["speedup"]
    assert timed == [1] * 4 + [128] * 4


def test_latencies_are_compared_within_a_round(measured_once):
    """By hand: 1 and 2 s before pruning, 3 and 4 s after it, and twice these in the second round."""
    _, content, _ = measured_once
    before, after = (content["networks"][name]["artefacts"] for name in ("trained", "pruned"))
    assert before[TITLES[0]]["latency"]["128"] == {"median": 1.5, "quartiles": [1.25, 1.75], "calls": 2}
    assert after[TITLES[1]]["latency"]["1"]["median"] == 6
    expected = {TITLES[0]: 1 / 3, TITLES[1]: 2 / 4}
    for title, ratio in expected.items():
        for size in ("1", "128"):
            spread = {"median": ratio, "quartiles": [ratio, ratio], "unstable": False}
            assert content["speedup"][title][size] == spread


def test_another_network_is_measured_anew(folder, timed):
    network = keras.models.load_model(folder.pruned)
    rsr_tf.prune(network, sparsity=0.9)
    network.save(folder.pruned)
    content = folder.read_artefacts()
    content["networks"]["trained"]["artefacts"]["SavedModel"]["scores"]["clean"]["mean"] = 0.125  # stays
    folder.write_artefacts(content)
    networks = measure(folder)["networks"]
    assert timed == [1] * 4 + [128] * 4
    assert networks["trained"]["artefacts"]["SavedModel"]["scores"]["clean"]["mean"] == 0.125
    assert networks["pruned"]["sparsity"] == pytest.approx(0.9, abs=0.01)
    assert sum(path.name == "noisy.rsrz" for path in folder.artefacts.rglob("*")) == 2


def test_runtimes_are_timed_apart_and_networks_of_one_side_by_side(folder, monkeypatch):
    groups = []

    def latencies(functions, images):
        groups.append((len(images), list(functions)))
        return {key: np.ones(2) for key in functions}

    count_latencies(monkeypatch, ["SavedModel", "TFLite float32"])
    monkeypatch.setattr(benchmark, "latencies", latencies)
    folder.measured_artefacts.unlink()
    measure(folder)
    both = ["trained", "pruned"]
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
    assert list(content["networks"]) == ["pruned"]
    assert content["speedup"] == {}
    assert timed == [1] * 2 + [128] * 2
    assert "pruned, 60.0% zeros" in benchmark.format_table(content)


def test_replaced_network_is_exported_again(folder):
    def exported():
        result = CliRunner().invoke(main, ["export", str(folder.path)])
        assert result.exit_code == 0, result.output
        return rsr_tf.export.read_metadata(folder.saved_model)["sparsity"], folder.saved_model.stat().st_ino

    first = exported()
    assert exported() == first, "the same network is not exported again"
    model = keras.models.load_model(folder.pruned)
    rsr_tf.prune(model, sparsity=0.9)
    model.save(folder.pruned)
    assert (first[0], exported()[0]) == (pytest.approx(0.6, abs=0.01), pytest.approx(0.9, abs=0.01))


def test_full_disk_is_one_line(folder, timed, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    shutil.rmtree(folder.artefacts)
    folder.measured_artefacts.unlink()
    monkeypatch.setattr(formats, "save_compact", fail)
    result = CliRunner().invoke(
        main, ["artefacts", str(folder.path.parent / "tiny.toml"), "--output", str(folder.path)]
    )
    assert result.exit_code == 2
    assert "No space left on device. What was saved before is intact" in result.stderr
    assert list(folder.read_artefacts()["networks"]["trained"]["artefacts"]) == ["SavedModel"]
    assert list(folder.path.rglob("partial-*")) == []


@pytest.mark.parametrize("broken", ["trained", "pruned"])
def test_format_that_cannot_hold_a_network_is_left_out(folder, timed, monkeypatch, broken):
    def fail(model, path):
        if (rsr_tf.sparsity(model) > 0) == (broken == "pruned"):
            raise ValueError("`model` cannot be written")
        rsr_tf.export.save_compact(model, path)

    shutil.rmtree(folder.artefacts)
    folder.measured_artefacts.unlink()
    monkeypatch.setattr(formats, "save_compact", fail)
    content = measure(folder)
    titles = {name: list(network["artefacts"]) for name, network in content["networks"].items()}
    assert titles == {"trained": TITLES, "pruned": TITLES} | {broken: ["SavedModel"]}
    assert list(content["speedup"]) == ["SavedModel"]
    assert benchmark.format_table(content).count("compact archive, noisy") == 1
    assert folder.read_artefacts() == content
    assert (folder.path / "report.html").read_text().count("<td>compact archive, noisy</td>") == 1


def test_noise_that_does_not_run_deterministically_is_left_out(folder, monkeypatch):
    count_latencies(monkeypatch, ["SavedModel", "SavedModel, noisy"])
    for path in (folder.config, folder.path.parent / "tiny.toml"):
        path.write_text(path.read_text().replace("deterministic = false", "deterministic = true"))
    for network in measure(folder)["networks"].values():
        assert "SavedModel, noisy" not in network["artefacts"]


def test_speedup_of_a_busy_machine_is_marked():
    times = {("a", "TFLite"): np.array([8.0, 1.0, 9.0, 10.0]), ("b", "TFLite"): np.ones(4)}
    speedup = {}
    export_benchmark._add_speedup(speedup, times, "a", "b", size=1)
    assert speedup["TFLite"]["1"]["unstable"]
    times["a", "TFLite"] = np.array([8.0, 8.1, 8.2, 8.3])
    export_benchmark._add_speedup(speedup, times, "a", "b", size=1)
    assert not speedup["TFLite"]["1"]["unstable"]
