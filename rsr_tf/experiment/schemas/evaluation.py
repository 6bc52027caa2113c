"""The model of `evaluation.json`."""

from typing import Annotated

from pydantic import model_validator

from rsr_tf.experiment.schemas.base import (
    Bytes,
    Count,
    Finite,
    Layer,
    Network,
    Noise,
    NotNegative,
    Part,
    Positive,
    Rows,
    Scores,
    Share,
    ShareBelow,
    WhiteBox,
    check,
)


class Histogram(Part):
    """Histogram of the weights."""

    edges: Annotated[list[Finite], Rows]
    counts: list[Count]

    @model_validator(mode="after")
    def _one_edge_more(self):
        return check(self, len(self.edges) == len(self.counts) + 1, "edges must be one more than counts")


class NoiseScale(Part):
    """Mean noise scale of one kernel."""

    path: str
    mean: NotNegative


class Facts(Part):
    """What a network weighs and costs."""

    parameters: Count
    macs: Count | None
    bytes: Bytes | None
    alpha: list[NoiseScale]


class EvaluatedNetwork(Part):
    """One network of `evaluation.json`."""

    sparsity: Share
    layers: list[Layer]
    histogram: Histogram
    share_below: ShareBelow
    scores: dict[Noise, Scores]
    facts: Facts | None = None
    identity: str | None = None


class EvaluationSettings(WhiteBox):
    """Settings of an evaluation."""

    num_images: Positive
    repeats: Positive


class Shown(Part):
    """Attacked example images of one network."""

    adversarial: list[str]
    clean_predictions: list[Count]
    adversarial_predictions: list[Count]


class Examples(Part):
    """Example images; further keys are networks."""

    __pydantic_extra__: dict[str, Shown]
    labels: list[Count]
    clean: list[str]


class Evaluation(Part):
    """`evaluation.json`; without examples it is not finished, and only its networks are read."""

    data: str = ""
    class_names: list[str] = []
    model: str = ""
    scheme: str = ""
    seed: int = 0
    attack: EvaluationSettings | None = None
    networks: dict[Network, EvaluatedNetwork]
    examples: Examples | None = None

    @model_validator(mode="after")
    def _complete(self):
        if self.examples is None:
            return self
        missing = set(type(self).model_fields) - self.model_fields_set
        check(self, not missing, f"{', '.join(sorted(missing))} must be there, as there are examples")
        complete = "pruned" in self.networks and all(network.scores for network in self.networks.values())
        check(self, complete, "networks must have a pruned one and all their scores, as there are examples")
        lists = [self.examples.labels, self.examples.clean]
        classes = [self.examples.labels]
        for shown in self.examples.model_extra.values():
            predictions = [shown.clean_predictions, shown.adversarial_predictions]
            lists, classes = [*lists, shown.adversarial, *predictions], classes + predictions
        check(self, len(set(map(len, lists))) == 1, "examples must be equally many everywhere")
        known = all(label < len(self.class_names) for labels in classes for label in labels)
        return check(self, known, "examples must have labels and predictions among class_names")
