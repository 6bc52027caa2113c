"""A grid of runs: the values of a few axes, and a config for each combination, read from one TOML file.

    name = "noises"
    title = "Which noise?"
    seeds = [0, 1, 2]
    axes = ["noise"]

    [config]                      # of every run, as in a config file
    data.name = "digits"
    model.name = "small_cnn"

    [axis.noise.channel]          # a value of an axis, with what it changes in the config
    label = "channel-wise"

    [axis.noise.none]
    config = {model.noise = "none"}

    [scale.short]                 # optional: another size of the whole grid, which changes any part of the file
    seeds = [0]
    config = {training.epochs = 2}

`extends = "FILE"` takes what is missing from another file.
"""

import copy
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from rsr_tf import choices
from rsr_tf.config.loading import GRIDS, find_config, parse_config, parse_file
from rsr_tf.config.schema import Config
from rsr_tf.config.sections import Count, NotNegative, PositiveCount, Section, Share
from rsr_tf.errors import UserError, explain_validation, user_errors

MAX_EXTENDS = 5
"""Files that build on each other."""
MAX_RUNS = 10_000
SEEDS = "a grid takes `seeds` of its file, one for each run"


class Value(Section):
    """A value of an axis."""

    label: str = Field("", description="what tables call it; defaults to its name")
    config: dict = Field({}, description="what it changes in the config")
    note: str = Field("", description="a remark below the tables")


class Reference(Section):
    """Numbers from elsewhere for the networks of one cell, in percent."""

    source: str = Field("", description="where they come from")
    trained: dict[Literal[*choices.GRID_COLUMNS], float] = {}
    pruned: dict[Literal[*choices.GRID_COLUMNS], float] = {}


class Measure(Section):
    """What is measured of every run, besides the attacks of the config."""

    networks: list[Literal["trained", "pruned"]] = Field(["trained", "pruned"], description="rows of a table")
    columns: list[Literal[*choices.GRID_COLUMNS]] = Field(
        ["clean", "pgd", "fgsm", "sparsity"], description="columns of a table"
    )
    suite: Literal["", *choices.SUITES] = Field("", description="suite of attacks")
    judged: list[Literal["trained", "pruned"]] = Field(["pruned"], description="networks that the suite attacks")
    images: PositiveCount | None = Field(None, description="test images of the suite")
    sparsities: list[Share] = Field([], description="sweep of the first seed over sparsities (Fig. 2a)")
    lambdas: list[NotNegative] = Field([], description="sweep of the first seed over model.lasso (Fig. 2b)")
    swept: list[str] = Field([], description="cells with a sweep; defaults to all")
    transfer: list[str] = Field([], description="cells between which adversarial images are transferred (Table 3)")
    zoo: list[str] = Field([], description="cells that ZOO attacks, first seed (Table 3)")
    zoo_images: PositiveCount = Field(200, description="test images of ZOO")
    certified_images: Count = Field(0, description="test images with a certificate, where there is noise on the pixels")
    certificate_draws: PositiveCount = Field(2000, description="draws of the noise for each certificate")
    weights: list[str] = Field([], description="cells whose weights are drawn (Fig. 1 and 2c)")


class Grid(Section):
    """The whole file, after `extends` and with the changes of a scale."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = Field(description="name of the files with results")
    title: str
    note: str = ""
    axes: list[str] = Field(min_length=1)
    seeds: list[Count] = Field([0], min_length=1)
    values: dict[str, list[str]] = {}
    axis: dict[str, dict[str, Value]]
    config: dict = {}
    measure: Measure = Measure()
    compare: bool = Field(True, description="whether the numbers of `reference` are shown")
    reference: dict[str, Reference] = Field({}, description="by the name of a cell, or of one of its values")

    @model_validator(mode="after")
    def _known(self):
        for axis in (*self.axes, *self.values):
            if axis not in self.axis:
                raise ValueError(f"axis {axis} has no values: expected a section [axis.{axis}.NAME]")
        for axis, names in self.values.items():
            unknown = [name for name in names if name not in self.axis[axis]]
            if unknown or not names:
                raise ValueError(f"values.{axis} must be some of {', '.join(self.axis[axis])}. Received: {names}")
        cells = ["-".join(names) for names in self.combinations()]
        if len(cells) * len(self.seeds) > MAX_RUNS:
            raise ValueError(f"a grid has at most {MAX_RUNS} runs. Received: {len(cells) * len(self.seeds)}")
        for part in ("swept", "transfer", "zoo", "weights"):
            unknown = [name for name in getattr(self.measure, part) if name not in cells]
            if unknown:
                raise ValueError(f"measure.{part} must name cells such as {cells[0]}. Received: {unknown[0]}")
        return self

    @model_validator(mode="after")
    def _a_folder_for_each_run(self):
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ. Received: {self.seeds}")
        cells = ["-".join(names) for names in self.combinations()]
        for cell, following in itertools.pairwise(sorted(cells)):
            if cell == following:
                raise ValueError(f"two cells are called {cell}")
        for name in {name for names in self.combinations() for name in names}:
            if "/" in name or "\\" in name:
                raise ValueError(f"names of values must be names of folders. Received: {name}")
        return self

    def combinations(self):
        """Return the names of the values of each cell, in the order of `axes`, as a list of tuples."""
        return list(itertools.product(*(self.values.get(axis, list(self.axis[axis])) for axis in self.axes)))


@dataclass(frozen=True)
class Cell:
    """One combination of values: several runs that differ in their seed alone.

    Args:
        name: the names of the values, joined by `-`.
        labels: dict from axis to the label of its value.
        note: remarks of its values.
        configs: dict from seed to `Config`.
        reference: a `Reference`.
    """

    name: str
    labels: dict
    note: str
    configs: dict[int, Config]
    reference: Reference


def load_grid(path, scale=None, overrides=()):
    """Read and check a grid, and the config of every run in it.

    Args:
        path: path of a TOML file, or the name of a packaged one, such as `"paper/table1"`.
        scale: name of a scale of the file. Defaults to `None`, the file as it is.
        overrides: strings `"section.key=value"` for the config of every run.

    Returns:
        A tuple of a `Grid` and its list of `Cell`.

    Raises:
        UserError: for a file that cannot be read, a wrong key or value, or an unknown scale.
    """
    with user_errors():
        source = find_config(path, GRIDS)
    values = _with_base(source)
    scales = values.pop("scale", {})
    if not isinstance(scales, dict) or not all(isinstance(changes, dict) for changes in scales.values()):
        raise UserError(f"{source}: `scale` must hold a section for each scale")
    if scale is not None and scale not in scales:
        raise UserError(f"{source} has no scale {scale}. Expected one of: {', '.join(scales) or 'none'}")
    values = merged(values, scales.get(scale, {}))
    try:
        grid = Grid.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {explain_validation(error)}") from error
    for override in overrides:
        if override.partition("=")[0].strip() == "seed":
            raise UserError(f"--set {override}: {SEEDS}")
    return grid, [_cell(grid, names, overrides, source) for names in grid.combinations()]


def grid_folder(path, scale):
    """Return the default folder of a grid: `runs/FOLDER/SCALE`, which grids of one folder share."""
    return Path("runs") / (Path(path).parent.name or Path(path).stem) / (scale or "")


def _with_base(source, depth=0):
    """Return the values of a file with those of the file that it extends."""
    values = parse_file(source)
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str) or depth == MAX_EXTENDS:
        raise UserError(f"{source}: `extends` must be the path of a file, at most {MAX_EXTENDS} deep. Received: {base}")
    return merged(_with_base(Path(source).parent / base, depth + 1), values)


def _cell(grid, names, overrides, source):
    chosen = [grid.axis[axis][name] for axis, name in zip(grid.axes, names, strict=True)]
    name = "-".join(names)
    values = grid.config
    for value in chosen:
        values = merged(values, value.config)
    if "seed" in values:
        raise UserError(f"{source}, cell {name}: {SEEDS}")
    configs = {
        seed: parse_config({**copy.deepcopy(values), "seed": seed}, overrides, source=f"{source}, cell {name}")
        for seed in grid.seeds
    }
    labels = {axis: value.label or key for axis, key, value in zip(grid.axes, names, chosen, strict=True)}
    note = " ".join(value.note for value in chosen if value.note)
    known = grid.reference if grid.compare else {}
    reference = next((known[key] for key in (name, *names) if key in known), Reference())
    return Cell(name, labels, note, configs, reference)


def merged(values, changes):
    """Return nested dicts with changes: what `changes` has replaces what `values` has, key by key.

    Example:
        >>> from rsr_tf.config.grid import merged
        >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
        {'a': {'b': 3, 'c': 2}}
    """
    both = dict(values)
    for key, value in changes.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both
