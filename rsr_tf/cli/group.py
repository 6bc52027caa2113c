"""The group of commands `rsr`, the options that several commands share, and how a command opens a run."""

import contextlib
import functools
import importlib
import logging
import os
import sys

import click

from rsr_tf import __version__
from rsr_tf.cli.stopping import Stopped, describe_stop, stoppable
from rsr_tf.cli.terminal import NORMAL, QUIET, VERBOSE, reporting
from rsr_tf.errors import UserError, one_line

log = logging.getLogger(__name__)

IMPORTS = "rsr_tf.imports"
"""Key of the modules to import in `click.Context.meta`."""

LEVEL = "rsr_tf.level"
"""Where the context of a command keeps what it logs: one of `QUIET`, `NORMAL` and `VERBOSE`."""
RESUMES = "rsr_tf.resumes"
"""Where the context of a command keeps whether the same command resumes it."""
FOLDER = click.Path(file_okay=False)
"""Type of an option that names a folder, which may be absent."""


def level_option(long, short, level, help_text):
    """Return an option that sets what is logged; before or after the name of the command.

    Args:
        long, short: its names.
        level: what it sets.
        help_text: string.
    """

    def choose(context, parameter, chosen):
        if chosen and context.meta.setdefault(LEVEL, level) != level:
            raise click.UsageError("--quiet and --verbose exclude each other")

    return click.Option([short, long], is_flag=True, expose_value=False, callback=choose, help=help_text)


def level_options():
    """Return the options `--quiet` and `--verbose` that every command has."""
    return [
        level_option("--quiet", "-q", QUIET, "Print warnings, errors and results only."),
        level_option("--verbose", "-v", VERBOSE, "Print more, with the time, and where an error comes from."),
    ]


class Command(click.Command):
    """A command with the options that every command has.

    Args:
        **attributes: as for `click.Command`.
    """

    def __init__(self, *arguments, **attributes):
        super().__init__(*arguments, **attributes)
        self.params += level_options()


class Group(click.Group):
    """A group of commands that prints an error of the user or of a file on one line and exits with code 2.

    An interrupt exits with code 130, a request to terminate with 143, and a line that says where the work stands.
    """

    command_class = Command

    def invoke(self, context):
        """Run a command."""
        try:
            with stoppable():
                return super().invoke(context)
        except click.UsageError as error:
            name = error.ctx.command_path if error.ctx else "rsr"
            click.echo(f"{name}: {one_line(error.format_message()).rstrip('.')}. See {name} --help", err=True)
            context.exit(2)
        except (UserError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise  # click ends quietly
            if context.meta.get(LEVEL) == VERBOSE:
                log.error("", exc_info=True)
            click.echo(f"rsr: {one_line(error)}", err=True)
            context.exit(2)
        except Stopped as stop:
            click.echo(f"rsr: {describe_stop(stop.where, resumes=context.meta.get(RESUMES, True))}", err=True)
            context.exit(stop.exit_code)


def _note_imports(context, parameter, names):
    context.meta.setdefault(IMPORTS, []).extend(names)


import_option = click.option(
    "--import",
    multiple=True,
    metavar="MODULE",
    expose_value=False,
    callback=_note_imports,
    help="Import a module with layers of your own before a network is loaded.",
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rsr")
@import_option
def main():
    """Train robust, sparse image classifiers; prune, attack, export and report them.

    CONFIG is a TOML file, the folder of a run, or the name of a packaged config such as quickstart or
    cifar10/resnet20_rsr. A run can be stopped at any moment; the same command resumes it.
    """


main.params += level_options()


def set_option(function):
    """Add the options that every command with networks has: `--set` and `--import`."""
    option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a config key.")
    return option(import_option(function))


def images_option(default):
    """Return the option `--images`.

    Args:
        default: integer, its default.
    """
    number = click.IntRange(min=1)
    return click.option(
        "--images", type=number, default=default, show_default=True, help="Number of test images, drawn by the seed."
    )


def stage_options(function, output=FOLDER):
    """Add the argument CONFIG and the options of every stage to a command; `output` is the type of `--output`."""
    option = click.option(
        "--output", type=output, help="Run folder [runs/NAME of the config, or CONFIG if it is a folder]."
    )
    return click.argument("config", type=click.Path())(set_option(option(function)))


@contextlib.contextmanager
def open_experiment(config, overrides, output, *, trains=False, shared=False):
    """Open the run of a config.

    Args:
        config, overrides, output: of the command line.
        trains: whether the command trains, on the devices and with the other processes that the config asks for.
            Defaults to `False`.
        shared: whether other processes may work in the run folder too. Defaults to `False`.

    Yields:
        An `Experiment`.
    """
    from rsr_tf.config import load_config, run_folder_of

    settings = load_config(config, overrides)
    start_tensorflow(prepare=functools.partial(_join_workers, settings) if trains else None)
    from rsr_tf.experiment import Experiment

    with Experiment(settings, output or run_folder_of(config), shared=shared) as experiment:
        yield experiment


def _join_workers(settings):
    """Meet the other processes of a training, which TensorFlow wants before anything else; the chief alone reports."""
    from rsr_tf.experiment.workers import join

    if not join(settings):
        logging.getLogger("rsr_tf").setLevel(logging.WARNING)


def start_tensorflow(log_to=None, prepare=None):
    """Import TensorFlow without its notices about the hardware, and log version and devices in one line.

    From here to the end of the command, long work is shown.

    Args:
        log_to: the text file for the log. Defaults to standard output.
        prepare: function without arguments to call before TensorFlow looks at the devices. Defaults to `None`.
    """
    context = click.get_current_context()
    context.with_resource(reporting(context.meta.get(LEVEL, NORMAL), log_to))
    # one process of several prints a page about the death of another, which takes one line
    in_cluster = prepare and any(os.environ.get(name) for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS"))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if in_cluster else "2")
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # C++ prints the notices before any setting is read
    try:
        import tensorflow as tf

        for name in ("absl", "tensorflow"):
            logging.getLogger(name).setLevel(logging.ERROR)
        if prepare:
            prepare()
        devices = tf.config.list_logical_devices()
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
    log.info("TensorFlow %s on %s", tf.__version__, ", ".join(device.name for device in devices))
    _import_modules(click.get_current_context().meta.get(IMPORTS, ()))


def _import_modules(names):
    """Import modules of the user, from the folder of the command, too, as `python -m` does.

    Args:
        names: list of strings. Only the command line has them: a config, which may be somebody else's, cannot run code.

    Raises:
        UserError: if a module is missing or raises an error.
    """
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # it is the user's code, maybe a script
            raise UserError(f"--import {name}: {type(error).__name__}: {error}") from error
