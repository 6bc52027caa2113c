"""The `rsr` command: options only, no logic. TensorFlow and NumPy are imported only when a command needs them."""

import contextlib
import json
import logging
import os
import sys
from pathlib import Path

import click

from rsr_tf import __version__
from rsr_tf.choices import NETWORKS, SUITES, ZOO_NOISES, ZOO_TIERS
from rsr_tf.errors import UserError, one_line


class Group(click.Group):
    """A group of commands that prints an error of the user or of a file on one line and exits with code 2."""

    def invoke(self, context):
        """Run a command."""
        try:
            return super().invoke(context)
        except (UserError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise  # click ends quietly
            click.echo(f"rsr: {one_line(error)}", err=True)
            context.exit(2)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rsr")
def main():
    """Train robust, sparse image classifiers; prune, attack, export and report them.

    CONFIG is a TOML file, the folder of a run, or the name of a packaged config such as quickstart or
    cifar10/resnet20_rsr. A run can be stopped at any moment; the same command resumes it.
    """


set_option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a config key.")
output_option = click.option(
    "--output",
    type=click.Path(file_okay=False),
    help="Run folder [runs/NAME of the config, or CONFIG if it is a folder].",
)


def images_option(default):
    """Return the option `--images`.

    Args:
        default: integer, its default.
    """
    number = click.IntRange(min=1)
    return click.option(
        "--images", type=number, default=default, show_default=True, help="Number of test images, drawn by the seed."
    )


def stage_options(function):
    """Add the argument CONFIG and the options of every stage to a command."""
    return click.argument("config", type=click.Path())(set_option(output_option(function)))


@main.command()
@stage_options
def run(config, overrides, output):
    """Run all stages: train, prune, evaluate, export, report."""
    _run("run", config, overrides, output)


@main.command(short_help="Train the network, and its undefended baseline.")
@stage_options
def train(config, overrides, output):
    """Train the network, and its undefended baseline if the config has one."""
    _run("train", config, overrides, output)


@main.command(short_help="Prune the trained network.")
@stage_options
def prune(config, overrides, output):
    """Prune the trained network, and fine-tune it if the config has epochs for that."""
    _run("prune", config, overrides, output)


@main.command(short_help="Attack the networks of a run, or a SavedModel.")
@stage_options
@click.option("--config", "other", type=click.Path(), help="Config for a SavedModel that `rsr` did not export.")
@click.option(
    "--suite",
    type=click.Choice(SUITES[::-1]),
    help="Run adaptive and black-box attacks on one network, check them, and write a verdict.",
)
@click.option("--network", type=click.Choice(NETWORKS), help="Network of the run that the suite attacks [pruned].")
@click.option("--images", type=click.IntRange(min=1), help="Test images that the suite draws [200 or 1000, by suite].")
def evaluate(config, overrides, output, other, suite, network, images):
    """Attack the networks of a run.

    CONFIG may also be the folder of a SavedModel that you trust: its graph is code, which can read and write files.
    """
    if (network or images) and not suite:
        raise click.UsageError("--network and --images require --suite")
    if (Path(config) / "saved_model.pb").exists():
        if network:
            raise click.UsageError("--network goes with a config; a SavedModel is one network")
        _evaluate_saved_model(config, other, overrides, output, suite, images)
    elif other:
        raise click.UsageError("--config goes with the folder of a SavedModel")
    elif suite:
        _run("run_suite", config, overrides, output, suite, network or "pruned", images)
    else:
        _run("evaluate", config, overrides, output)


@main.command()
@stage_options
def export(config, overrides, output):
    """Write the pruned network as a SavedModel."""
    _run("export", config, overrides, output)


@main.command(short_help="Write and measure every export format.")
@stage_options
@click.option("--again", is_flag=True, help="Measure the latencies again, for example on an idle machine.")
def artefacts(config, overrides, output, again):
    """Write the network before and after pruning in every export format; measure bytes, latency and accuracy."""
    _run("artefacts", config, overrides, output, again)


@main.command()
@stage_options
def report(config, overrides, output):
    """Write report.html."""
    _run("report", config, overrides, output)


SPARSITIES = "0,0.2,0.4,0.6,0.7,0.8,0.9,0.95"
"""Default of `rsr sweep`."""


def list_option(name, help_text):
    """Return an option `--NAME` for a comma-separated list of numbers.

    Args:
        name, help_text: strings.
    """
    return click.option(f"--{name}", metavar="LIST", help=help_text)


@main.command(short_help="Measure accuracy against sparsity and lambda.")
@stage_options
@list_option("sparsities", f"Shares of weights to prune [{SPARSITIES} if no list is given].")
@list_option("gammas", "Pruning thresholds, such as 1e-4,1e-3,1e-2.")
@list_option("lambdas", "Values of model.lasso to train with, such as 0,1e-5,5e-5,1e-4.")
def sweep(config, overrides, output, sparsities, gammas, lambdas):
    """Measure accuracy against sparsity and lambda (Fig. 2): prune and attack copies of the trained network.

    LIST is a comma-separated list of numbers. All files go into the folder sweep of the run folder, the plots into
    sweep.html. A stopped sweep resumes, and another list adds to earlier results.
    """
    from rsr_tf.config import NotNegative, Share, parse_numbers

    if (sparsities, gammas, lambdas) == (None, None, None):
        sparsities = SPARSITIES
    lists = {
        "sparsities": parse_numbers(sparsities, Share, source="--sparsities"),
        "gammas": parse_numbers(gammas, NotNegative, source="--gammas"),
        "lambdas": parse_numbers(lambdas, NotNegative, source="--lambdas"),
    }
    with _experiment(config, overrides, output) as experiment:
        from rsr_tf.experiment import run_sweep

        run_sweep(experiment, **lists)


@main.command(short_help="Attack a network through its scores (ZOO).")
@click.argument("network", type=click.Path())
@click.option(
    "--tier",
    type=click.Choice(ZOO_TIERS),
    default=ZOO_TIERS[0],
    show_default=True,
    help="1 tries one trade-off constant c; 2 searches for it with nine, which takes nine times as long.",
)
@images_option(default=200)
@click.option(
    "--noise",
    "columns",
    type=click.Choice(ZOO_NOISES),
    multiple=True,
    help="How ZOO handles the weight noise: one draw per call, one draw per probe (slow), the mean of 8 draws, or "
    "noise off; may be repeated [all but per_image].",
)
@click.option("--group", type=click.IntRange(min=1), default=8, show_default=True, help="Images attacked together.")
@set_option
@click.option("--output", type=click.Path(file_okay=False), help="Folder of the result [zoo/pruned in the run folder].")
def zoo(network, tier, images, columns, group, overrides, output):
    """Attack a finished network by ZOO, which uses its scores only.

    NETWORK is a run folder, for its pruned network, a .keras file in one, or a SavedModel that you trust. An upper
    bound of the time is printed first. A stopped attack resumes; a call with more images and the same --group reuses
    those with fewer.
    """
    _start_tensorflow()
    from rsr_tf import experiment

    experiment.zoo(
        network, overrides=overrides, output=output, tier=int(tier), images=images, columns=columns, group=group
    )


@main.command(short_help="Evaluate images crafted on one network on others.")
@click.argument("networks", type=click.Path(), nargs=-1, required=True)
@images_option(default=1000)
@click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True, help="Number of PGD steps.")
@click.option(
    "--eot-samples",
    "--draws",
    "eot_samples",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Number of gradients averaged in each step on a noisy network (EOT).",
)
@set_option
@click.option(
    "--output",
    type=click.Path(file_okay=False),
    default="runs/transfer",
    show_default=True,
    help="Folder for matrix, heat map and state.",
)
def transfer(networks, images, steps, eot_samples, overrides, output):
    """Evaluate images crafted on each of several finished networks on all of them.

    NETWORKS are run folders, for their pruned networks, .keras files in run folders, or SavedModels that you trust. A
    stopped evaluation resumes.
    """
    _start_tensorflow()
    from rsr_tf import experiment

    experiment.transfer(
        networks, output=output, overrides=overrides, images=images, steps=steps, eot_samples=eot_samples
    )


def _run(stage, config, overrides, output, *arguments):
    with _experiment(config, overrides, output) as experiment:
        getattr(experiment, stage)(*arguments)


@contextlib.contextmanager
def _experiment(config, overrides, output):
    from rsr_tf.config import load_config, run_folder_of

    settings = load_config(config, overrides)
    _start_tensorflow()
    from rsr_tf.experiment import Experiment

    with Experiment(settings, output or run_folder_of(config)) as experiment:
        yield experiment


def _evaluate_saved_model(path, config, overrides, output, suite, images):
    from rsr_tf.config import load_config

    if output and not suite:
        raise click.UsageError("--output goes with a config or --suite; the scores of a SavedModel are printed as JSON")

    settings = load_config(config, overrides) if config else None
    _start_tensorflow(log_to=sys.stderr)
    from rsr_tf.experiment import evaluate_saved_model

    click.echo(json.dumps(evaluate_saved_model(path, settings, overrides, suite, images, output), indent=1))


def _start_tensorflow(log_to=sys.stdout):
    """Import TensorFlow without its notices about the hardware, and log version and devices in one line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=log_to)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # C++ prints the notices before any setting is read
    try:
        import tensorflow as tf

        devices = tf.config.list_logical_devices()
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.info("TensorFlow %s on %s", tf.__version__, ", ".join(device.name for device in devices))


if __name__ == "__main__":
    main()
