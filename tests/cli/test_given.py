"""Commands with a `.keras` file that no run made: what they refuse, and one that works."""

import json

import pytest
from click.testing import CliRunner
from digit_networks import linear_network

from rsr_tf.cli import main


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    linear_network().save("my.keras")
    return "my.keras"


def one_line(*arguments):
    """The message of a command that must fail with one line and exit code 2."""
    result = CliRunner().invoke(main, list(arguments), prog_name="rsr")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
    return result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "none.keras"], "none.keras: no such file"),
        (["evaluate", "my.keras"], "its data is unknown: add --data"),
        (["artefacts", "my.keras", "--data-directory", "x"], "its data is unknown: add --data"),
        (["evaluate", "my.keras", "--data", "digits", "--network", "pruned", "--suite", "quick"], "do not go with"),
        (["evaluate", "my.keras", "--data", "digits", "--output", "x"], "--output goes with --suite"),
        (["evaluate", "my.keras", "--data", "mnist"], "--data: `data.name` should be"),
        (["evaluate", "my.keras", "--data", "digits", "--set", "model.width=2"], "--set model.width=2: a network that"),
        (["evaluate", "quickstart", "--data", "digits"], "--data goes with a .keras file that no run made"),
        (["artefacts", "quickstart", "--data", "digits"], "--data goes with a .keras file that no run made"),
        (["zoo", "my.keras", "--data-directory", "x"], "--data-directory goes with --data"),
        (["zoo", "my.keras"], "my.keras is neither a run folder"),
        (["transfer", "my.keras", "--data", "mnist"], "--data: `data.name` should be"),
        (["prune", "my.keras"], "a .keras file takes --sparsity and --output"),
        (["prune", "my.keras", "--sparsity", "2", "--output", "p.keras"], "`--sparsity` should be less than or equal"),
        (["prune", "my.keras", "--sparsity", "0.1,0.2", "--output", "p.keras"], "--sparsity must be one number"),
        (["prune", "my.keras", "--sparsity", "0.5", "--output", "p.h5"], "must be a new file that ends with .keras"),
        (["prune", "my.keras", "--sparsity", "0.5", "--output", "my.keras"], "must be a new file that ends with"),
        (["prune", "quickstart", "--sparsity", "0.5"], "use --set pruning.sparsity=SHARE"),
        (["export", "my.keras", "--set", "seed=1"], "--set does not go with a .keras file"),
        (["export", "my.keras", "--output", "my.keras"], "Directory 'my.keras' is a file"),
        (["export", "my.keras", "--output", "."], "--output must be a new folder. Received: ."),
        (["run", "my.keras"], "must be a config or run folder here. Received: the network my.keras"),
        (["evaluate", "my.h5"], "must be a config or run folder here. Received: the network my.h5"),
    ],
)
@pytest.mark.usefixtures("file")
def test_what_does_not_go_together_is_one_line(arguments, message, tmp_path):
    assert message in one_line(*arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["my.keras"]


def test_file_of_a_run_is_one_line(file, tmp_path):
    (tmp_path / "config.toml").touch()
    assert "my.keras belongs to the run .: give that folder instead" in one_line("evaluate", file, "--data", "digits")


@pytest.mark.slow
def test_scores_are_printed_as_json(file):
    quick = ("evaluation.images=40", "evaluation.draws=1", "evaluation.epsilon=0.05", "evaluation.step_size=0.02")
    options = [argument for override in quick for argument in ("--set", override)]
    result = CliRunner().invoke(main, ["evaluate", file, "--data", "digits", *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["noise_off"]["clean"]["num_images"] == 40
