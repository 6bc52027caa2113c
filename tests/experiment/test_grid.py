"""`rsr grid` on small networks for digits: what is done, what is kept, what several processes share."""

import dataclasses
import json
import shutil
import subprocess
import sys
from unittest.mock import MagicMock

import pytest
from click.testing import CliRunner

from rsr_tf import experiment as experiments
from rsr_tf.cli import main
from rsr_tf.config import UserError, load_grid
from rsr_tf.experiment import grid as grids
from rsr_tf.experiment import run_grid
from rsr_tf.experiment.grid import plan_runs
from rsr_tf.experiment.grid_results import collect
from rsr_tf.experiment.result_schema import write_result
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.files import FolderLock

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FILE = """
name = "tiny"
title = "A <tiny> grid"
axes = ["scheme"]
seeds = [0, 1]
[config]
data.name = "digits"
model = {name = "small_cnn", width = 0.125}
attack = {epsilon = 0.2, step_size = 0.1, steps = 1}
training = {epochs = 1, batch_size = 256, learning_rate = 0.05}
evaluation = {epsilon = 0.2, step_size = 0.1, steps = 1, images = 40, draws = 1, batch_size = 40}
[axis.scheme.pgd]
label = "PGD"
config = {model = {noise = "none", lasso = 0}}
[axis.scheme.rsr]
label = "RSR"
[reference.rsr]
trained = {clean = 100.0}
[measure]
columns = ["clean", "pgd", "sparsity", "parameters"]
weights = ["pgd", "rsr"]
sparsities = [0.5]
swept = ["rsr"]
transfer = ["pgd", "rsr"]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "tiny.toml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def root(file):
    """The folder of a finished grid."""
    result = CliRunner().invoke(main, ["grid", str(file), "--output", str(file.parent / "out")])
    assert result.exit_code == 0, result.output
    return file.parent / "out"


def read(root):
    return json.loads((root / "tiny.json").read_text())


def test_every_run_has_a_folder_and_the_results_are_in_four_forms(root):
    names = ["pgd-seed0", "pgd-seed1", "rsr-seed0", "rsr-seed1"]
    assert sorted(path.name for path in root.glob("*-seed*")) == names
    assert all((root / name / "report.html").exists() for name in names)
    assert {path.suffix for path in root.glob("tiny.*")} == {".json", ".csv", ".md", ".html"}


def test_report_of_a_run_links_to_its_grid(root):
    assert all('href="../tiny.html"' in page.read_text() for page in root.glob("*-seed*/report.html"))


def test_row_is_the_mean_over_the_runs_of_a_cell(root):
    row = next(row for row in read(root)["rows"] if (row["cell"], row["network"]) == ("rsr", "pruned"))
    runs = []
    for seed in (0, 1):
        entry = json.loads((root / f"rsr-seed{seed}" / "evaluation.json").read_text())["networks"]["pruned"]
        runs.append((entry["scores"]["noise_on"]["pgd"]["mean"], entry["sparsity"], entry["weights"]))
    assert row["values"]["pgd"]["mean"] == pytest.approx((runs[0][0] + runs[1][0]) / 2)
    assert row["values"]["sparsity"]["mean"] == pytest.approx((runs[0][1] + runs[1][1]) / 2)
    assert row["values"]["parameters"]["runs"][0] == pytest.approx(runs[0][2] * (1 - runs[0][1]))


def test_run_without_a_verdict_that_the_grid_asks_for_is_not_done(root, tmp_path):
    judged = tmp_path / "tiny.toml"
    judged.write_text(FILE.replace("[measure]", '[measure]\nsuite = "quick"'))
    missing = ["pgd, seed 0", "pgd, seed 1", "rsr, seed 0", "rsr, seed 1"]
    assert [collect(*load_grid(path), root)["missing"] for path in (judged, root.parent / "tiny.toml")] == [missing, []]


def test_sweep_weights_and_transfer_are_those_asked_for(root):
    content = read(root)
    assert [point["value"] for point in content["curves"]["rsr"]["points"]] == [0.5]
    assert list(content["curves"]) == ["rsr"]
    assert sum(content["weights"]["pgd"]["histogram"]["counts"]) == 3 * 3 * 4 * 4  # the second convolution
    assert list(content["transfer"]["accuracy"]) == [
        "clean",
        "pgd-seed0",
        "rsr-seed0, noise on",
        "rsr-seed0, noise off",
    ]


def test_page_escapes_its_title_and_shows_the_reference(root):
    page = (root / "tiny.html").read_text()
    assert "A &lt;tiny&gt; grid" in page
    assert "paper 100.0" in page
    assert "Not done" not in page


def test_finished_grid_is_not_trained_again(root, file, monkeypatch):
    monkeypatch.setattr(grids.Run, "work", lambda run: pytest.fail(f"{run.title} was done again"))
    grid, cells = load_grid(file)
    assert run_grid(grid, cells, root) == root / "tiny.html"


def test_run_of_another_config_is_no_result_of_this_one(root, file, tmp_path, monkeypatch):
    monkeypatch.setattr(grids.Run, "work", lambda run: None)
    monkeypatch.setattr(experiments.grid, "transfer", lambda *arguments, **options: None)
    shutil.copytree(root, tmp_path / "out")
    with pytest.raises(UserError, match=r"every run of the grid failed: the run folder .* belongs to another config"):
        run_grid(*load_grid(file, None, ["training.epochs=2"]), tmp_path / "out")


def test_results_of_another_config_are_not_shown(root, file, tmp_path, monkeypatch):
    """Of two runs in one folder, one has the config of the grid; the other counts as failed."""
    monkeypatch.setattr(grids.Run, "work", lambda run: None)
    monkeypatch.setattr(experiments.grid, "transfer", lambda *arguments, **options: None)
    shutil.copytree(root, tmp_path / "out")
    config = tmp_path / "out" / "rsr-seed1" / "config.toml"
    config.write_text(config.read_text().replace("epochs = 1\n", "epochs = 5\n"))
    run_grid(*load_grid(file), tmp_path / "out")
    content = read(tmp_path / "out")
    assert list(content["failures"]) == ["rsr, seed 1"]
    assert [row["seeds"] for row in content["rows"] if row["cell"] == "rsr"] == [[0], [0]]


def test_run_that_fails_is_noted_and_the_others_go_on(file, tmp_path, monkeypatch):
    done = []

    def work(run):
        if run.title == "pgd, seed 0":
            raise UserError("the loss became nan")
        done.append(run.title)

    monkeypatch.setattr(grids.Run, "work", work)
    monkeypatch.setattr(experiments.grid, "transfer", lambda *arguments, **options: None)
    grid, cells = load_grid(file)
    run_grid(grid, cells, tmp_path)
    assert done == ["rsr, seed 0", "pgd, seed 1", "rsr, seed 1"]
    assert read(tmp_path)["failures"] == {"pgd, seed 0": "the loss became nan"}
    assert "the loss became nan" in (tmp_path / "tiny.html").read_text()


def test_grid_without_any_success_is_an_error(file, tmp_path, monkeypatch):
    def work(run):
        raise UserError("no data")

    monkeypatch.setattr(grids.Run, "work", work)
    grid, cells = load_grid(file)
    with pytest.raises(UserError, match="every run of the grid failed: no data"):
        run_grid(grid, cells, tmp_path)


def test_run_that_another_process_has_is_left_to_it(file, tmp_path, monkeypatch):
    """The others are done first; then it is waited for."""
    grid, cells = load_grid(file)
    busy, done, waits = plan_runs(grid, cells, tmp_path)[0], [], []
    code = f"""
import sys
from rsr_tf.files import FolderLock
with FolderLock({str(busy.folder)!r}):
    print("locked", flush=True)
    sys.stdin.readline()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "locked\n"

    def work(run):
        with grids.user_errors(), FolderLock(run.folder):
            done.append(run.title)

    def wait(seconds):
        waits.append(list(done))
        other.communicate("\n")

    monkeypatch.setattr(grids.Run, "work", work)
    monkeypatch.setattr(grids.time, "sleep", wait)
    monkeypatch.setattr(experiments.grid, "transfer", lambda *arguments, **options: None)
    run_grid(grid, cells, tmp_path)
    assert waits == [["rsr, seed 0", "pgd, seed 1", "rsr, seed 1"]]
    assert done[-1] == "pgd, seed 0"


@pytest.mark.parametrize(("changes", "expected"), [({}, []), ({"certificate_draws": 60}, [(20, 60)])])
def test_certificates_of_other_settings_are_made_again(file, tmp_path, monkeypatch, changes, expected):
    run = dataclasses.replace(
        plan_runs(*load_grid(file), tmp_path)[0], sparsities=(), certified_images=20, certificate_draws=50
    )
    experiment, made = MagicMock(folder=RunFolder(run.folder)), []
    experiment.__enter__.return_value = experiment
    run.folder.mkdir()
    write_result(experiment.folder.certificates, {"num_images": 20, "draws": 50})
    monkeypatch.setattr(RunFolder, "read_evaluation", lambda folder: {"examples": {}})
    monkeypatch.setattr(grids, "Experiment", lambda *arguments: experiment)
    monkeypatch.setattr(grids, "write_certificates", lambda _, num_images, draws: made.append((num_images, draws)))
    assert run.is_done()
    run = dataclasses.replace(run, **changes)
    assert run.is_done() == (not changes)
    run.work()
    assert made == expected
