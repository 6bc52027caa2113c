"""Train the runs of a grid elsewhere: write their programs, and bring the trained networks back.

    python scripts/accelerator/grid.py lower GRID PREPARED [--scale NAME] [--set KEY=VALUE ...] [--only RUN ...]
    python scripts/accelerator/job.py PREPARED OUTPUT --skip-timing --parallel 4
    python scripts/accelerator/grid.py load GRID PREPARED OUTPUT [--scale NAME] [--set KEY=VALUE ...] [--root FOLDER]
    rsr grid GRID [--scale NAME] [--set KEY=VALUE ...] [--output FOLDER]

`lower` leaves out what PREPARED has already, so several processes can share the work. `load` leaves out run folders
that exist. `rsr grid` does the rest: epochs that are missing, pruning, attacks, sweeps.
"""

import argparse
import sys
from pathlib import Path

import keras

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from accelerator.artifact import Artifact
from accelerator.load import load
from accelerator.lower import Training, write_data, write_training
from rsr_tf.config import load_grid
from rsr_tf.config.grid import grid_folder
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.grid import plan_runs
from rsr_tf.experiment.sweep import lambda_run
from rsr_tf.files import replacing, work_through

DATA = "data.npz"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    lowering, loading = commands.add_parser("lower"), commands.add_parser("load")
    for command in (lowering, loading):
        command.add_argument("grid", help="grid file, or the name of a packaged grid")
        command.add_argument("prepared", type=Path)
        command.add_argument("--scale")
        command.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    lowering.add_argument("--only", nargs="+", metavar="RUN", help="runs whose names start so; default: all")
    loading.add_argument("output", type=Path)
    loading.add_argument("--root", type=Path, help="folder of the run folders; defaults to that of `rsr grid`")
    options = parser.parse_args()
    root = getattr(options, "root", None) or grid_folder(options.grid, options.scale)
    trainings = trainings_of(options.grid, options.scale, options.overrides, root)
    if options.command == "lower":
        lower(chosen(trainings, options.only), options.prepared)
    else:
        load_all(trainings, options.prepared, options.output)


def trainings_of(path, scale, overrides, root):
    """Return a dict from the name of each training of a grid, those of its sweeps too, to its config and run folder."""
    grid, cells = load_grid(path, scale, overrides)
    found = {}
    for run in plan_runs(grid, cells, root):
        found[f"train_{run.folder.name}"] = run.config, run.folder
        for value in set(run.lambdas) - {run.config.model.lasso}:
            config, folder = lambda_run(run.config, run.folder, value)
            found[f"train_{run.folder.name}_{folder.name}"] = config, folder
    return found


def chosen(trainings, starts):
    """Return the trainings whose names, without `train_`, start in one of these ways; `None` stands for all.

    Raises:
        SystemExit: if no name starts so.
    """
    if starts is None:
        return trainings
    wanted = tuple(f"train_{start}" for start in starts)
    found = {name: training for name, training in trainings.items() if name.startswith(wanted)}
    if not found:
        raise SystemExit(f"no training starts with {' or '.join(starts)}. Expected some of {', '.join(trainings)}")
    return found


def lower(trainings, prepared):
    """Write the images once, and the program of each training."""

    def work(name):
        print(name, flush=True)
        with replacing(prepared / name) as temporary:
            if name == DATA:
                config, _ = next(iter(trainings.values()))
                write_data(temporary, config, load_data(config))
            else:
                temporary.mkdir()
                keras.backend.clear_session()  # `load` finds the variables by their names, which Keras counts up
                write_training(temporary, Training(trainings[name][0], steps_per_call=0))

    prepared.mkdir(parents=True, exist_ok=True)
    work_through([DATA, *trainings], prepared, is_done=lambda name: (prepared / name).exists(), work=work)


def load_all(trainings, prepared, output):
    """Make a run folder of each training that has epochs."""
    for name, (config, folder) in trainings.items():
        if (output / name / "progress.json").exists() and not folder.exists():
            print(name, flush=True)
            keras.backend.clear_session()
            load(Artifact.read(prepared / name), output / name, folder, config)


if __name__ == "__main__":
    main()
