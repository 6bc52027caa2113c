"""Options and steps of the commands that also take a `.keras` file that no run made."""

from pathlib import Path

import click

from rsr_tf.errors import UserError


def data_options(function):
    """Add the options that tell the data of a `.keras` file that no run made."""
    name = click.option("--data", metavar="NAME", help="Data of a .keras file that no run made: a value of data.name.")
    directory = click.option(
        "--data-directory", metavar="PATH", help="Its folder or file: the value of data.directory."
    )
    return name(directory(function))


def is_keras_file(path):
    """Return whether a command is given a `.keras` file rather than a config."""
    return Path(path).suffix == ".keras"


def check_given(path, *, needs_data=False, data=None, data_directory=None):
    """Check that a `.keras` file is one that no run made, and that its data is known.

    Args:
        path: path of the file.
        needs_data: whether the command needs data. Defaults to `False`.
        data, data_directory: values of the options.

    Raises:
        UserError: if it is not there or belongs to a run, or the data is missing.
    """
    from rsr_tf.config import CONFIG_FILE

    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    if (Path(path).parent / CONFIG_FILE).exists():
        raise UserError(f"{path} belongs to the run {Path(path).parent}: give that folder instead")
    if needs_data and not data:
        raise UserError(f"{path} was made by no run, so its data is unknown: add --data, such as --data cifar10")
    if data_directory and not data:
        raise UserError("--data-directory goes with --data")


def refuse_data(data, data_directory):
    """Check that the data of a network that knows its own is not given again.

    Raises:
        click.UsageError: if it is.
    """
    if data or data_directory:
        raise click.UsageError("--data goes with a .keras file that no run made")


def given_settings(data, data_directory, overrides):
    """Return the config of `.keras` files that no run made, or `None` without `--data`.

    Raises:
        UserError: for a wrong value.
    """
    from rsr_tf.experiment import given_config

    if data_directory and not data:
        raise UserError("--data-directory goes with --data")
    return given_config(data, data_directory, overrides) if data else None
