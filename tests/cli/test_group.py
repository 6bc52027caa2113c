"""What all commands have in common: how much they write, and how they say that something is wrong."""

import logging

import click
import pytest
from click.testing import CliRunner

from rsr_tf.cli import main
from rsr_tf.cli.group import LEVEL, Group, level_options
from rsr_tf.cli.terminal import QUIET, VERBOSE
from rsr_tf.errors import UserError


@pytest.fixture
def group():
    """A group whose command prints its level, or fails."""

    @click.group(cls=Group)
    def group():
        pass

    group.params += level_options()

    @group.command()
    @click.option("--fail", is_flag=True)
    @click.pass_context
    def work(context, fail):
        if fail:
            raise UserError("two\nlines")
        click.echo(context.meta.get(LEVEL))

    return group


@pytest.mark.parametrize("name", main.commands)
@pytest.mark.parametrize("option", ["--quiet", "--verbose"])
def test_every_command_has_both_options(name, option):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert f"-{option[2]}, {option}" in result.output


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        (["work"], None),
        (["-q", "work"], QUIET),
        (["work", "--quiet"], QUIET),
        (["-v", "work", "-v"], VERBOSE),
        (["work", "--verbose"], VERBOSE),
    ],
)
def test_level_is_set_before_or_after_the_command(group, arguments, level):
    assert CliRunner().invoke(group, arguments).output == f"{'' if level is None else level}\n"


@pytest.mark.parametrize("arguments", [["-q", "work", "-v"], ["work", "-v", "-q"]])
def test_quiet_and_verbose_exclude_each_other(group, arguments):
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 2
    assert result.stderr == "group work: --quiet and --verbose exclude each other. See group work --help\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wrok"], "rsr: No such command 'wrok'."),
        (["run"], "rsr run: Missing argument 'CONFIG'."),
        (["evaluate", "x", "--images", "0"], "rsr evaluate: Invalid value for '--images': 0 is not in the range x>=1."),
        (["report", "x", "--loud"], "rsr report: No such option"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message):
    result = CliRunner().invoke(main, arguments, prog_name="rsr")
    assert result.exit_code == 2
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1


def test_error_of_the_user_is_one_line(group):
    result = CliRunner().invoke(group, ["work", "--fail"])
    assert (result.exit_code, result.stderr) == (2, "rsr: two lines\n")


def test_verbose_says_where_an_error_comes_from(group, caplog):
    with caplog.at_level(logging.DEBUG, "rsr_tf"):
        result = CliRunner().invoke(group, ["work", "--fail", "-v"])
    assert result.exit_code == 2
    assert "Traceback" in caplog.text
    assert "UserError" in caplog.text


@pytest.mark.parametrize("name", main.commands)
def test_help_has_examples_that_can_be_typed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, found, examples = CliRunner().invoke(main, [name, "--help"]).output.partition("  Examples:\n")
    lines = [line.split() for line in examples.split("\n\n")[0].splitlines()]
    assert found
    assert all(line[:2] == ["rsr", name] for line in lines)
    for line in lines:
        main.commands[name].make_context(name, line[2:])  # or a UsageError
