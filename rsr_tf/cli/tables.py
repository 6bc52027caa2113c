"""Commands for several networks: sweep, grid, ZOO, transfer, comparison."""

import click

from rsr_tf.choices import ZOO_NOISES, ZOO_TIERS
from rsr_tf.cli.balls import ball_options, refuse_ball
from rsr_tf.cli.given import data_options, given_settings
from rsr_tf.cli.group import FOLDER, images_option, main, open_experiment, set_option, stage_options, start_tensorflow

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
@refuse_ball("a sweep repeats Fig. 2, whose attacks are in linf, with evaluation.epsilon")
@list_option("lambdas", "Values of model.lasso to train with, such as 0,1e-5,5e-5,1e-4.")
def sweep(config, overrides, output, sparsities, gammas, lambdas):
    """Measure accuracy against sparsity and lambda (Fig. 2): prune and attack copies of the trained network.

    LIST is a comma-separated list of numbers. All files go into the folder sweep of the run folder, the plots into
    sweep.html. A stopped sweep resumes, and another list adds to earlier results.

    \b
    Examples:
      rsr sweep runs/quickstart
      rsr sweep runs/quickstart --sparsities 0.5,0.9 --gammas 1e-3,1e-2
      rsr sweep runs/quickstart --lambdas 0,1e-5,1e-4
    """
    from rsr_tf.config import NotNegative, Share, parse_numbers

    if (sparsities, gammas, lambdas) == (None, None, None):
        sparsities = SPARSITIES
    lists = {
        "sparsities": parse_numbers(sparsities, Share, source="--sparsities"),
        "gammas": parse_numbers(gammas, NotNegative, source="--gammas"),
        "lambdas": parse_numbers(lambdas, NotNegative, source="--lambdas"),
    }
    with open_experiment(config, overrides, output, shared=True) as experiment:
        from rsr_tf.experiment import run_sweep

        run_sweep(experiment, **lists)


@main.command(short_help="Run a whole table: many configs, several seeds, one page.")
@click.argument("grid", type=click.Path())
@click.option("--scale", help="Size of the grid, one of those in the file [the file without its scales].")
@set_option
@click.option("--output", type=FOLDER, help="Folder of the run folders [runs/FOLDER/SCALE].")
def grid(grid, scale, overrides, output):
    """Train, prune and judge every run of a grid, and write one page with all results.

    GRID is a TOML file, or the name of a packaged one such as paper/table1. A stopped grid resumes. Start the same
    command several times to share the work.

    \b
    Examples:
      rsr grid paper/table1
      rsr grid my_grid.toml --scale short --output runs/mine
    """
    from rsr_tf.config import grid_folder, load_grid

    settings, cells = load_grid(grid, scale, overrides)
    start_tensorflow()
    from rsr_tf.experiment import run_grid

    run_grid(settings, cells, output or grid_folder(grid, scale))


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
@refuse_ball("ZOO searches for the nearest image in l2; its table has the share within l2 0.5 and linf 8/255")
@click.option("--group", type=click.IntRange(min=1), default=8, show_default=True, help="Images attacked together.")
@set_option
@click.option("--output", type=FOLDER, help="Folder of the result [zoo/pruned in the run folder].")
@data_options
def zoo(network, tier, images, columns, group, overrides, output, data, data_directory):
    """Attack a finished network by ZOO, which uses its scores only.

    NETWORK is a run folder, for its pruned network, a .keras file in one, or, with --data, elsewhere, or a SavedModel
    that you trust. An upper bound of the time is printed first. A stopped attack resumes; a call with more images and
    the same --group reuses those with fewer.

    \b
    Examples:
      rsr zoo runs/quickstart --images 20
      rsr zoo runs/quickstart/undefended.keras --noise off
      rsr zoo my.keras --data cifar10
    """
    start_tensorflow()
    from rsr_tf import experiment

    experiment.zoo(
        network,
        overrides=overrides,
        given=given_settings(data, data_directory, overrides),
        output=output,
        tier=int(tier),
        images=images,
        columns=columns,
        group=group,
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
@ball_options("of the attack")
@set_option
@click.option(
    "--output",
    type=FOLDER,
    default="runs/transfer",
    show_default=True,
    help="Folder for matrix, heat map and state.",
)
@data_options
def transfer(networks, images, steps, eot_samples, norm, epsilon, overrides, output, data, data_directory):
    """Evaluate images crafted on each of several finished networks on all of them.

    NETWORKS are run folders, for their pruned networks, .keras files in run folders, or, with --data, elsewhere, or
    SavedModels that you trust. A stopped evaluation resumes.

    \b
    Examples:
      rsr transfer runs/quickstart runs/quickstart/undefended.keras --images 200
      rsr transfer runs/quickstart runs/quickstart/undefended.keras --norm l2 --output runs/transfer_l2
    """
    start_tensorflow()
    from rsr_tf import experiment

    experiment.transfer(
        networks,
        output=output,
        overrides=overrides,
        given=given_settings(data, data_directory, overrides),
        images=images,
        steps=steps,
        eot_samples=eot_samples,
        norm=norm,
        epsilon=epsilon,
    )


@main.command(short_help="Put several runs side by side.")
@click.argument("runs", type=click.Path(), nargs=-1, required=True)
@click.option(
    "--output",
    type=FOLDER,
    default="runs/compare",
    show_default=True,
    help="Folder for compare.html and compare.csv.",
)
def compare(runs, output):
    """Compare several run folders: accuracies, claim, zeros, bytes, duration, and what their configs have different.

    \b
    Examples:
      rsr compare runs/quickstart runs/sparser
    """
    start_tensorflow()
    from rsr_tf.experiment import compare_runs

    compare_runs(runs, output=output)
