"""The command as a user meets it: each test runs `rsr` in a process of its own, where that matters."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from helpers import HEAD, TINY, noisy_verdict

import rsr_tf
from rsr_tf.choices import SUITES
from rsr_tf.cli import main
from rsr_tf.evaluation import Check
from rsr_tf.experiment.run_folder import WRITING
from rsr_tf.files import LOCK_FILE, FolderLock
from rsr_tf.training.callbacks import Checkpoint, read_history

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def rsr(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "rsr_tf.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def stopped_with_one_line(arguments):
    """Run the command in this process; its error message, which must be one line."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.output
    return lines[0]


def weights_of(path):
    return keras.models.load_model(path).get_weights()


def test_help_needs_neither_tensorflow_nor_keras_nor_numpy():
    script = """
import sys
from click.testing import CliRunner
from rsr_tf.cli import main
for arguments in (["--help"], ["evaluate", "--help"], ["sweep", "--help"]):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    print(result.output)
print([name for name in ("tensorflow", "keras", "numpy") if name in sys.modules])
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "--sparsities LIST" in output
    assert output.splitlines()[-1] == "[]"


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """One whole run, never stopped."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.toml").write_text(TINY)
    result = rsr("run", folder / "tiny.toml", "--output", folder / "out")
    assert result.returncode == 0, result.stderr
    return folder / "out", result


@pytest.mark.slow
def test_run_leaves_every_artefact(finished_run):
    folder, result = finished_run
    names = {path.name for path in folder.iterdir()}
    assert names == {
        LOCK_FILE,
        WRITING,
        "config.toml",
        "history.csv",
        "logs",
        "checkpoints",
        "model.keras",
        "model_best.keras",
        "pruned.keras",
        "undefended.keras",
        "saved_model",
        "evaluation.json",
        "report.html",
        "stages.json",
    }
    for stage in ("train", "prune", "evaluate", "export", "report"):
        assert f"== {stage}\n" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_evaluation_holds_every_network_with_and_without_noise(finished_run):
    evaluation = json.loads((finished_run[0] / "evaluation.json").read_text())
    networks = evaluation["networks"]
    assert {name: set(entry["scores"]) for name, entry in networks.items()} == {
        "undefended": {"noise_off"},
        "trained": {"noise_on", "noise_off"},
        "pruned": {"noise_on", "noise_off"},
    }
    for entry in networks.values():
        for scores in entry["scores"].values():
            assert {(score["num_images"], score["repeats"]) for score in scores.values()} == {(60, 2)}
    assert networks["pruned"]["sparsity"] == pytest.approx(0.6, abs=0.01)
    assert networks["trained"]["sparsity"] == 0


@pytest.mark.slow
def test_logs_hold_losses_accuracies_sparsity_and_histograms(finished_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags, histograms = set(), set()
    for path in (finished_run[0] / "logs" / "train").glob("*"):
        events = EventAccumulator(str(path), size_guidance={"tensors": 0}).Reload()
        for tag in events.Tags()["tensors"]:
            plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
            (histograms if plugin == "histograms" else tags).add(tag)
    wanted = ("accuracy", "adversarial_accuracy", "clean_loss", "adversarial_loss", "lasso", "sparsity")
    assert {f"epoch_{name}" for name in wanted} <= tags
    assert any("alpha" in tag for tag in histograms)
    assert any("kernel" in tag for tag in histograms)


@pytest.mark.slow
def test_second_run_changes_nothing_but_the_report(finished_run, tmp_path):
    folder, _ = finished_run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    result = rsr("run", folder.parent / "tiny.toml", "--output", folder)
    assert result.returncode == 0, result.stderr
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in before if before[path] != after.get(path)} == {"report.html"}
    assert before.keys() == after.keys()


@pytest.mark.slow
def test_run_killed_within_an_epoch_ends_with_the_same_weights_bit_for_bit(finished_run, config, tmp_path):
    """SIGKILL in the first batch after the first checkpoint; then the same command again."""
    folder = tmp_path / "out"
    script = """
import os, signal
from rsr_tf.cli import main
from rsr_tf.training.callbacks import Checkpoint

def kill_after_a_checkpoint(self, batch, logs=None):
    if list(self.folder.glob("train-*.keras")):
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.on_train_batch_end = kill_after_a_checkpoint
main()
"""
    checkpoints = folder / "checkpoints"
    arguments = ["train", str(config), "--output", str(folder)]
    killed = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list(checkpoints.glob("train-*.keras"))) == 1
    assert not (folder / "model.keras").exists()
    again = rsr("run", config, "--output", folder)
    assert again.returncode == 0, again.stderr
    assert "resuming after epoch" in again.stdout
    for name in ("model.keras", "undefended.keras", "pruned.keras"):
        for ours, theirs in zip(weights_of(folder / name), weights_of(finished_run[0] / name), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert (folder / "history.csv").read_text() == (finished_run[0] / "history.csv").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_training_stopped_by_a_signal_is_one_line_and_goes_on(config, tmp_path, name, code):
    """The signal comes in the first batch after the first checkpoint."""
    script = f"""
import os, signal
from rsr_tf.cli import main
from rsr_tf.training.callbacks import Checkpoint

def stop_after_a_checkpoint(self, batch, logs=None):
    if list(self.folder.glob("train-0001.keras")):
        os.kill(os.getpid(), signal.{name})

Checkpoint.on_train_batch_end = stop_after_a_checkpoint
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts the tests in the background has it ignored
main()
"""
    arguments = ["train", str(config), "--output", str(tmp_path / "out"), *settings()]
    command = [sys.executable, "-c", script, *arguments]
    stopped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert stopped.returncode == code, stopped.stderr
    assert stopped.stderr.splitlines()[-1] == "rsr: stopped after epoch 1 of 3; the same command resumes"
    assert "Traceback" not in stopped.stderr
    assert [path.name for path in (tmp_path / "out" / "checkpoints").glob("*.keras")] == ["train-0001.keras"]
    again = rsr(*arguments)
    assert again.returncode == 0, again.stderr
    assert "resuming after epoch 1 of 3" in again.stdout


QUICK = ("attack.steps=0", "undefended.epochs=0", "training.deterministic=false", "evaluation.draws=1")


def settings(*overrides):
    """The options of the command for some overrides, after those that make it quick."""
    return [argument for override in (*QUICK, *overrides) for argument in ("--set", override)]


def stopped_and_started_again(monkeypatch, stage, config, folder, *overrides):
    """Run a stage that loses its power after its first checkpoint, and again to its end; the sparsity by epochs."""
    arguments = [stage, str(config), "--output", str(folder), *settings(*overrides)]
    save = Checkpoint.on_epoch_end

    def save_and_fail(self, epoch, logs=None):
        save(self, epoch, logs)
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", save_and_fail)
        assert str(CliRunner().invoke(main, arguments).exception) == "power cut"
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    name = {"train": "train", "prune": "finetune"}[stage]
    return [float(row["sparsity"]) for row in read_history(folder / "history.csv") if row["stage"] == name]


@pytest.mark.slow
def test_network_pruned_in_training_goes_on_where_it_was(config, tmp_path, monkeypatch):
    """3 epochs of 4 steps, pruned at steps 3, 5, 7 and 9 of 12: progress 0, 1/3, 2/3, 1."""
    folder = tmp_path / "out"
    overrides = (
        "pruning.schedule=polynomial",
        "pruning.frequency=2",
        "pruning.finetune_epochs=0",
        "pruning.scope=layer",
        'pruning.exclude=["last"]',
    )
    seen = stopped_and_started_again(monkeypatch, "train", config, folder, *overrides)
    layers = rsr_tf.sparsity_table(keras.models.load_model(folder / "model.keras"))
    assert [row.sparsity for row in layers] == pytest.approx([0.6, 0.6, 0.6, 0], abs=0.02)
    pruned_share = 1 - layers[-1].weights / layers.weights
    assert seen == pytest.approx([0, pruned_share * (0.6 - 0.6 / 27), pruned_share * 0.6], abs=0.003)
    for stage in ("prune", "evaluate", "report"):
        result = CliRunner().invoke(main, [stage, str(config), "--output", str(folder), *settings(*overrides)])
        assert result.exit_code == 0, result.output
    assert set(json.loads((folder / "evaluation.json").read_text())["networks"]) == {"pruned"}
    pruned, trained = (keras.models.load_model(folder / name) for name in ("pruned.keras", "model.keras"))
    for ours, theirs in zip(pruned.trainable_variables, trained.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_filters_are_removed_first_and_the_smaller_network_is_fine_tuned(config, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    overrides = ("training.epochs=1", "model.group_lasso=1e-4", "pruning.filters=0.5", "pruning.finetune_epochs=2")
    arguments = ["train", str(config), "--output", str(folder), *settings(*overrides)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    seen = stopped_and_started_again(monkeypatch, "prune", config, folder, *overrides)
    assert seen == [pytest.approx(0.6, abs=0.01)] * 2
    shapes = {
        name: [row.shape for row in rsr_tf.sparsity_table(keras.models.load_model(folder / name))]
        for name in ("model.keras", "pruned.keras")
    }
    assert shapes == {
        "model.keras": [(3, 3, 1, 4), (3, 3, 4, 4), (3, 3, 4, 8), (8, 10)],
        "pruned.keras": [(3, 3, 1, 2), (3, 3, 2, 2), (3, 3, 2, 4), (4, 10)],
    }


@pytest.mark.slow
def test_rounds_of_pruning_and_fine_tuning_go_on_where_they_were(config, tmp_path, monkeypatch):
    """Two rounds of two epochs of 4 steps: pruned before the first epoch, and at the end of the second."""
    folder = tmp_path / "out"
    overrides = ("training.epochs=1", "pruning.schedule=rounds", "pruning.rounds=2", "pruning.finetune_epochs=2")
    arguments = ["train", str(config), "--output", str(folder), *settings(*overrides)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    seen = stopped_and_started_again(monkeypatch, "prune", config, folder, *overrides)
    assert seen == pytest.approx([1 - 0.4**0.5, 0.6, 0.6, 0.6], abs=0.001)
    assert rsr_tf.sparsity(keras.models.load_model(folder / "pruned.keras")) == seen[-1]


def test_frequency_that_leaves_no_time_to_prune_is_one_line(config, tmp_path):
    arguments = ["train", config, "--output", tmp_path / "out", "--set", "pruning.schedule=polynomial"]
    message = stopped_with_one_line(arguments)
    assert "`pruning.frequency` must be at most 6, as pruning lasts from step 3 to 9. Received: 100" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_evaluate_takes_a_saved_model(finished_run):
    result = rsr("evaluate", finished_run[0] / "saved_model", "--set", "evaluation.draws=1")
    assert result.returncode == 0, result.stderr
    scores = json.loads(result.stdout[result.stdout.index("{\n") :])
    assert set(scores) == {"serve", "serve_deterministic"}
    assert scores["serve_deterministic"]["pgd"]["num_images"] == 60


@pytest.fixture
def suite_calls(monkeypatch):
    """What `rsr_tf.evaluation.run_suite` is called with; its own tests are elsewhere, and it takes long."""
    calls = []

    def run_suite(model_fn, images, labels, **options):
        if "reseed" in options:  # the noise must follow it

            def draw():
                options["reseed"](7)
                return model_fn(images[:2]).numpy()

            np.testing.assert_array_equal(draw(), draw())
        logits = {"noise on": model_fn(images[:2])}
        if stripped_fn := options.pop("stripped_fn"):
            logits["noise off"] = stripped_fn(images[:2])
        calls.append({"logits": logits, "images": len(images), **options})
        check = Check("noise on", False, 0.0, 1e-4, "The network is not random.")
        verdict = noisy_verdict([check], suite=options["suite"])
        return {key: value for key, value in verdict.items() if key not in {**HEAD, "versions": None}}

    monkeypatch.setattr("rsr_tf.evaluation.run_suite", run_suite)
    return calls


@pytest.mark.slow
def test_suite_attacks_the_pruned_network_and_leaves_a_verdict(finished_run, suite_calls, tmp_path, caplog):
    config, folder = finished_run[0].parent / "tiny.toml", tmp_path / "out"
    shutil.copytree(finished_run[0], folder)
    with caplog.at_level("INFO"):
        result = CliRunner().invoke(main, ["evaluate", str(config), "--output", str(folder), "--suite", "paper"])
    assert result.exit_code == 0, result.output
    verdict = json.loads((folder / "verdict_paper.json").read_text())
    assert verdict["data"] == "scikit-learn digits"
    assert verdict["sentence"].startswith("At most 40.0%")
    assert "FAILED noise on: The network is not random." in caplog.text
    (call,) = suite_calls
    assert "reseed" in call
    expected = (450, "paper", 0.2, folder / "suites" / "paper")
    assert (call["images"], call["suite"], call["epsilon"], call["state"]) == expected
    assert call["identity"] == hashlib.sha256((folder / "pruned.keras").read_bytes()).hexdigest()
    stripped = rsr_tf.strip(keras.models.load_model(folder / "pruned.keras"))
    test = rsr_tf.data.load("digits").test
    np.testing.assert_allclose(call["logits"]["noise off"], stripped(test.pixels()[:2]), atol=1e-5)
    assert not np.allclose(call["logits"]["noise on"], call["logits"]["noise off"], atol=1e-5)


@pytest.mark.slow
def test_suite_takes_the_folder_of_a_run(finished_run, suite_calls, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(finished_run[0], folder)
    judged(f"{folder}/")
    assert (folder / "verdict_quick.json").exists()
    assert suite_calls[0]["state"] == folder / "suites" / "quick"


@pytest.mark.slow
@pytest.mark.parametrize(("network", "file"), [("trained", "model.keras"), ("undefended", "undefended.keras")])
def test_suite_names_its_files_by_another_network_and_number_of_images(
    finished_run, suite_calls, tmp_path, network, file
):
    config, folder = finished_run[0].parent / "tiny.toml", tmp_path / "out"
    shutil.copytree(finished_run[0], folder)
    arguments = ["evaluate", config, "--output", folder, "--suite", "quick", "--network", network, "--images", "30"]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    verdict = json.loads((folder / f"verdict_quick_{network}_30.json").read_text())
    assert (verdict["network"], verdict["sparsity"]) == (network, 0)
    assert verdict["versions"]["tensorflow"] == tf.__version__
    (call,) = suite_calls
    assert (call["num_images"], call["state"]) == (30, folder / "suites" / f"quick_{network}_30")
    stripped = rsr_tf.strip(keras.models.load_model(folder / file))
    name = "noise off" if network == "trained" else "noise on"  # the baseline has no noise
    pixels = rsr_tf.data.load("digits").test.pixels()[:2]
    np.testing.assert_allclose(call["logits"][name], stripped(pixels), atol=1e-5)


@pytest.mark.parametrize("command", ["sweep", "artefacts", "zoo"])
@pytest.mark.parametrize("option", ["--norm=l2", "--epsilon=0.5"])
def test_command_with_a_fixed_ball_says_why_it_takes_no_other(config, command, option):
    result = CliRunner().invoke(main, [command, str(config), option])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert f"{option.partition('=')[0]} does not go with {command}: " in line
    assert "linf" in line


@pytest.mark.slow
def test_suite_in_l2_is_passed_on_and_named(finished_run, suite_calls, tmp_path):
    config, folder = finished_run[0].parent / "tiny.toml", tmp_path / "out"
    shutil.copytree(finished_run[0], folder)
    options = ["--suite", "quick", "--images", "30", "--norm", "l2", "--epsilon", "3/4"]
    result = CliRunner().invoke(main, ["evaluate", str(config), "--output", str(folder), *options])
    assert result.exit_code == 0, result.output
    assert (folder / "verdict_quick_30_l2_0.75.json").exists()
    assert (suite_calls[0]["norm"], suite_calls[0]["epsilon"]) == ("l2", 0.75)


def test_suite_on_an_undefended_network_that_is_not_trained_is_one_line(config, tmp_path):
    options = ["--set", "undefended.epochs=0", "--suite", "quick", "--network", "undefended"]
    message = stopped_with_one_line(["evaluate", config, "--output", tmp_path / "out", *options])
    assert "this run has no undefended network: `undefended.epochs` is 0" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network", "trained"], "--network and --images require --suite"),
        (["--images", "5"], "--network and --images require --suite"),
        (["--suite", "quick", "--images", "0"], "0 is not in the range x>=1"),
        (["--suite", "quick", "--network", "other"], "'other' is not one of 'pruned', 'trained', 'undefended'"),
        (["--norm", "l2"], "--norm and --epsilon require --suite: without one, the attacks are those of the paper"),
        (["--suite", "quick", "--norm", "l1"], "'l1' is not one of 'linf', 'l2'"),
        (["--suite", "quick", "--epsilon", "0"], "`--epsilon` should be greater than 0. Received: '0'"),
        (["--suite", "quick", "--epsilon", "1/0"], "`--epsilon` expected a number or a fraction"),
        (["--suite", "quick", "--epsilon", "0.1,0.2"], "--epsilon must be one number. Received: 0.1,0.2"),
    ],
)
def test_options_of_a_suite_are_checked(config, options, message):
    result = CliRunner().invoke(main, ["evaluate", str(config), *options])
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.slow
def test_network_of_a_saved_model_is_not_chosen(finished_run):
    result = CliRunner().invoke(
        main, ["evaluate", str(finished_run[0] / "saved_model"), "--suite", "quick", "--network", "trained"]
    )
    assert result.exit_code == 2
    assert "a SavedModel is one network" in result.stderr


@pytest.mark.slow
def test_suite_takes_a_saved_model(finished_run, suite_calls):
    result = CliRunner().invoke(
        main, ["evaluate", str(finished_run[0] / "saved_model"), "--suite", "quick", "--images", "30"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout[result.stdout.index("{\n") :])["sentence"].startswith("At most 40.0%")
    (call,) = suite_calls
    assert call["num_images"] == 30
    assert not np.allclose(call["logits"]["noise on"], call["logits"]["noise off"], atol=1e-5)


def judged(*arguments):
    """Run a suite in this process; its output, log included."""
    result = CliRunner().invoke(main, ["evaluate", *map(str, arguments), "--suite", "quick"])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
@pytest.mark.usefixtures("suite_calls")
def test_suite_ends_with_a_report_that_opens_with_the_verdict(finished_run, tmp_path):
    config, folder = finished_run[0].parent / "tiny.toml", tmp_path / "out"
    shutil.copytree(finished_run[0], folder)
    judged(config, "--output", folder)
    page = (folder / "report.html").read_text()
    assert page.index("Verdict: the pruned network, quick suite") < page.index("Basic attacks and sparsity")
    judged(config, "--output", folder, "--network", "trained")
    assert "the trained network</td>" in (folder / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("suite_calls")
@pytest.mark.parametrize("left", [None, '{"networks": {}}'], ids=["none", "half of it"])
def test_verdict_without_a_whole_evaluation_makes_a_report(finished_run, tmp_path, left):
    config, folder = finished_run[0].parent / "tiny.toml", tmp_path / "out"
    shutil.copytree(finished_run[0], folder)
    (folder / "evaluation.json").unlink()
    if left:
        (folder / "evaluation.json").write_text(left)
    judged(config, "--output", folder)
    page = (folder / "report.html").read_text()
    assert "Verdict: the pruned network" in page
    assert ">Accuracy, training<" in page
    assert "Basic attacks" not in page


@pytest.mark.slow
def test_old_verdict_is_left_out_and_a_broken_one_is_one_line(finished_run, tmp_path, caplog):
    config, folder = finished_run[0].parent / "tiny.toml", tmp_path / "out"
    shutil.copytree(finished_run[0], folder)
    (folder / "verdict_quick.json").write_text('{"claim": {}}')
    arguments = ["report", str(config), "--output", str(folder)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert "verdict_quick.json is of an earlier version and left out" in caplog.text
    assert "Verdict" not in (folder / "report.html").read_text()
    (folder / "verdict_quick.json").write_text("{")
    message = stopped_with_one_line(arguments)
    assert "cannot read" in message
    assert "verdict_quick.json" in message


@pytest.mark.slow
def test_suite_on_a_saved_model_keeps_everything_in_the_output(finished_run, suite_calls, tmp_path):
    served, folder = tmp_path / "served", tmp_path / "out"
    shutil.copytree(finished_run[0] / "saved_model", served)
    judged(served, "--output", folder)
    judged(served, "--output", folder, "--images", 30)
    assert {path.name for path in folder.iterdir()} == {
        *(LOCK_FILE, WRITING, "config.toml", "report.html", "verdict_quick.json", "verdict_quick_30.json")
    }
    verdict = json.loads((folder / "verdict_quick.json").read_text())
    assert (verdict["network"], verdict["scheme"], verdict["model"]) == ("exported", "RSR", "small_cnn")
    assert verdict["sparsity"] == pytest.approx(0.6, abs=0.01)
    assert "Verdict: the exported network, quick suite" in (folder / "report.html").read_text()
    assert [call["state"] for call in suite_calls] == [folder / "suites" / "quick", folder / "suites" / "quick_30"]
    metadata = served / "rsr_tf.json"
    metadata.write_text(metadata.read_text().replace("every call", "each call"))
    judged(served, "--output", tmp_path / "other")
    first, again, changed = (call["identity"] for call in suite_calls)
    assert first == again != changed


@pytest.mark.slow
def test_saved_model_that_was_not_exported_here_is_called_by_its_folder(
    finished_run, suite_calls, config, tmp_path, monkeypatch
):
    monkeypatch.setattr("rsr_tf.experiment.load.read_metadata", lambda path: {})
    judged(finished_run[0] / "saved_model", "--config", config, "--output", tmp_path / "out")
    verdict = json.loads((tmp_path / "out" / "verdict_quick.json").read_text())
    assert (verdict["model"], verdict["scheme"], verdict["sparsity"]) == ("saved_model", "SavedModel", None)
    assert "<title>SavedModel: saved_model on scikit-learn digits" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_output_of_a_saved_model_is_no_folder_of_something_else(finished_run, tmp_path):
    served = finished_run[0] / "saved_model"
    arguments = ["evaluate", served, "--suite", "quick", "--output"]
    assert "is the folder of a training. Choose another" in stopped_with_one_line([*arguments, finished_run[0]])
    (tmp_path / "thesis.tex").touch()
    assert "is not a run folder. Choose another --output" in stopped_with_one_line([*arguments, tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    result = CliRunner().invoke(main, ["evaluate", str(served), "--output", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "--output goes with a config or --suite" in result.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("suite_calls")
def test_every_suite_is_reported_beside_the_others(finished_run, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(finished_run[0], folder)
    for suite in reversed(SUITES):
        result = CliRunner().invoke(main, ["evaluate", str(folder), "--suite", suite])
        assert result.exit_code == 0, result.output
        assert f"Verdict: the pruned network, {suite} suite" in (folder / "report.html").read_text()
    assert CliRunner().invoke(main, ["report", str(folder)]).exit_code == 0


def test_unknown_suite_is_refused(config):
    result = CliRunner().invoke(main, ["evaluate", str(config), "--suite", "long"])
    assert result.exit_code == 2
    assert "'long' is not one of 'quick', 'standard-random', 'paper', 'full'" in result.stderr


# A user's mistakes: one line, exit code 2, nothing left behind


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("attack.epsilonn=0.1", "unknown key `attack.epsilonn`. Expected `epsilon`?"),
        ("training.epochs=many", "`training.epochs` should be a valid integer. Received: 'many'"),
        ("attack.epsilon=8", "`attack.epsilon` must be at most 1 in linf. Received: 8"),
        ("model.lasso=-1", "`model.lasso` should be greater than or equal to 0. Received: -1"),
        ("pruning.sparsity=1.5", "`pruning.sparsity` should be less than or equal to 1. Received: 1.5"),
        (
            "model.name=resnet50",
            "`model.name` should be 'small_cnn', 'resnet20', 'resnet18', 'vgg16', 'wide_resnet' or",
        ),
        (
            "data.name=mnist",
            "`data.name` should be 'digits', 'cifar10', 'npz', 'folder' or 'tfds:NAME'. Received:",
        ),
        ("data.validation", "--set expects section.key=value. Received: data.validation"),
    ],
)
def test_wrong_config_is_one_line(config, tmp_path, override, message):
    assert message in stopped_with_one_line(["run", config, "--set", override, "--output", tmp_path / "out"])
    assert not (tmp_path / "out").exists()


def test_missing_config_is_one_line(tmp_path):
    assert "cannot read the config" in stopped_with_one_line(["run", tmp_path / "none.toml"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.name=cifar10", "data.directory=/nowhere"], "prepared by TFDS. Received: '/nowhere'. To get one:"),
        (["data.name=npz", "data.directory=/nowhere.npz"], "must be the path of an .npz file"),
        (["training.batch_size=100000"], "`batch_size` must be at most the 1212 training images. Received: 100000"),
        (["pruning.filters=0.5", "pruning.exclude=['conv*']"], "`model` must have filters that can be removed."),
    ],
)
def test_what_does_not_go_together_is_one_line_before_training(config, tmp_path, overrides, message):
    options = [argument for override in overrides for argument in ("--set", override)]
    assert message in stopped_with_one_line(["run", config, *options, "--output", tmp_path / "out"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("pixels", "label", "message"),
    [(255.0, 0, "`images` must be in [0, 1]. Received: pixels from 0 to 255"), (1.0, -1, "labels must be in [0, ")],
)
def test_wrong_data_is_one_line(config, tmp_path, pixels, label, message):
    x, y = np.zeros((40, 8, 8, 1), "float32"), np.arange(40) % 4
    x[:, 0], y[y == 0] = pixels, label
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    options = [
        "--set",
        "data.name=npz",
        "--set",
        f"data.directory={tmp_path}/own.npz",
        "--set",
        "training.batch_size=8",
    ]
    assert message in stopped_with_one_line(["run", config, *options, "--output", tmp_path / "out"])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_run_folder_of_another_config_is_one_line(finished_run):
    folder, _ = finished_run
    message = stopped_with_one_line(
        ["run", folder.parent / "tiny.toml", "--set", "model.lasso=0.5", "--output", folder]
    )
    assert "belongs to another config: `model.lasso` is 0.0001 there and 0.5 here" in message


def test_run_folder_that_another_process_just_made_is_one_line(config, tmp_path):
    """Both found no folder when they looked; the other was faster to claim it."""
    folder = tmp_path / "out"
    folder.mkdir()
    with FolderLock(folder):
        message = stopped_with_one_line(["train", config, "--output", folder])
    assert f"another `rsr` process is using the folder {folder}" in message
    assert [path.name for path in folder.iterdir()] == [LOCK_FILE]


def test_stage_without_what_it_needs_is_one_line(config, tmp_path):
    assert "model.keras not found. Run `rsr train`" in stopped_with_one_line(
        ["prune", config, "--output", tmp_path / "out"]
    )
    assert "no results in" in stopped_with_one_line(["report", config, "--output", tmp_path / "out"])


@pytest.mark.slow
def test_layers_are_excluded_from_pruning_and_no_layer_goes_beyond_the_cap(finished_run, config, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "model.keras").write_bytes((finished_run[0] / "model.keras").read_bytes())
    written = (finished_run[0] / "config.toml").read_text().replace("exclude = []", 'exclude = ["first", "Dense"]')
    (folder / "config.toml").write_text(written.replace("[pruning]", "[pruning]\nmax_layer_sparsity = 0.7"))
    rules = ["--set", 'pruning.exclude=["first", "Dense"]', "--set", "pruning.max_layer_sparsity=0.7"]
    arguments = ["prune", config, "--output", folder, *rules]
    assert CliRunner().invoke(main, [str(argument) for argument in arguments]).exit_code == 0
    table = rsr_tf.sparsity_table(keras.models.load_model(folder / "pruned.keras"))
    first, *middle, last = (row.sparsity for row in table)
    assert (first, last) == (0, 0)
    assert max(middle) <= 0.7
    assert np.mean(middle) > 0.4


def test_exclusion_of_no_layer_is_one_line_before_training(config, tmp_path):
    arguments = ["train", config, "--output", tmp_path / "out", "--set", 'pruning.exclude=["no_such_layer"]']
    assert "`exclude` must name layers of the model" in stopped_with_one_line(arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_run_folder_in_place_of_its_config_goes_on_there(finished_run, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(finished_run[0], folder)
    (folder / "report.html").unlink()
    result = CliRunner().invoke(main, ["report", str(folder)])
    assert result.exit_code == 0, result.output
    assert (folder / "report.html").exists()
    assert "belongs to another config: `seed` is 0 there and 1 here" in stopped_with_one_line(
        ["report", folder, "--set", "seed=1"]
    )


@pytest.mark.slow
def test_unreadable_model_is_one_line(finished_run, config, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "config.toml").write_text((finished_run[0] / "config.toml").read_text())
    (folder / "model.keras").write_text("not a model")
    assert "cannot read the model" in stopped_with_one_line(["prune", config, "--output", folder])
    (folder / "model.keras").unlink()
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "train-0003.keras").write_text("not a checkpoint")
    assert "cannot read the checkpoint" in stopped_with_one_line(["train", config, "--output", folder])


@pytest.mark.slow
def test_loss_that_is_not_finite_stops_the_run(config, tmp_path):
    folder = tmp_path / "out"
    arguments = ["train", config, "--output", folder, "--set", "training.schedule=constant"]
    message = stopped_with_one_line([*arguments, "--set", "training.learning_rate=1e30"])
    assert "training stopped: the loss became" in message
    assert not (folder / "model.keras").exists()


@pytest.mark.slow
def test_full_disk_is_one_line_and_the_previous_checkpoint_survives(finished_run, config, tmp_path):
    """A limit on the size of files stands in for the disk: the state of the first epoch fits, nothing after it."""
    source, _ = finished_run
    folder = tmp_path / "out"
    command = "ulimit -f 1; exec " + " ".join(
        [sys.executable, "-m", "rsr_tf.cli", "train", str(config), "--output", str(folder)]
    )
    folder.mkdir()
    (folder / "config.toml").write_text((source / "config.toml").read_text())
    shutil.copytree(source / "checkpoints", folder / "checkpoints")
    shutil.copy(source / "history.csv", folder)
    kept = (folder / "checkpoints" / "train-0003.keras").read_bytes()
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "cannot write to" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert (folder / "checkpoints" / "train-0003.keras").read_bytes() == kept
    assert [path.name for path in folder.rglob("partial-*")] == []
