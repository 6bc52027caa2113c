"""Types and parts that the JSON files of a run share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rsr_tf import choices

Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[Finite, Field(ge=0)]
Share = Annotated[Finite, Field(ge=-1e-9, le=1 + 1e-9)]  # with the rounding of its computation
Radius = Annotated[Finite, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[int, Field(ge=1, lt=2**63)]
Interval = Annotated[tuple[Share, Share], Field(strict=False)]
Network = Literal[*choices.NETWORKS]
Noise = Literal["noise_on", "noise_off"]
Rows = Field(min_length=1, max_length=1000)
"""Of lists with an entry for each attack, check or point of a chart."""


class Part(BaseModel):
    """A part of a file: types are not converted, except lists to tuples."""

    model_config = ConfigDict(extra="allow", strict=True)


class Score(Part):
    """The mean accuracy of several repeats."""

    mean: Share
    std: NotNegative
    interval: Interval
    num_images: Positive
    repeats: Positive
    by_class: dict[str, Share] | None = None


class Bytes(Part):
    """Sizes of a network as a file."""

    dense_bytes: Positive
    compact_bytes: Count


class Scores(Part):
    """The scores of a network without an attack and under each attack."""

    clean: Score
    fgsm: Score
    pgd: Score


Variants = Annotated[dict[Noise, Scores], Field(min_length=1)]


class Layer(Part):
    """Sparsity of one kernel."""

    path: str
    shape: list[Count]
    weights: Positive
    zeros: Count


class ShareBelow(Part):
    """Curve of small weights."""

    gamma: Annotated[list[Finite], Rows]
    share: list[Share]

    @model_validator(mode="after")
    def _equally_long(self):
        return check(self, len(self.gamma) == len(self.share), "gamma and share must be equally long")


class WhiteBox(Part):
    """Settings of the attacks of `rsr evaluate`."""

    epsilon: Radius
    step_size: Radius
    steps: Positive


def check(part, condition, message):
    """Return a part if a condition holds, and raise `ValueError` with the message otherwise."""
    if not condition:
        raise ValueError(message)
    return part
