"""Commands for one run: its stages, and the attacks on its networks."""

import json
import sys
from pathlib import Path

import click

from rsr_tf.choices import NETWORKS, SUITES
from rsr_tf.cli.group import RESUMES, main, open_experiment, stage_options, start_tensorflow


@main.command()
@stage_options
def run(config, overrides, output):
    """Run all stages: train, prune, evaluate, export, report.

    \b
    Examples:
      rsr run quickstart
      rsr run my.toml --set training.epochs=20 --output runs/short
    """
    with open_experiment(config, overrides, output) as experiment:
        experiment.run()
        _summarize(experiment)


@main.command(short_help="Train the network, and its undefended baseline.")
@stage_options
def train(config, overrides, output):
    """Train the network, and its undefended baseline if the config has one.

    \b
    Examples:
      rsr train quickstart
      rsr train cifar10/resnet20_rsr --set data.directory=/data/tfds
    """
    _run("train", config, overrides, output)


@main.command(short_help="Prune the trained network.")
@stage_options
def prune(config, overrides, output):
    """Prune the trained network, and fine-tune it if the config has epochs for that.

    \b
    Examples:
      rsr prune runs/quickstart
      rsr prune quickstart --set pruning.sparsity=0.8 --output runs/sparser
    """
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

    \b
    Examples:
      rsr evaluate runs/quickstart
      rsr evaluate runs/quickstart --suite paper --images 450
      rsr evaluate runs/quickstart/saved_model --suite quick --output runs/judged
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
        with open_experiment(config, overrides, output) as experiment:
            experiment.run_suite(suite, network or "pruned", images)
            _summarize(experiment, suite, network or "pruned", images)
    else:
        _run("evaluate", config, overrides, output)


@main.command()
@stage_options
def export(config, overrides, output):
    """Write the pruned network as a SavedModel.

    \b
    Examples:
      rsr export runs/quickstart
    """
    _run("export", config, overrides, output)


@main.command(short_help="Write and measure every export format.")
@stage_options
@click.option("--again", is_flag=True, help="Measure the latencies again, for example on an idle machine.")
def artefacts(config, overrides, output, again):
    """Write the network before and after pruning in every export format; measure bytes, latency and accuracy.

    \b
    Examples:
      rsr artefacts runs/quickstart
      rsr artefacts runs/quickstart --again
    """
    _run("artefacts", config, overrides, output, again)


@main.command()
@stage_options
def report(config, overrides, output):
    """Write report.html.

    \b
    Examples:
      rsr report runs/quickstart
    """
    _run("report", config, overrides, output)


def _run(stage, config, overrides, output, *arguments):
    with open_experiment(config, overrides, output) as experiment:
        getattr(experiment, stage)(*arguments)


def _summarize(experiment, *suite):
    from rsr_tf.experiment import summarize

    click.echo("\n".join(["", *summarize(experiment.folder, *suite)]))


def _evaluate_saved_model(path, config, overrides, output, suite, images):
    from rsr_tf.config import load_config

    if output and not suite:
        raise click.UsageError("--output goes with a config or --suite; the scores of a SavedModel are printed as JSON")

    settings = load_config(config, overrides) if config else None
    click.get_current_context().meta[RESUMES] = output is not None
    start_tensorflow(log_to=sys.stderr)
    from rsr_tf.experiment import evaluate_saved_model

    click.echo(json.dumps(evaluate_saved_model(path, settings, overrides, suite, images, output), indent=1))
