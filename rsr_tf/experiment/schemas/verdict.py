"""The model of `verdict_*.json`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rsr_tf import choices
from rsr_tf.experiment.schemas.base import (
    Count,
    Interval,
    Noise,
    NotNegative,
    Part,
    Positive,
    Rows,
    Share,
    check,
)


class Case(Part):
    """Accuracy by majority and by single predictions."""

    accuracy: Share
    interval: Interval
    mean: Share
    mean_interval: Interval
    num_images: Positive


class Cases(Part):
    """A network of a verdict without an attack and under the worst one."""

    clean: Case
    worst_case: Case


class Claim(Part):
    """The claim of a verdict."""

    accuracy: Share
    interval: Interval
    num_images: Positive
    predictions: Positive
    noise: Noise
    measure: Literal["majority", "mean"]


class Function(Part):
    """A function that Keras serialized."""

    config: str


class AttackSettings(Part):
    """Settings of one attack of a suite; further keys are its own."""

    __pydantic_extra__: dict[str, bool | int | float | str | list | Function | None]
    attack: str
    epsilon: NotNegative = 0.0
    step_size: NotNegative = 0.0


class AttackRow(Case):
    """One attack of a verdict, scored on one network."""

    attack: str
    crafted_on: str
    scored_on: Noise
    subset: Literal["all", "checks", "still_robust"]
    robust_accuracy: Share
    robust_accuracy_interval: Interval
    largest_distance: NotNegative
    seconds: NotNegative
    parameters: AttackSettings


class CheckRow(Part):
    """One check of a verdict; its value may be infinite."""

    name: str
    passed: bool
    value: float
    threshold: float
    sentence: str
    wanted: str


class CurvePoint(Part):
    """Accuracy at one epsilon."""

    epsilon: NotNegative
    mean: Share
    mean_interval: Interval


class SuiteSettings(Part):
    """Parameters of a suite."""

    suite: Literal[*choices.SUITES]
    epsilon: Annotated[NotNegative, Field(gt=0)]
    norm: Literal[*choices.NORMS]
    num_images: Positive
    predictions: Positive
    seed: int
    batch_size: Positive
    images: list[Count]
    random: dict[Noise, bool]
    noise: dict[Noise, NotNegative]


class Verdict(Part):
    """`verdict_*.json`."""

    data: str
    model: str
    scheme: str
    network: Literal[*choices.NETWORKS, "exported", "given"]
    sparsity: Share | None
    versions: dict[str, str]
    claim: Claim
    failed_checks: Count
    by_noise: dict[Noise, Cases]
    frozen: Cases | None = None
    attacks: Annotated[list[AttackRow], Rows]
    kinds: list[Annotated[tuple[str, str], Field(strict=False)]]
    checks: Annotated[list[CheckRow], Rows]
    curve: Annotated[list[CurvePoint], Field(min_length=2, max_length=1000)]
    parameters: SuiteSettings

    @model_validator(mode="after")
    def _complete(self):
        known = "noise_on" in self.by_noise and self.claim.noise in self.by_noise
        check(self, known, "by_noise must have noise_on and the network of the claim")
        check(self, "noise_on" in self.parameters.random, "parameters must have random for noise_on")
        scored = {target: set() for target in self.by_noise}
        for row in self.attacks:
            scored.setdefault(row.scored_on, set()).add((row.attack, row.crafted_on))
        check(
            self, len({frozenset(pairs) for pairs in scored.values()}) == 1, "attacks must be scored on every network"
        )
        shown = {row.subset for row in self.attacks} >= {"all", "checks"} and all(
            any(row.scored_on == target and self._has_claimed_epsilon(row) for row in self.attacks)
            for target in self.by_noise
        )
        check(self, shown, "attacks must have some on all images and some of the checks, at the epsilon of the claim")
        norm, epsilon = self.parameters.norm, self.parameters.epsilon
        check(self, norm != "linf" or epsilon <= 1, "parameters must have an epsilon of at most 1 in linf")
        radii = [point.epsilon for point in self.curve]
        return check(self, radii == sorted(set(radii)), "curve must be of increasing epsilon")

    def _has_claimed_epsilon(self, row):
        return "epsilon" not in row.parameters.model_fields_set or row.parameters.epsilon == self.parameters.epsilon
