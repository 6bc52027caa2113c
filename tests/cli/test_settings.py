"""`rsr config` and `rsr init`."""

import pytest
from click.testing import CliRunner
from helpers import MINIMAL

from rsr_tf.cli import main
from rsr_tf.config import load_config


def rsr(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="rsr")


def one_line(*arguments):
    """The message of a command that must fail with one line and exit code 2."""
    result = rsr(*arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
    return result.stderr


def test_config_lists_all_keys_or_those_of_a_section():
    assert "training.epochs" in rsr("config").stdout
    assert "pruning.sparsity" not in rsr("config", "training").stdout


def test_unknown_key_is_one_line():
    assert "unknown key `trainin`. Expected one such as training" in one_line("config", "trainin")


def test_config_checks_a_file(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text(MINIMAL)
    assert rsr("config", "--check", file).stdout == f"{file} is a valid config: small_cnn on digits\n"
    file.write_text(MINIMAL + "training.epochs = 0\n")
    assert f"{file}: `training.epochs` should be greater than or equal to 1." in one_line("config", "--check", file)
    assert "no such file" in one_line("config", "--check", tmp_path / "other.toml")
    assert "--check takes a file and goes without KEY" in one_line("config", "seed", "--check", file)


def test_init_writes_a_config_that_can_be_run(tmp_path):
    file = tmp_path / "my.toml"
    result = rsr("init", file, "--data", "cifar10", "--data-directory", "/data", "--network", "resnet18")
    assert (result.exit_code, result.stdout) == (0, f"{file} written. Run it with: rsr run {file}\n")
    config = load_config(file)
    assert (config.data.name, config.data.directory, config.model.name) == ("cifar10", "/data", "resnet18")


def test_init_overwrites_nothing(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("mine")
    assert f"{file} exists already" in one_line("init", file)
    assert file.read_text() == "mine"


@pytest.mark.parametrize(("option", "key"), [("--data", "data.name"), ("--network", "model.name")])
def test_init_with_an_unknown_name_is_one_line_and_writes_nothing(tmp_path, option, key):
    assert f"`{key}` should be" in one_line("init", tmp_path / "my.toml", option, "x")
    assert list(tmp_path.iterdir()) == []


def test_init_into_a_folder_that_does_not_exist_is_one_line(tmp_path):
    assert "No such file or directory" in one_line("init", tmp_path / "none" / "my.toml")
