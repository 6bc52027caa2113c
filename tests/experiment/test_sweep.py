"""`rsr sweep` on small networks for digits; the page is tested in tests/report/test_sweep_page.py."""

import dataclasses
import hashlib
import json
import tomllib

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import rsr_tf
from rsr_tf import experiment as experiments
from rsr_tf.cli import main
from rsr_tf.config import UserError, parse_config
from rsr_tf.experiment import Experiment, run_sweep
from rsr_tf.experiment.builders import build_network, build_rsr_model, compile_model, load_data
from rsr_tf.experiment.evaluate import attack_network, evaluation_images
from rsr_tf.experiment.load import variants

pytestmark = pytest.mark.integration

LASSO = 1e-3
VALUES = {
    "data": {"name": "digits"},
    "model": {"name": "small_cnn", "width": 0.125, "lasso": LASSO},
    "attack": {"epsilon": 0.2, "step_size": 0.1, "steps": 0},
    "training": {"epochs": 1, "batch_size": 256},
    "evaluation": {"epsilon": 0.2, "step_size": 0.1, "steps": 2, "images": 40, "draws": 2, "batch_size": 40},
}


def settings(**changes):
    values = {name: {**section, **changes.pop(name, {})} for name, section in VALUES.items()}
    return parse_config(values | changes, source="test")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder as training leaves it; its network has its first weights."""
    folder = tmp_path_factory.mktemp("sweep") / "run"
    write_trained(settings(), folder)
    return folder


def write_trained(config, folder, seed=0):
    with Experiment(config, folder) as experiment:
        experiment.folder.claim(config.model_dump(), {})
        network = build_network(config.model_copy(update={"seed": seed}), load_data(config))
        model = build_rsr_model(config, network, warmup_steps=0)
        compile_model(model, config, 0.1)
        model.optimizer.build(model.trainable_variables)
        model.save(experiment.folder.model)


def copied(trained, folder):
    folder.mkdir()
    for name in ("config.toml", "model.keras"):
        (folder / name).write_bytes((trained / name).read_bytes())
    return folder


def sweep(folder, config=None, **lists):
    """One call of the sweep, and what it left in `sweep.json`."""
    with Experiment(config or settings(), folder) as experiment:
        page = run_sweep(experiment, **lists)
    assert page == folder / "sweep" / "sweep.html"
    return json.loads((folder / "sweep" / "sweep.json").read_text())


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "sweep").glob("sweep.*"))} | {
        path.name: path.read_bytes() for path in (folder / "sweep").glob("*.csv")
    }


def patch_attack(monkeypatch, attack):
    """Replace the attack of the sweep and of the runs in it."""
    for module in ("evaluation_stage", "sweep"):
        monkeypatch.setattr(f"rsr_tf.experiment.{module}.attack_network", attack)


@pytest.fixture
def attacks(monkeypatch):
    """The titles of the attacks that were made, with numbers in place of their scores."""
    titles = []

    def attack(model_fn, images, labels, config, title):
        titles.append(title)
        score = rsr_tf.evaluation.Score((len(title) / 100, 0.5), len(labels)).as_dict()
        return {"clean": score, "fgsm": score, "pgd": score}

    patch_attack(monkeypatch, attack)
    return titles


@pytest.fixture
def quick_attacks(monkeypatch):
    """In place of attacks, one look at the network that depends on its weights and on every draw of its noise."""

    def evaluate(model_fn, images, labels, **options):
        score = rsr_tf.evaluation.Score((float(np.std(model_fn(images))) % 1, 0.5), len(labels))
        return {"clean": score, "fgsm": score, "pgd": score}

    monkeypatch.setattr(rsr_tf.evaluation, "evaluate_whitebox", evaluate)


@pytest.mark.slow
def test_each_point_is_a_pruned_copy(trained, tmp_path, quick_attacks):
    folder, config = copied(trained, tmp_path / "run"), settings()
    content = sweep(folder, sparsities=[0.5], gammas=[0.05])
    by_gamma, by_sparsity = content["points"]
    assert (by_gamma["target"], by_sparsity["target"]) == ("gamma", "sparsity")
    for point in content["points"]:
        model = keras.models.load_model(folder / "model.keras")
        rsr_tf.prune(model, **{point["target"]: point["value"]})
        assert point["sparsity"] == rsr_tf.sparsity(model)
        assert [row["zeros"] for row in point["layers"]] == [row.zeros for row in rsr_tf.sparsity_table(model)]
        assert sum(row["zeros"] for row in point["layers"]) == point["zeros"]
        images, labels = evaluation_images(load_data(config), config)
        for variant, model_fn in variants(model).items():
            assert point["scores"][variant] == attack_network(model_fn, images, labels, config, "")
    assert set(by_gamma["scores"]) == {"noise_on", "noise_off"}
    assert by_gamma["scores"]["noise_on"] != by_gamma["scores"]["noise_off"]
    assert by_sparsity["zeros"] == round(0.5 * by_sparsity["weights"])
    assert rsr_tf.sparsity(keras.models.load_model(folder / "model.keras")) == 0


@pytest.mark.slow
def test_scores_are_those_of_the_attacks_of_the_config(tmp_path):
    config = settings(model={"noise": "none"})
    write_trained(config, tmp_path / "run")
    ((variant, scores),) = sweep(tmp_path / "run", config, sparsities=[0.3])["points"][0]["scores"].items()
    assert variant == "noise_off"
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    rsr_tf.prune(model, sparsity=0.3)
    images, labels = evaluation_images(load_data(config), config)
    right = np.argmax(model(images, training=False), axis=-1) == labels
    assert scores["clean"]["accuracies"] == pytest.approx([np.mean(right)] * 2)
    assert (scores["pgd"]["num_images"], scores["pgd"]["repeats"]) == (40, 2)
    assert scores["pgd"]["mean"] <= scores["clean"]["mean"]


@pytest.mark.slow
def test_size_is_that_of_the_archive_without_noise(trained, tmp_path, attacks):
    folder = copied(trained, tmp_path / "run")
    (point,) = sweep(folder, sparsities=[0.8])["points"]
    model = keras.models.load_model(folder / "model.keras")
    rsr_tf.prune(model, sparsity=0.8)
    rsr_tf.save_compact(rsr_tf.strip(model), tmp_path / "network.rsrz")
    assert point["bytes"]["compact_bytes"] == (tmp_path / "network.rsrz").stat().st_size
    numbers = sum(np.size(weights) for weights in rsr_tf.strip(model).get_weights())
    assert point["bytes"]["dense_bytes"] == 4 * numbers


@pytest.mark.slow
def test_pruning_follows_the_rules_of_the_config(tmp_path, attacks):
    config = settings(pruning={"exclude": ["first"], "max_layer_sparsity": 0.5, "scope": "layer"})
    write_trained(config, tmp_path / "run")
    content = sweep(tmp_path / "run", config, sparsities=[0.9])
    shares = [row["zeros"] / row["weights"] for row in content["points"][0]["layers"]]
    assert shares == [0, 0.5, 0.5, 0.5]
    assert content["pruning"] == {"scope": "layer", "exclude": ["first"], "max_layer_sparsity": 0.5}


@pytest.mark.slow
def test_sweep_that_was_stopped_ends_with_the_same_files(trained, tmp_path, quick_attacks, monkeypatch):
    whole, stopped = copied(trained, tmp_path / "whole"), copied(trained, tmp_path / "stopped")
    sweep(whole, sparsities=[0.0, 0.5, 0.9])
    calls = []

    def stop_at_fourth(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return attack_network(*arguments)

    patch_attack(monkeypatch, stop_at_fourth)
    with pytest.raises(KeyboardInterrupt):
        sweep(stopped, sparsities=[0.0, 0.5, 0.9])
    points = json.loads((stopped / "sweep" / "sweep.json").read_text())["points"]
    assert [point["value"] for point in points] == [0.0]
    sweep(stopped, sparsities=[0.0, 0.5, 0.9])
    assert len(calls) == 4 + 4, "the first network, with noise on and off, was done"
    assert files_of(stopped) == files_of(whole)
    assert set(files_of(whole)) == {"sweep.json", "sweep.html", "points.csv", "layers.csv"}


@pytest.mark.slow
def test_another_list_adds_to_what_is_there(trained, tmp_path, attacks):
    folder = copied(trained, tmp_path / "run")
    sweep(folder, sparsities=[0.5])
    content = sweep(folder, sparsities=[0.2, 0.5], gammas=[0.1])
    assert attacks[2:] == [
        f"{target}, {variant}" for target in ("sparsity 0.2", "gamma 0.1") for variant in ("noise_on", "noise_off")
    ]
    assert [(point["target"], point["value"]) for point in content["points"]] == [
        ("gamma", 0.1),
        ("sparsity", 0.2),
        ("sparsity", 0.5),
    ]
    points = (folder / "sweep" / "points.csv").read_text().splitlines()
    assert len(points) == 1 + 2 * 3


@pytest.mark.slow
def test_another_network_is_attacked_anew(trained, tmp_path, attacks):
    folder = copied(trained, tmp_path / "run")
    before = sweep(folder, sparsities=[0.2, 0.5])
    (folder / "model.keras").unlink()
    write_trained(settings(), folder, seed=1)
    after = sweep(folder, sparsities=[0.5])
    assert [point["value"] for point in after["points"]] == [0.5]
    assert after["points"][0]["layers"] != before["points"][1]["layers"]
    assert after["network"] == hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest()


@pytest.mark.slow
def test_other_test_images_are_attacked_anew(trained, tmp_path, attacks, monkeypatch):
    folder = copied(trained, tmp_path / "run")
    before = sweep(folder, sparsities=[0.2, 0.5])
    loaded = load_data(settings())
    changed = dataclasses.replace(loaded, test=loaded.test.take(np.arange(len(loaded.test))[::-1]))
    monkeypatch.setattr("rsr_tf.experiment.sweep.load_data", lambda config: changed)
    after = sweep(folder, sparsities=[0.5])
    assert [point["value"] for point in after["points"]] == [0.5]
    assert after["test_images"] != before["test_images"]
    attacks.clear()
    assert sweep(folder, sparsities=[0.5]) == after
    assert attacks == []


@pytest.mark.slow
def test_undefended_baseline_is_in_the_figure_of_small_weights(tmp_path, attacks):
    config = settings(undefended={"epochs": 1})
    write_trained(config, tmp_path / "run")
    (tmp_path / "run" / "undefended.keras").write_bytes((tmp_path / "run" / "model.keras").read_bytes())
    content = sweep(tmp_path / "run", config, sparsities=[0.5])
    assert set(content["share_below"]) == {"trained", "undefended"}
    assert ">undefended</text>" in (tmp_path / "run" / "sweep" / "sweep.html").read_text()


@pytest.mark.slow
def test_each_lambda_is_a_run_and_that_of_the_config_is_the_run_itself(trained, tmp_path, attacks):
    folder, config = copied(trained, tmp_path / "run"), settings()
    content = sweep(folder, lambdas=[0.0, LASSO])
    assert [(entry["lambda"], set(entry["networks"])) for entry in content["lambdas"]] == [
        (0.0, {"trained", "pruned"}),
        (LASSO, {"trained", "pruned"}),
    ]
    own, other = folder, folder / "sweep" / "lambda_0.0"
    for entry, path in zip(content["lambdas"], (other, own), strict=True):
        networks = json.loads((path / "evaluation.json").read_text())["networks"]
        assert entry["networks"]["pruned"]["sparsity"] == networks["pruned"]["sparsity"]
        assert entry["networks"]["pruned"]["sparsity"] == pytest.approx(0.6, abs=0.01)
        assert entry["networks"]["trained"]["scores"] == networks["trained"]["scores"]
        assert entry["share_below"] == networks["trained"]["share_below"]
    stored = tomllib.loads((other / "config.toml").read_text())
    assert stored["model"]["lasso"] == 0
    assert stored["training"] == config.training.model_dump()
    assert not (folder / "history.csv").exists(), "its network was trained already"
    assert (other / "history.csv").exists()
    before = files_of(folder)
    assert "lambdas.csv" in before
    attacks.clear()
    sweep(folder, lambdas=[0.0, LASSO])
    assert attacks == []
    assert files_of(folder) == before


@pytest.mark.slow
def test_lambdas_need_no_trained_network_and_no_baseline(tmp_path, attacks):
    config = settings(undefended={"epochs": 1})
    sweep(tmp_path / "run", config, lambdas=[0.01])
    assert tomllib.loads((tmp_path / "run" / "config.toml").read_text())["model"]["lasso"] == LASSO
    assert not (tmp_path / "run" / "sweep" / "lambda_0.01" / "undefended.keras").exists()
    with Experiment(config, tmp_path / "run") as experiment:  # it is a run folder, in which training can begin
        assert not experiment.folder.model.exists()


def test_network_that_is_not_trained_is_one_line_and_leaves_nothing(tmp_path):
    with (
        Experiment(settings(), tmp_path / "run") as experiment,
        pytest.raises(UserError, match=r"not found\. Run `rsr train`"),
    ):
        run_sweep(experiment, sparsities=[0.5])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"points": []}'])
def test_file_that_cannot_be_read_is_one_line(trained, tmp_path, text):
    folder = copied(trained, tmp_path / "run")
    (folder / "sweep").mkdir()
    (folder / "sweep" / "sweep.json").write_text(text)
    with pytest.raises(UserError, match=r"\Acannot read .*sweep.json: [^\n]*Remove it to start the sweep again\Z"):
        sweep(folder, sparsities=[0.5])


# The command


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text('data.name = "digits"\nmodel.name = "small_cnn"\n')
    return path


@pytest.fixture
def calls(monkeypatch):
    """What the command asks of the sweep."""
    found = []
    monkeypatch.setattr(experiments, "run_sweep", lambda experiment, **lists: found.append((experiment, lists)))
    return found


def command(*arguments):
    return CliRunner().invoke(main, ["sweep", *map(str, arguments)])


def test_command_hands_over_its_lists_in_order_and_each_number_once(config, tmp_path, calls):
    lists = ["--sparsities", "0.9, 1/2,0.9,0", "--gammas", "1e-2", "--lambdas", "1e-4,0"]
    result = command(config, "--output", tmp_path / "out", "--set", "seed=3", *lists)
    assert result.exit_code == 0, result.output
    ((experiment, found),) = calls
    assert found == {"sparsities": [0.0, 0.5, 0.9], "gammas": [0.01], "lambdas": [0.0, 1e-4]}
    assert (experiment.config.seed, experiment.folder.path) == (3, tmp_path / "out")


def test_command_without_a_list_sweeps_the_sparsity(config, tmp_path, calls):
    assert command(config, "--output", tmp_path / "out").exit_code == 0
    ((_, found),) = calls
    assert found == {"sparsities": [0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95], "gammas": [], "lambdas": []}


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--sparsities", "0,1.5", "`--sparsities` should be less than or equal to 1. Received: '1.5'"),
        ("--sparsities", "0,,1", "`--sparsities` expected a number or a fraction such as \"8/255\". Received: ''"),
        ("--gammas", "-1", "`--gammas` should be greater than or equal to 0. Received: '-1'"),
        ("--lambdas", "0,many", "`--lambdas` expected a number or a fraction such as \"8/255\". Received: 'many'"),
        ("--lambdas", "inf", "`--lambdas` expected a number or a fraction such as \"8/255\". Received: 'inf'"),
    ],
)
def test_wrong_list_is_one_line(config, tmp_path, calls, option, text, message):
    result = command(config, "--output", tmp_path / "out", option, text)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [f"rsr: {message}"]
    assert calls == []
    assert not (tmp_path / "out").exists()
