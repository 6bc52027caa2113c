"""The models of `artefacts.json`, `sweep.json`, `zoo_*.json`, `transfer.json`, `stages.json` and `rsr_tf.json`, and of
the rows of `history.csv`."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, model_validator

from rsr_tf.experiment.schemas.base import (
    Bytes,
    Count,
    Interval,
    Layer,
    Network,
    NotNegative,
    Part,
    Positive,
    Score,
    Share,
    ShareBelow,
    Variants,
    WhiteBox,
    check,
)


class Spread(Part):
    """Median and quartiles of times."""

    median: NotNegative
    quartiles: Annotated[tuple[NotNegative, NotNegative], Field(strict=False)]


Timings = dict[Literal["1", "128"], Spread]


class TransferScores(Part):
    """Scores of an exported file."""

    clean: Score
    pgd: Score


class ExportedFile(Part):
    """One exported file; while it is being measured, without scores or latency."""

    runtime: str
    noisy: bool
    bytes: Positive
    gzip_bytes: Count
    scores: TransferScores | None = None
    latency: Timings | None = None


class ExportedNetwork(Part):
    """The files of one network."""

    sparsity: Share = 0.0
    dense_bytes: Positive = 1
    artefacts: dict[str, ExportedFile] = {}


class Machine(Part):
    """What the latencies were measured on."""

    cores: Positive
    tensorflow: str
    tflite_runtime: str
    tflite_threads: Positive


class Artefacts(Part):
    """`artefacts.json`; without speedup it is not finished."""

    attack: WhiteBox
    calibration_images: Count
    networks: dict[Network | Literal["given"], ExportedNetwork]
    machine: Machine | None = None
    speedup: dict[str, Timings] | None = None

    @model_validator(mode="after")
    def _complete(self):
        files = [file for network in self.networks.values() for file in network.artefacts.values()]
        check(self, all(file.latency is None or len(file.latency) == 2 for file in files), "latency must be complete")
        if self.speedup is None:
            return self
        check(self, self.machine is not None, "machine must be there, as there is a speedup")
        if not all(file.scores and file.latency for file in files):  # a stopped stage, which can be continued
            return self
        first, *others = [set(network.artefacts) for network in self.networks.values()] or [set()]
        known = all(len(self.speedup.get(title, {})) == 2 for titles in others for title in first & titles)
        return check(self, known, "speedup must have every file that both networks have")


class SweepPoint(Part):
    """One pruned copy of a network."""

    target: Literal["sparsity", "gamma"]
    value: NotNegative
    sparsity: Share
    weights: Positive
    zeros: Count
    layers: list[Layer]
    bytes: Bytes
    scores: Variants


class SweepNetwork(Part):
    """One network of a lambda."""

    sparsity: Share
    scores: Variants


class SweepLambda(Part):
    """One lambda."""

    value: NotNegative = Field(alias="lambda")
    share_below: ShareBelow
    networks: dict[Literal["trained", "pruned"], SweepNetwork]


class Sweep(Part):
    """`sweep.json`."""

    network: str | None
    share_below: dict[Network, ShareBelow]
    points: Annotated[list[SweepPoint], Field(max_length=1000)]
    lambdas: Annotated[list[SweepLambda], Field(max_length=1000)]

    @model_validator(mode="after")
    def _alike(self):
        kinds = {(tuple(point.scores), tuple(layer.path for layer in point.layers)) for point in self.points}
        check(self, len(kinds) <= 1, "points must have the same variants and layers")
        check(self, all("pruned" in row.networks for row in self.lambdas), "lambdas must have a pruned network")
        variants = {tuple(network.scores) for row in self.lambdas for network in row.networks.values()}
        return check(self, len(variants) <= 1, "lambdas must have the same variants")


class Portion(Part):
    """A share of images with its interval."""

    mean: Share
    interval: Interval


class Success(Part):
    """Success of ZOO; nothing for no attacked image."""

    of_attacked: Portion | None
    of_all: Portion


class ZOOColumn(Part):
    """One column of a table of ZOO."""

    success: Success


class ZOOTable(Part):
    """`zoo_*.json`."""

    images: list[Count]
    columns: dict[str, ZOOColumn]
    network: str = ""


class Transferred(Part):
    """Accuracy of one network on the images of another."""

    mean: Share
    interval: Interval


class Transfer(Part):
    """`transfer.json`, and `transfer_*.json`, its copy in the folder of each run."""

    num_images: Positive
    accuracy: Annotated[dict[str, dict[str, Transferred]], Field(min_length=1, max_length=1000)]
    page: str = ""

    @model_validator(mode="after")
    def _rectangular(self):
        targets = {tuple(row) for row in self.accuracy.values()}
        return check(self, len(targets) == 1 and targets != {()}, "accuracy must have the same targets in every row")


class MachineOfStage(Part):
    """Where a stage was worked on."""

    processor: str
    cores: Positive
    accelerators: list[str]
    system: str
    python: str


class Stage(Part):
    """When a stage was worked on, all calls together."""

    started: str
    finished: str
    seconds: NotNegative
    calls: Positive
    machine: MachineOfStage


class Stages(Part):
    """`stages.json`."""

    stages: dict[str, Stage]


class Metadata(Part):
    """`rsr_tf.json` of a SavedModel."""

    noisy: bool = True
    sparsity: Share | None = None
    classes: list[str] = []
    config: dict | None = None
    versions: dict[str, str] = {}
    network_sha256: str | None = None


class HistoryRow(Part):
    """A row of `history.csv`: strings; the further columns hold numbers, or nothing in stages without them."""

    model_config = ConfigDict(extra="allow", strict=False)

    __pydantic_extra__: dict[str, float | Literal[""]]
    stage: Literal["train", "admm", "finetune", "undefended"]
    epoch: Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]

    @model_validator(mode="after")
    def _adversarial_loss(self):
        values = self.model_extra
        attacked = any(values[name] != "" for name in values if name.removeprefix("val_").startswith("adversarial"))
        known = not attacked or isinstance(values.get("adversarial_loss"), float)
        return check(self, known, "adversarial_loss must be there, as there are adversarial values")


History = TypeAdapter(Annotated[list[HistoryRow], Field(max_length=1_000_000)])
