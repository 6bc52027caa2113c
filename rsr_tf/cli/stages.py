"""Commands for one run: its stages, and the attacks on its networks."""

import functools
import json
import sys
from pathlib import Path

import click

from rsr_tf.choices import NETWORKS, SUITES
from rsr_tf.cli.balls import ball_options, refuse_ball
from rsr_tf.cli.given import check_given, data_options, given_settings, is_keras_file, refuse_data
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
    with open_experiment(config, overrides, output, trains=True) as experiment:
        experiment.run()
        if experiment.folder.writes:
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


@main.command(short_help="Prune the trained network, or a .keras file.")
@functools.partial(stage_options, output=click.Path())
@click.option(
    "--sparsity", metavar="SHARE", help="Share of the weights of a .keras file to prune; needs --output FILE."
)
def prune(config, overrides, output, sparsity):
    """Prune the trained network, and fine-tune it if the config has epochs for that.

    \b
    Examples:
      rsr prune runs/quickstart
      rsr prune quickstart --set pruning.sparsity=0.8 --output runs/sparser
      rsr prune my.keras --sparsity 0.6 --output pruned.keras
    """
    if is_keras_file(config):
        _prune_given(config, overrides, output, sparsity)
        return
    if sparsity is not None:
        raise click.UsageError("--sparsity goes with a .keras file; for a run, use --set pruning.sparsity=SHARE")
    _run("prune", config, overrides, output)


@main.command(short_help="Attack the networks of a run, a .keras file or a SavedModel.")
@stage_options
@click.option("--config", "other", type=click.Path(), help="Config for a SavedModel that `rsr` did not export.")
@click.option(
    "--suite",
    type=click.Choice(SUITES[::-1]),
    help="Run adaptive and black-box attacks on one network, check them, and write a verdict.",
)
@click.option("--network", type=click.Choice(NETWORKS), help="Network of the run that the suite attacks [pruned].")
@click.option("--images", type=click.IntRange(min=1), help="Test images that the suite draws [200 or 1000, by suite].")
@ball_options("of the suite")
@data_options
def evaluate(config, overrides, output, other, suite, network, images, norm, epsilon, data, data_directory):
    """Attack the networks of a run.

    CONFIG may also be a .keras file that no run made, with --data, or the folder of a SavedModel that you trust: its
    graph is code, which can read and write files. Its results go to --output [for a .keras file: runs/NAME].

    \b
    Examples:
      rsr evaluate runs/quickstart
      rsr evaluate runs/quickstart --suite paper --images 450
      rsr evaluate runs/quickstart/saved_model --suite quick --output runs/judged
      rsr evaluate my.keras --data cifar10 --suite quick
      rsr evaluate runs/quickstart --suite quick --norm l2 --epsilon 0.5
    """
    if (network or images) and not suite:
        raise click.UsageError("--network and --images require --suite")
    if (norm or epsilon) and not suite:
        raise click.UsageError(
            "--norm and --epsilon require --suite: without one, the attacks are those of the paper, in linf, with "
            "evaluation.epsilon"
        )
    ball = {"norm": norm, "epsilon": epsilon}
    if is_keras_file(config):
        if network or other:
            raise click.UsageError("--network and --config do not go with a .keras file")
        _evaluate_given(config, data, data_directory, overrides, output, suite, images, ball)
        return
    refuse_data(data, data_directory)
    if (Path(config) / "saved_model.pb").exists():
        if network:
            raise click.UsageError("--network goes with a config; a SavedModel is one network")
        _evaluate_saved_model(config, other, overrides, output, suite, images, ball)
    elif other:
        raise click.UsageError("--config goes with the folder of a SavedModel")
    elif suite:
        with open_experiment(config, overrides, output, shared=True) as experiment:
            _judge(experiment, suite, network or "pruned", images, ball)
    else:
        _run("evaluate", config, overrides, output)


@main.command(short_help="Write the pruned network, or a .keras file, as a SavedModel.")
@stage_options
def export(config, overrides, output):
    """Write the pruned network as a SavedModel.

    CONFIG may also be a .keras file that no run made; --output is the new folder then [runs/NAME/saved_model].

    \b
    Examples:
      rsr export runs/quickstart
      rsr export my.keras --output served
    """
    if is_keras_file(config):
        check_given(config)
        if overrides:
            raise click.UsageError("--set does not go with a .keras file")
        start_tensorflow()
        from rsr_tf.experiment import export_given

        export_given(config, output)
        return
    _run("export", config, overrides, output)


@main.command(short_help="Write and measure every export format.")
@stage_options
@refuse_ball("accuracies of the files are of the paper's attacks, in linf, with evaluation.epsilon")
@click.option("--again", is_flag=True, help="Measure the latencies again, for example on an idle machine.")
@data_options
def artefacts(config, overrides, output, again, data, data_directory):
    """Write the network before and after pruning in every export format; measure bytes, latency and accuracy.

    CONFIG may also be a .keras file that no run made, with --data.

    \b
    Examples:
      rsr artefacts runs/quickstart
      rsr artefacts runs/quickstart --again
      rsr artefacts my.keras --data cifar10
    """
    if is_keras_file(config):
        check_given(config, needs_data=True, data=data)
        start_tensorflow()
        from rsr_tf.experiment import measure_given

        measure_given(config, given_settings(data, data_directory, overrides), output, again)
        return
    refuse_data(data, data_directory)
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
    options = {"trains": stage in ("train", "prune"), "shared": stage == "evaluate"}
    with open_experiment(config, overrides, output, **options) as experiment:
        from rsr_tf.experiment import refresh_report

        getattr(experiment, stage)(*arguments)
        if stage != "report":
            refresh_report(experiment.folder)


def _judge(experiment, suite, network, images, ball):
    from rsr_tf.experiment import choose_ball

    chosen = choose_ball(experiment.config, **ball)
    experiment.run_suite(suite, network, images, chosen)
    _summarize(experiment, suite, network, images, chosen.name)


def _summarize(experiment, *suite):
    from rsr_tf.experiment import summarize

    click.echo("\n".join(["", *summarize(experiment.folder, *suite)]))


def _prune_given(path, overrides, output, sparsity):
    from rsr_tf.config import Share, parse_numbers

    check_given(path)
    if sparsity is None or output is None or overrides:
        raise click.UsageError("a .keras file takes --sparsity and --output, a new .keras file, and no --set")
    shares = parse_numbers(sparsity, Share, source="--sparsity")
    if len(shares) != 1:
        raise click.UsageError(f"--sparsity must be one number. Received: {sparsity}")
    start_tensorflow()
    from rsr_tf.experiment import prune_given

    prune_given(path, output, shares[0])


def _evaluate_given(path, data, data_directory, overrides, output, suite, images, ball):
    check_given(path, needs_data=True, data=data)
    if output and not suite:
        raise click.UsageError("--output goes with --suite; the scores of a .keras file are printed as JSON")
    click.get_current_context().meta[RESUMES] = suite is not None
    start_tensorflow(log_to=sys.stderr)
    from rsr_tf.experiment import evaluate_given

    settings = given_settings(data, data_directory, overrides)
    click.echo(json.dumps(evaluate_given(path, settings, suite, images, output, **ball), indent=1))


def _evaluate_saved_model(path, config, overrides, output, suite, images, ball):
    from rsr_tf.config import load_config

    if output and not suite:
        raise click.UsageError("--output goes with a config or --suite; the scores of a SavedModel are printed as JSON")

    settings = load_config(config, overrides) if config else None
    click.get_current_context().meta[RESUMES] = output is not None
    start_tensorflow(log_to=sys.stderr)
    from rsr_tf.experiment import evaluate_saved_model

    found = evaluate_saved_model(path, settings, overrides, suite, images, output, **ball)
    click.echo(json.dumps(found, indent=1))
