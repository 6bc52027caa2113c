"""Run what `lower.py` wrote. Needs JAX and NumPy; Pillow, if the images are JPEG files.

    python scripts/accelerator/run.py check FOLDER
    python scripts/accelerator/run.py train FOLDER OUTPUT [--epochs N] [--seconds S] [--save-every 10]

`check` runs as many steps as `lower.py --check` did with TensorFlow, and compares the weights. `train` trains until the
last epoch of the config, and stops before the time runs out; the same command goes on from the last saved state. It
writes `history.csv`, and `state.npz` for `load.py`.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from accelerator.artifact import ARGUMENTS, Artifact, epoch_order, read_images, read_program, read_state, write_state
from accelerator.xla import compile_program

TOLERANCE = 1e-4
"""Largest relative difference that `check` accepts, in float32."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check")
    training = commands.add_parser("train")
    for command in (checking, training):
        command.add_argument("folder", type=Path)
    training.add_argument("output", type=Path)
    training.add_argument("--data", type=Path, help="folder with the images; defaults to FOLDER")
    training.add_argument("--epochs", type=int, help="stop after this epoch; defaults to that of the config")
    training.add_argument("--seconds", type=float, default=float("inf"), help="stop before this time is over")
    training.add_argument("--save-every", type=int, default=10, metavar="EPOCHS")
    options = parser.parse_args()
    if options.command == "check":
        sys.exit(0 if check(options.folder) else 1)
    deadline = time.monotonic() + options.seconds
    train(options.folder, options.output, options.data, options.epochs, deadline, options.save_every)


class Steps:
    """The compiled programs of a folder, and the state that they share, on the device.

    Args:
        folder: path of the folder that `lower.py` wrote.
        names: the programs to compile. Defaults to all.
        state: list of arrays. Defaults to the state in the folder.
    """

    def __init__(self, folder, names=tuple(ARGUMENTS), state=None):
        jax.config.update("jax_enable_x64", True)  # the numbers of steps and the seeds are int64
        self.artifact = Artifact.read(folder)
        self.state = [jax.device_put(value) for value in state or self._initial(folder)]
        self._compiled = {name: compile_program(read_program(folder, name)) for name in names}

    def _initial(self, folder):
        return read_state(Path(folder, "state.npz"), self.artifact.entries)

    def __call__(self, name, *arguments):
        """Run a program once, and replace what it changes in the state.

        Returns:
            The metrics as a list of scalars on the device, in the order of `artifact.programs[name].metrics`.
        """
        program = self.artifact.programs[name]
        results = self._compiled[name]([*arguments, *(self.state[number] for number in program.captures)])
        count = len(program.metrics)
        for number, value in zip(program.changes, results[count:], strict=True):
            if (value.shape, value.dtype) != (self.state[number].shape, self.state[number].dtype):
                raise RuntimeError(f"{name}: an output {value.dtype} {value.shape} is not the entry {number}")
            self.state[number] = value
        return results[:count]

    def reset_metrics(self):
        for number in self.artifact.metric_entries:
            self.state[number] = jax.device_put(np.zeros_like(self.state[number]))

    def values(self):
        """Return the state as a list of NumPy arrays."""
        return [np.asarray(value) for value in self.state]


def build(settings):
    """Return a function that runs training steps, for `rivals.worker`.

    Args:
        settings: dict with `folder`, and `repeats`, the number of steps in a call.
    """
    steps = Steps(settings["folder"], ["train"])
    images, labels, order = _random_arrays(steps.artifact)

    def step():
        for _ in range(0, settings["repeats"], steps.artifact.steps_per_call):
            metrics = steps("train", images, labels, order)
        jax.block_until_ready(metrics)

    return step


def _random_arrays(artifact):
    """Return random images, labels and order of the shapes that the program takes."""
    random = np.random.default_rng(0)
    used = artifact.steps_per_epoch * artifact.config["training"]["batch_size"]
    shape, dtype = artifact.images
    images = random.integers(0, 256, shape).astype(dtype)
    labels = random.integers(0, artifact.classes, shape[0]).astype(np.int32)
    return [jax.device_put(array) for array in (images, labels, epoch_order(0, 0, shape[0], used))]


def check(folder):
    """Compare steps with those of TensorFlow from the same state, and print the largest difference."""
    steps = Steps(folder, ["train"])
    with np.load(folder / "expected.npz", allow_pickle=False) as stored:
        expected = {name: stored[name] for name in stored.files}
    images, labels, order = training_arrays(steps.artifact, folder, folder)
    for _ in range(0, int(expected["steps"]), steps.artifact.steps_per_call):
        metrics = steps("train", images, labels, jax.device_put(order(0)))
    names = steps.artifact.programs["train"].metrics
    for name, value in zip(names, metrics, strict=True):
        print(f"{name:<24} JAX {float(value):.7f}   TensorFlow {float(expected[f'metric {name}']):.7f}")
    worst, where = largest_difference(steps.values(), expected)
    print(
        f"largest relative difference after {expected['steps']} steps: {worst:.1e}, {steps.artifact.entries[where][0]}"
    )
    return worst <= TOLERANCE


def largest_difference(values, expected):
    """Return the largest difference of an entry in relation to its norm, and the entry's number."""
    differences = []
    for number, value in enumerate(values):
        wanted = expected[str(number)].astype(np.float64)
        difference = np.linalg.norm(value.astype(np.float64) - wanted)
        differences.append(difference / max(np.linalg.norm(wanted), 1e-30))
    return max(differences), int(np.argmax(differences))


def train(folder, output, data=None, epochs=None, deadline=float("inf"), save_every=10):
    """Train from the last saved state.

    Args:
        folder: `Path` of the folder that `lower.py` wrote.
        output: `Path` of the folder for history and state.
        data: `Path` of the folder with `data.npz`. Defaults to `folder`.
        epochs: number of the last epoch. Defaults to that of the config.
        deadline: time of `time.monotonic` before which the state is saved, and training ends.
        save_every: number of epochs between two saved states.
    """
    output.mkdir(parents=True, exist_ok=True)
    done, saved = 0, None
    if (output / "progress.json").exists():
        done = json.loads((output / "progress.json").read_text())["epochs"]
        saved = read_state(output / f"state-{done:04d}.npz", Artifact.read(folder).entries)
    started = time.monotonic()
    steps = Steps(folder, state=saved)
    print(f"{folder.name}: compiled in {time.monotonic() - started:.0f} s; after epoch {done}", flush=True)
    images, labels, order = training_arrays(steps.artifact, data or folder, folder)
    held_out = [jax.device_put(array) for array in read_images(data or folder, folder, "validation")]
    epochs = epochs or steps.artifact.config["training"]["epochs"]
    history, seconds = _read_history(output / "history.csv", done), []
    for epoch in range(done, epochs):
        started = time.monotonic()
        row = {"stage": "train", "epoch": epoch}
        row |= _train_epoch(steps, images, labels, jax.device_put(order(epoch)))
        row |= _validate(steps, *held_out)
        seconds.append(time.monotonic() - started)
        history = [*history, row]
        _write_history(output / "history.csv", history)
        print(f"{folder.name}: epoch {epoch + 1}/{epochs} {seconds[-1]:.2f} s", _shown(row), flush=True)
        last = epoch + 1 == epochs or time.monotonic() + 2 * statistics.median(seconds) > deadline
        if last or (epoch + 1) % save_every == 0:
            _save(output, epoch + 1, steps.values())
        if last:
            break


def training_arrays(artifact, data, folder):
    """Return images and labels on the device, and a function from the number of an epoch to its order."""
    images, labels = read_images(data, folder, "train")
    used = artifact.steps_per_epoch * artifact.config["training"]["batch_size"]

    def order(epoch):
        return epoch_order(artifact.config["seed"], epoch, len(labels), used)

    return jax.device_put(images), jax.device_put(labels), order


def _train_epoch(steps, images, labels, order):
    steps.reset_metrics()
    for _ in range(0, steps.artifact.steps_per_epoch, steps.artifact.steps_per_call):
        metrics = steps("train", images, labels, order)
    return _named(steps, "train", metrics)


def _validate(steps, images, labels):
    steps.reset_metrics()
    for first in range(0, len(labels), steps.artifact.validation_batch):
        metrics = steps("validate", images, labels, jax.device_put(np.int32(first)))
    return {f"val_{name}": value for name, value in _named(steps, "validate", metrics).items()}


def _named(steps, name, metrics):
    values = {key: float(value) for key, value in zip(steps.artifact.programs[name].metrics, metrics, strict=True)}
    if not all(np.isfinite(value) for value in values.values()):
        raise SystemExit(f"{name}: a metric is not finite: {values}")
    return values


def _shown(row):
    names = ("loss", "accuracy", "adversarial_accuracy", "val_accuracy", "val_adversarial_accuracy")
    return " ".join(f"{name} {row[name]:.4f}" for name in names if name in row)


def _read_history(path, epochs):
    """Return the rows of the epochs that the saved state has."""
    if not epochs:
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))[:epochs]


def _write_history(path, rows):
    temporary = path.with_suffix(".part")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def _save(output, epochs, values):
    """Save the state, then say which file it is, then remove the file before: a kill at any moment loses nothing."""
    write_state(output / f"state-{epochs:04d}.npz", values)
    temporary = output / "progress.json.part"
    temporary.write_text(json.dumps({"epochs": epochs}))
    os.replace(temporary, output / "progress.json")
    for path in output.glob("state-*.npz"):
        if path.name != f"state-{epochs:04d}.npz":
            path.unlink()


if __name__ == "__main__":
    main()
