"""The `rsr` command. No logic, and nothing heavy imported before it is needed."""

import contextlib
import json
import logging
import os
import sys
from pathlib import Path

import click

from rsr_tf import __version__
from rsr_tf.choices import SUITES


class Group(click.Group):
    """Prints a user's mistake as one line and exits with code 2."""

    def invoke(self, context):
        from rsr_tf.config.schema import UserError

        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"rsr: {error}", err=True)
            context.exit(2)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rsr")
def main():
    """Train robust, sparse image classifiers; prune, attack, export and report them.

    CONFIG is a TOML file such as configs/quickstart.toml, or the folder of a run. A run can be stopped at any moment;
    the same command goes on where it was.
    """


set_option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a config key.")
output_option = click.option(
    "--output", type=click.Path(file_okay=False), help="Run folder [runs/NAME of the config, or CONFIG]."
)


def images_option(default):
    number = click.IntRange(min=1)
    return click.option(
        "--images", type=number, default=default, show_default=True, help="Number of test images, drawn by the seed."
    )


def stage_options(function):
    return click.argument("config", type=click.Path())(set_option(output_option(function)))


@main.command()
@stage_options
def run(config, overrides, output):
    """The whole job: train, prune, evaluate, export, report."""
    _run("run", config, overrides, output)


@main.command(short_help="Train the network, and its undefended twin.")
@stage_options
def train(config, overrides, output):
    """Train the network, and its undefended twin."""
    _run("train", config, overrides, output)


@main.command(short_help="Prune the trained network.")
@stage_options
def prune(config, overrides, output):
    """Prune the trained network, and fine-tune it if the config says so."""
    _run("prune", config, overrides, output)


@main.command(short_help="Attack the networks of a run, or a SavedModel.")
@stage_options
@click.option("--config", "other", type=click.Path(), help="Config for a SavedModel that was not exported by `rsr`.")
@click.option(
    "--suite",
    type=click.Choice(SUITES[::-1]),
    help="Adaptive and black-box attacks on one network, checks, and a verdict.",
)
@click.option(
    "--network",
    type=click.Choice(["pruned", "trained", "undefended"]),
    help="Network of the run that the suite attacks [pruned].",
)
@click.option("--images", type=click.IntRange(min=1), help="Test images that the suite draws [200 or 1000, by suite].")
def evaluate(config, overrides, output, other, suite, network, images):
    """Attack the networks of a run; CONFIG may also be the folder of a SavedModel."""
    if (network or images) and not suite:
        raise click.UsageError("--network and --images go with --suite")
    if (Path(config) / "saved_model.pb").exists():
        if network:
            raise click.UsageError("--network goes with a config; a SavedModel is one network")
        _evaluate_saved_model(config, other, overrides, output, suite, images)
    elif other:
        raise click.UsageError("--config goes with the folder of a SavedModel")
    elif suite:
        _run("judge", config, overrides, output, suite, network or "pruned", images)
    else:
        _run("evaluate", config, overrides, output)


@main.command()
@stage_options
def export(config, overrides, output):
    """Write the pruned network as a SavedModel."""
    _run("export", config, overrides, output)


@main.command(short_help="Write every kind of file and measure it.")
@stage_options
@click.option("--again", is_flag=True, help="Measure the latencies again, on a machine that is quiet now.")
def artefacts(config, overrides, output, again):
    """Write every kind of file, before and after pruning: bytes, latency, accuracy."""
    _run("artefacts", config, overrides, output, again)


@main.command()
@stage_options
def report(config, overrides, output):
    """Write report.html."""
    _run("report", config, overrides, output)


SPARSITIES = "0,0.2,0.4,0.6,0.7,0.8,0.9,0.95"
"""What `rsr sweep` prunes to, unless it is given a list."""


def list_option(name, help_text):
    return click.option(f"--{name}", metavar="LIST", help=help_text)


@main.command(short_help="Accuracy against sparsity and lambda.")
@stage_options
@list_option("sparsities", f"Shares of weights to prune [{SPARSITIES}, unless a list is given].")
@list_option("gammas", "Thresholds to prune by, such as 1e-4,1e-3,1e-2.")
@list_option("lambdas", "Trains the network with each of these, such as 0,1e-5,5e-5,1e-4.")
def sweep(config, overrides, output, sparsities, gammas, lambdas):
    """Accuracy against sparsity and lambda (Fig. 2): copies of the trained network are pruned and attacked.

    LIST is numbers with commas between them. Everything goes into the folder sweep of the run folder, with the figures
    in sweep.html; stopped and started again, it goes on, and another list adds to what is there.
    """
    from rsr_tf.config.schema import NotNegative, Share, parse_numbers

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


@main.command(short_help="Attack a network that shows its scores alone.")
@click.argument("network", type=click.Path())
@click.option(
    "--tier",
    type=click.Choice(["1", "2"]),
    default="1",
    show_default=True,
    help="1 tries one trade-off constant c of the attack; 2 searches for it, with nine, in nine times the time.",
)
@images_option(default=200)
@click.option(
    "--noise",
    "columns",
    type=click.Choice(["shared", "per_image", "averaged", "off"]),
    multiple=True,
    help="How ZOO meets the weight noise: one draw for each call, a draw for each probe (slow), the mean of 8 draws, "
    "or noise off; may be repeated [all but per_image].",
)
@click.option("--group", type=click.IntRange(min=1), default=8, show_default=True, help="Images attacked side by side.")
@set_option
@click.option("--output", type=click.Path(file_okay=False), help="Folder of the result [zoo/pruned in the run folder].")
def zoo(network, tier, images, columns, group, overrides, output):
    """Attack a finished network by ZOO, which sees scores alone.

    NETWORK is a run folder, for its pruned network, a .keras file in one, or a SavedModel. The longest time it may take
    is printed first. Stopped and started again, it goes on; more images of the same --group go on from fewer.
    """
    _start_tensorflow()
    from rsr_tf import experiment

    experiment.zoo(
        network, overrides=overrides, output=output, tier=int(tier), images=images, columns=columns, group=group
    )


@main.command(short_help="Show images crafted on one network to others.")
@click.argument("networks", type=click.Path(), nargs=-1, required=True)
@images_option(default=1000)
@click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True, help="Steps of PGD.")
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Gradients averaged in a step on a noisy network (EOT).",
)
@set_option
@click.option(
    "--output",
    type=click.Path(file_okay=False),
    default="runs/transfer",
    show_default=True,
    help="Folder of matrix, heat map and state.",
)
def transfer(networks, images, steps, draws, overrides, output):
    """Show images crafted on each of several finished networks to all of them.

    NETWORKS are run folders, for their pruned networks, .keras files in such, or SavedModels. Stopped and started
    again, it goes on.
    """
    _start_tensorflow()
    from rsr_tf import experiment

    experiment.transfer(networks, output=output, overrides=overrides, images=images, steps=steps, draws=draws)


def _run(stage, config, overrides, output, *arguments):
    with _experiment(config, overrides, output) as experiment:
        getattr(experiment, stage)(*arguments)


@contextlib.contextmanager
def _experiment(config, overrides, output):
    from rsr_tf.config.schema import load_config, run_folder_of

    settings = load_config(config, overrides)
    _start_tensorflow()
    from rsr_tf.experiment import Experiment

    with Experiment(settings, output or run_folder_of(config)) as experiment:
        yield experiment


def _evaluate_saved_model(path, config, overrides, output, suite, images):
    from rsr_tf.config.schema import load_config

    if output and not suite:
        raise click.UsageError("--output goes with a config or --suite; the scores of a SavedModel are printed as JSON")

    settings = load_config(config, overrides) if config else None
    _start_tensorflow(log_to=sys.stderr)
    from rsr_tf.experiment import evaluate_saved_model

    click.echo(json.dumps(evaluate_saved_model(path, settings, overrides, suite, images, output), indent=1))


def _start_tensorflow(log_to=sys.stdout):
    """Import TensorFlow without its page of notices about this machine; say in one line what it runs on."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=log_to)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    standard_error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # the notices come from C++, before any setting is read
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
