"""Bring a training of `run.py` back into a run folder, from which `rsr run` goes on.

    python scripts/accelerator/load.py FOLDER OUTPUT RUN [--set data.directory=FOLDER]
    rsr run CONFIG --output RUN

FOLDER is what `lower.py` wrote, OUTPUT what `run.py train` wrote. The run folder gets the history and a checkpoint of
the last saved epoch; `rsr run` trains the epochs that are missing, if any, and then prunes, evaluates and exports.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from accelerator.artifact import Artifact, read_state
from accelerator.lower import build_model, training_variables
from rsr_tf.config import parse_config
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.experiment import Experiment
from rsr_tf.experiment.provenance import versions
from rsr_tf.experiment.run_folder import drop_none
from rsr_tf.training.callbacks import Checkpoint, CSVHistory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    artifact = Artifact.read(options.folder)
    config = parse_config(drop_none(artifact.config), options.overrides, source=options.folder)
    load(artifact, options.output, options.run, config)


def load(artifact, output, run, config):
    """Write history and checkpoint of a training into a run folder.

    Args:
        artifact: an `Artifact`.
        output: `Path` of the folder that `run.py train` wrote.
        run: path of the run folder.
        config: the config of the training.
    """
    epochs = json.loads((output / "progress.json").read_text())["epochs"]
    state = read_state(output / f"state-{epochs:04d}.npz", artifact.entries)
    with Experiment(config, run) as experiment:
        model = build_model(config, load_data(config))
        assign(model, artifact.entries, state)
        folder = experiment.folder
        folder.claim(config.model_dump(), versions())
        history = CSVHistory(folder.history, "train")
        with open(output / "history.csv", newline="", encoding="utf-8") as file:
            for row in list(csv.DictReader(file))[:epochs]:
                metrics = {key: value for key, value in row.items() if key not in ("stage", "epoch")}
                history.on_epoch_end(int(row["epoch"]), metrics)
        checkpoint = Checkpoint(folder.checkpoints, "train")
        checkpoint.set_model(model)
        checkpoint.on_epoch_end(epochs - 1)


def assign(model, entries, state):
    """Assign the values of a state to the variables of a model; its metrics come after them, and are not needed.

    Raises:
        ValueError: if the model has other variables.
    """
    for variable, (name, shape, dtype), value in zip(training_variables(model), entries, state, strict=False):
        if (variable.path, list(variable.shape), variable.dtype) != (name, shape, dtype):
            raise ValueError(f"expected the variable {variable.path} {variable.shape}. Received: {name} {shape}")
        variable.assign(np.asarray(value))


if __name__ == "__main__":
    main()
