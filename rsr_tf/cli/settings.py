"""Commands about configs: `rsr config` and `rsr init`."""

from pathlib import Path

import click

from rsr_tf.cli.group import main
from rsr_tf.errors import UserError, user_errors


@main.command(short_help="List the keys of a config, or check one.")
@click.argument("key", required=False)
@click.option("--check", "file", type=click.Path(), help="Check a config file, or that of a run folder, instead.")
def config(key, file):
    """List the keys of a config with their defaults and what they mean.

    KEY is one of them, or a section.

    \b
    Examples:
      rsr config
      rsr config pruning
      rsr config training.schedule
      rsr config --check my.toml
    """
    from rsr_tf.config import load_config
    from rsr_tf.config.reference import text_table

    if key and file:
        raise click.UsageError("--check takes a file and goes without KEY")
    if file:
        found = load_config(file)
        click.echo(f"{file} is a valid config: {found.model.name} on {found.data.name}")
        return
    with user_errors():
        click.echo(text_table(key))


@main.command(short_help="Write a config to begin with.")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--data", metavar="NAME", help="Value of data.name [digits].")
@click.option("--data-directory", metavar="PATH", help="Value of data.directory.")
@click.option("--network", metavar="NAME", help="Value of model.name [small_cnn or resnet20, by the data].")
def init(file, data, data_directory, network):
    """Write a config with the most useful keys, and a comment at each.

    FILE must not exist yet.

    \b
    Examples:
      rsr init my.toml
      rsr init my.toml --data npz --data-directory my.npz --network resnet18
    """
    from rsr_tf.config.template import template

    text = template(file, data=data, directory=data_directory, network=network)
    try:
        with Path(file).open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError as error:
        raise UserError(f"{file} exists already. Choose another FILE, or remove it") from error
    click.echo(f"{file} written. Run it with: rsr run {file}")
