"""The folder that `lower.py` writes and `run.py` reads. Needs NumPy alone.

program.json    the programs, the names of the state's entries, the settings of the training
NAME.mlir.xz    a program as StableHLO; its inputs are its arguments in `ARGUMENTS`, then entries of the state
state.npz       the entries of the state before training, "0", "1", ...; large ones can be left out
split.npz       numbers and labels of the training and of the validation images, which depend on the seed
data.npz        all those images, each once, or their JPEG files; several folders can share it
expected.npz    metrics and state after some steps by TensorFlow, if `lower.py` was asked for them
"""

import io
import json
import lzma
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

ARGUMENTS = {"train": ("images", "labels", "order"), "validate": ("images", "labels", "first")}
"""Program -> names of its arguments, which come before the state: all images of the split, uint8 or float32, their
labels, and either the order of the epoch's images or the number of the batch's first image."""


@dataclass(frozen=True)
class Program:
    """A lowered function.

    Args:
        captures: list of the numbers of the entries of the state that it takes, in order.
        metrics: list of the names of its first outputs, scalars.
        changes: list of the numbers of the entries whose new values are its other outputs, in order.
    """

    captures: list
    metrics: list
    changes: list


@dataclass(frozen=True)
class Artifact:
    """Contents of `program.json`.

    Args:
        config: the config as a nested dict.
        programs: dict from name to `Program`.
        entries: list of the entries of the state, `(name, shape, dtype)` each.
        metric_entries: list of the numbers of the entries that hold running means, which start at 0 in every epoch.
        images: shape and dtype of the training images.
        classes: integer.
        steps_per_epoch: integer.
        steps_per_call: integer, number of training steps in a call of the program "train".
        validation_batch: integer, number of images in a batch of the program "validate".
        flops_per_step: floating-point operations of convolutions and dense layers in a training step.
    """

    config: dict
    programs: dict
    entries: list
    metric_entries: list
    images: list
    classes: int
    steps_per_epoch: int
    steps_per_call: int
    validation_batch: int
    flops_per_step: float

    def write(self, folder):
        Path(folder, "program.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder):
        values = json.loads(Path(folder, "program.json").read_text(encoding="utf-8"))
        programs = {name: Program(**program) for name, program in values.pop("programs").items()}
        return cls(programs=programs, **values)


def write_program(folder, name, text):
    """Write a program."""
    Path(folder, f"{name}.mlir.xz").write_bytes(lzma.compress(text.encode()))


def read_program(folder, name):
    """Return a program as text."""
    return lzma.decompress(Path(folder, f"{name}.mlir.xz").read_bytes()).decode()


def epoch_order(seed, epoch, count, used):
    """Return the numbers of the images of an epoch in their order, int32 `(used,)`.

    Args:
        seed, epoch: integers that determine the order.
        count: number of images.
        used: number of images that fill the batches of an epoch, at most `count`.
    """
    return np.random.default_rng((seed, epoch)).permutation(count)[:used].astype(np.int32)


def write_state(path, values):
    """Write the entries of a state, a list of arrays; `None` leaves an entry out."""
    np.savez_compressed(path, **{str(number): value for number, value in enumerate(values) if value is not None})


def read_state(path, entries):
    """Return the values of the entries as a list of arrays; those that were left out are drawn at random, for timing.

    Args:
        path: path of the file.
        entries: as in `Artifact`.
    """
    random = np.random.default_rng(0)
    with np.load(path, allow_pickle=False) as stored:
        found = {int(name): stored[name] for name in stored.files}
    return [
        found[number] if number in found else _drawn(random, shape, dtype)
        for number, (_, shape, dtype) in enumerate(entries)
    ]


def _drawn(random, shape, dtype):
    if dtype == "bool":
        return np.ones(shape, dtype)
    return random.normal(0, 0.05, shape).astype(dtype)


def write_split(path, splits):
    """Write the numbers of the images of each split, and their labels.

    Args:
        path: path of the file.
        splits: dict from `"train"` and `"validation"` to a pair of integer arrays.
    """
    arrays = {}
    for name, (numbers, labels) in splits.items():
        arrays |= {name: numbers.astype(np.int32), f"{name}_labels": labels.astype(np.int32)}
    np.savez_compressed(path, **arrays)


def read_images(data, folder, split):
    """Return images and labels of `"train"` or `"validation"`; JPEG files are decoded with Pillow.

    Args:
        data: path of the folder with `data.npz`.
        folder: path of the folder with `split.npz`.
        split: name of the split.
    """
    with np.load(Path(folder, "split.npz"), allow_pickle=False) as stored:
        numbers, labels = stored[split], stored[f"{split}_labels"]
    with np.load(Path(data, "data.npz"), allow_pickle=False) as stored:
        if "images" in stored.files:
            return stored["images"][numbers], labels
        content, sizes = stored["jpeg"].tobytes(), stored["sizes"].astype(np.int64)
    from PIL import Image

    ends = np.cumsum(sizes)
    places = zip((ends - sizes)[numbers], ends[numbers], strict=True)
    return np.stack([np.asarray(Image.open(io.BytesIO(content[start:end]))) for start, end in places]), labels
