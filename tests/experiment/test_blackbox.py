"""`rsr zoo` and `rsr transfer` on finished networks: a run folder, a file in it, a SavedModel."""

import csv
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from rsr_tf import evaluation
from rsr_tf.cli import main
from rsr_tf.config import parse_config
from rsr_tf.experiment.builders import build_network, load_data
from rsr_tf.experiment.load import open_finished
from rsr_tf.experiment.run_folder import RunFolder, drop_none
from rsr_tf.export import saved_model as export
from rsr_tf.files import LOCK_FILE, FolderLock

pytestmark = pytest.mark.integration

CONFIG = {
    "data": {"name": "digits"},
    "model": {"name": "small_cnn", "width": 0.125},
    "evaluation": {"epsilon": 0.1, "step_size": 0.05},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a noisy network, its SavedModel and an undefended network, all trained briefly."""
    config = parse_config(CONFIG, source="test")
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "noisy")
    folder.claim(config.model_dump(), {"rsr_tf": "0"})
    folder.release()
    data_set = load_data(config)
    for path, noise in ((folder.pruned, "channel"), (folder.undefended, "none")):
        network = build_network(config, data_set, noise=noise)
        network.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        network.fit(data_set.train.pixels(), data_set.train.labels, epochs=3, verbose=0)
        network.save(path)
        if noise != "none":
            metadata = {"config": drop_none(config.model_dump())}
            export.export_saved_model(network, folder.saved_model, metadata=metadata)
    return folder


def rsr(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def stopped_with_one_line(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


@pytest.mark.slow
def test_transfer_leaves_matrix_lines_and_heat_map(run, tmp_path):
    rsr("transfer", run.path, run.undefended, "--images", 20, "--steps", 2, "--draws", 2, "--output", tmp_path)
    table = json.loads((tmp_path / "transfer.json").read_text())
    networks = ["noisy, noise on", "noisy, noise off", "noisy/undefended"]
    assert list(table["accuracy"]) == ["clean", *networks]
    assert all(list(row) == networks for row in table["accuracy"].values())
    assert {name: attack["eot_samples"] for name, attack in table["attacks"].items()} == dict(
        zip(networks, [2, 1, 1], strict=True)
    )
    assert table["attacks"]["noisy, noise on"]["epsilon"] == 0.1
    assert (table["num_images"], table["data"]) == (20, "scikit-learn digits")
    with (tmp_path / "transfer.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == 12
    assert (tmp_path / "transfer.svg").read_text().startswith("<svg")


@pytest.mark.slow
def test_transfer_that_was_stopped_goes_on_and_another_call_starts_anew(run, tmp_path):
    call = ["transfer", run.path, run.undefended, "--images", 20, "--steps", 2, "--draws", 2, "--output", tmp_path]
    rsr(*call)
    first = (tmp_path / "transfer.json").read_text()
    (state,) = tmp_path.glob("state_*")
    rows = {path: path.stat().st_mtime_ns for path in state.glob("[0-9]*.npz")}
    assert len(rows) == 4
    redone = state / "1,_noisy,_noise_on.npz"
    redone.unlink()
    rsr(*call)
    assert (tmp_path / "transfer.json").read_text() == first
    assert [path for path, time in rows.items() if path.stat().st_mtime_ns != time] == [redone]
    for change in (("--draws", 3), ("--set", "evaluation.epsilon=0.2")):
        rsr(*call, *change)
    assert len(list(tmp_path.glob("state_*"))) == 3
    rsr(*call, "--set", "evaluation.images=50")  # which transfer does not use
    assert len(list(tmp_path.glob("state_*"))) == 3


@pytest.mark.slow
def test_zoo_leaves_its_table_beside_the_network(run, monkeypatch):
    short = evaluation.ZOOSettings(initial_c=0.5, binary_steps=1, iterations=20)
    monkeypatch.setitem(evaluation.TIERS, 1, short)
    rsr("zoo", run.path, "--images", 3, "--noise", "off", "--noise", "shared")
    table = json.loads((run.path / "zoo" / "pruned" / "zoo_tier1_3.json").read_text())
    assert set(table["columns"]) == {"off", "shared"}
    assert (table["network"], table["num_images"], table["data"]) == ("noisy", 3, "scikit-learn digits")
    assert table["columns"]["off"]["settings"]["iterations"] == 20
    rsr("zoo", run.undefended, "--images", 3)
    assert set(json.loads((run.path / "zoo" / "undefended" / "zoo_tier1_3.json").read_text())["columns"]) == {"off"}


@pytest.mark.slow
def test_columns_of_zoo_are_gathered_over_calls(run, monkeypatch, tmp_path):
    short = evaluation.ZOOSettings(initial_c=0.5, binary_steps=1, iterations=2)
    monkeypatch.setitem(evaluation.TIERS, 1, short)
    tables = []
    for column in ("off", "shared"):
        rsr("zoo", run.path, "--images", 3, "--noise", column, "--output", tmp_path)
        tables.append(json.loads((tmp_path / "zoo_tier1_3.json").read_text()))
    assert [list(table["columns"]) for table in tables] == [["off"], ["off", "shared"]]
    assert tables[1]["columns"]["off"] == tables[0]["columns"]["off"]
    assert tables[1]["headline"] == evaluation.most_broken(tables[1]["columns"])
    rsr("zoo", run.undefended, "--images", 3, "--output", tmp_path / "other")
    (tmp_path / "zoo_tier1_3.json").write_bytes((tmp_path / "other" / "zoo_tier1_3.json").read_bytes())
    rsr("zoo", run.path, "--images", 3, "--noise", "shared", "--output", tmp_path)  # beside that of another network
    assert list(json.loads((tmp_path / "zoo_tier1_3.json").read_text())["columns"]) == ["shared"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["zoo", "transfer"])
def test_folder_that_another_process_is_at_work_in_is_one_line(run, tmp_path, command):
    with FolderLock(tmp_path):
        line = stopped_with_one_line(command, run.path, "--images", 3, "--output", tmp_path)
    assert line == f"rsr: another `rsr` process is using the folder {tmp_path}"
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


@pytest.mark.slow
def test_broken_config_of_a_run_is_one_line(run, tmp_path):
    folder = RunFolder(tmp_path / "broken")
    folder.path.mkdir()
    folder.config.write_text("seed = ")
    assert f"{folder.config} is not valid TOML: " in stopped_with_one_line("zoo", folder.path)
    folder.config.write_bytes(b"\xff")
    assert f"cannot read the config {folder.config}: " in stopped_with_one_line("transfer", folder.path)


@pytest.mark.slow
def test_npz_files_that_are_not_one_are_one_line(run, tmp_path):
    for name in ("a", "b"):
        other = RunFolder(tmp_path / name)
        values = {**CONFIG, "data": {"name": "npz", "directory": f"{name}.npz"}}
        other.claim(parse_config(values, source="test").model_dump(), {})
        other.release()
        other.pruned.write_bytes(run.pruned.read_bytes())
    line = stopped_with_one_line("transfer", tmp_path / "a", tmp_path / "b", "--output", tmp_path)
    assert line == "rsr: the data of b is b.npz, not a.npz"


@pytest.mark.slow
def test_network_for_other_images_is_one_line(run, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.uniform(size=(300, 6, 6, 3)), "x_test": rng.uniform(size=(20, 6, 6, 3))}
    arrays |= {"y_train": rng.integers(0, 10, 300), "y_test": rng.integers(0, 10, 20)}
    np.savez(tmp_path / "other.npz", **arrays)
    folder = RunFolder(tmp_path / "other")
    values = {**CONFIG, "data": {"name": "npz", "directory": str(tmp_path / "other.npz")}}
    folder.claim(parse_config(values, source="test").model_dump(), {})
    folder.release()
    folder.pruned.write_bytes(run.pruned.read_bytes())
    assert f"{folder.path} does not take images of shape (2, 6, 6, 3): " in stopped_with_one_line("zoo", folder.path)


SAVED_MODELS = {
    "broken metadata": ("{bad", None, "cannot read .*rsr_tf.json: "),
    "a list as metadata": ("[]", None, "rsr_tf.json must hold a JSON object. Received: list"),
    "two inputs": (None, [tf.TensorSpec((None, 8, 8, 1))] * 2, "must take one input. Received: a, b"),
    "a batch of one": (None, [tf.TensorSpec((1, 8, 8, 1))], "does not take images of shape"),
    "too few classes": (None, [tf.TensorSpec((None, 8, 8, 1))], r"of at least the 10 classes .* Received: \(3,\)"),
    "a dict of outputs": (None, [tf.TensorSpec((None, 8, 8, 1))], "must have one output. Received: 2 outputs"),
    "uint8 pixels": (
        None,
        [tf.TensorSpec((None, 8, 8, 1), tf.uint8)],
        "cannot evaluate the SavedModel .*: `model` must take floating-point inputs.* Received: inputs of type uint8",
    ),
}


@pytest.mark.parametrize("wrong", SAVED_MODELS)
def test_saved_model_that_does_not_fit_is_one_line(wrong, tmp_path):
    metadata, signature, message = SAVED_MODELS[wrong]
    module = tf.Module()

    def serve(a, b=None):
        logits = tf.reshape(a, (-1, 64))[:, :3]
        return {"logits": logits, "features": logits} if "dict" in wrong else logits

    inputs = signature or [tf.TensorSpec((None, 8, 8, 1))]
    named = [tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in zip(inputs, "ab", strict=False)]
    module.serve = tf.function(serve if len(named) == 2 else lambda a: serve(a), input_signature=named)
    tf.saved_model.save(module, tmp_path / "model", signatures=module.serve)
    if metadata:
        (tmp_path / "model" / "rsr_tf.json").write_text(metadata)
    (tmp_path / "digits.toml").write_text("data.name = 'digits'\nmodel.name = 'small_cnn'\n")
    line = stopped_with_one_line("evaluate", tmp_path / "model", "--config", tmp_path / "digits.toml")
    assert re.search(message, line), line


@pytest.mark.slow
def test_saved_model_is_opened_with_and_without_its_noise(run):
    finished = open_finished(run.saved_model)
    assert set(finished.networks) == {"noise_on", "noise_off"}
    images = load_data(finished.config).test.pixels()[:4]
    looks = {
        name: [model_fn(images).numpy().tolist() for _ in range(2)] for name, model_fn in finished.networks.items()
    }
    assert looks["noise_on"][0] != looks["noise_on"][1]
    assert looks["noise_off"][0] == looks["noise_off"][1]
    assert finished.name == "noisy/saved_model"


@pytest.mark.slow
def test_saved_model_of_an_ensemble_is_opened_as_the_mean_of_its_draws(run):
    images, spreads, identities = np.full((2, 8, 8, 1), 0.5, "float32"), [], []
    for overrides in ((), ["evaluation.ensemble=16"]):
        finished = open_finished(run.saved_model, overrides)
        looks = [tf.nn.softmax(finished.networks["noise_on"](images)) for _ in range(20)]
        spreads.append(np.std(looks, axis=0).mean())
        identities.append(finished.identity)
    assert spreads[1] < 0.5 * spreads[0]
    assert identities[1] == f"{identities[0]}, mean of 16 draws"


@pytest.mark.slow
def test_identity_is_that_of_the_weights(run):
    assert open_finished(run.path).identity == open_finished(run.pruned).identity
    assert open_finished(run.path).identity != open_finished(run.undefended).identity


@pytest.mark.slow
def test_network_trained_in_half_precision_is_attacked_in_float32(run):
    """Steps of ZOO are smaller than bfloat16 can tell apart."""
    config = parse_config(CONFIG, source="test")
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = build_network(config, load_data(config))
    network.save(run.path / "half.keras")
    finished = open_finished(run.path / "half.keras")
    image = np.full((1, 8, 8, 1), 0.5, "float32")
    steps = image + 1e-5 * np.eye(64, dtype="float32").reshape(64, 8, 8, 1)
    moved = np.array(finished.networks["noise_off"](steps)) != np.array(finished.networks["noise_off"](image))
    assert moved.any(axis=1).mean() > 0.9


@pytest.mark.slow
def test_noise_can_be_restarted(run):
    finished = open_finished(run.path)
    images = load_data(finished.config).test.pixels()[:4]
    looks = []
    for seed in (1, 2, 1):
        finished.reseed(seed)
        looks.append(finished.networks["noise_on"](images).numpy().tolist())
    assert looks[0] == looks[2] != looks[1]


@pytest.mark.slow
def test_what_is_no_network_is_one_line(run, tmp_path):
    assert "neither a run folder, nor a .keras file in one, nor a SavedModel" in stopped_with_one_line("zoo", tmp_path)
    assert "model.keras not found" in stopped_with_one_line("zoo", run.model)


@pytest.mark.slow
def test_result_of_a_saved_model_wants_a_place(run):
    assert "a SavedModel needs --output" in stopped_with_one_line("zoo", run.saved_model)


@pytest.mark.slow
def test_column_that_the_network_has_not_is_one_line(run):
    assert "`columns` must be among ('off',)" in stopped_with_one_line("zoo", run.undefended, "--noise", "shared")


@pytest.mark.slow
def test_networks_of_one_name_are_one_line(run, tmp_path):
    line = stopped_with_one_line("transfer", run.path, run.path, "--output", tmp_path)
    assert line == "rsr: two networks are called noisy, noise on"


@pytest.mark.slow
def test_networks_of_other_data_are_one_line(run, tmp_path):
    other = RunFolder(tmp_path / "other")
    values = {**CONFIG, "data": {"name": "cifar10"}}
    other.claim(parse_config(values, source="test").model_dump(), {})
    other.release()
    other.pruned.write_bytes(run.pruned.read_bytes())
    line = stopped_with_one_line("transfer", run.path, other.path, "--output", tmp_path)
    assert line == "rsr: the data of other is cifar10, not digits"
