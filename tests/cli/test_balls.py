import click
import pytest
from click.testing import CliRunner

from rsr_tf.cli.balls import ball_options, refuse_ball


@click.command()
@ball_options("of the suite")
def attack(norm, epsilon):
    click.echo(f"{norm} {epsilon}")


@click.command(name="zoo")
@refuse_ball("its images may have any distance")
def fixed():
    click.echo("attacked")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], "None None"), (["--norm", "l2", "--epsilon", "3/4"], "l2 0.75"), (["--epsilon", "8/255"], f"None {8 / 255}")],
)
def test_ball_is_read_as_a_name_and_a_number(arguments, expected):
    assert CliRunner().invoke(attack, arguments).output == f"{expected}\n"


@pytest.mark.parametrize("option", ["--norm", "--epsilon"])
def test_command_with_a_fixed_ball_says_why_it_has_no_choice(option):
    result = CliRunner().invoke(fixed, [option, "1"])
    assert result.exit_code == 2
    assert f"{option} does not go with zoo: its images may have any distance" in result.output
    assert CliRunner().invoke(fixed).output == "attacked\n"
