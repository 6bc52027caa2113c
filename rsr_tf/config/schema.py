"""The sections and keys of a config, with their types, ranges and defaults.

Only `experiment` and `cli` import this package; every other module takes plain arguments.
"""

import contextlib
import math
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from rsr_tf import choices

LONGEST_NUMBER = 100
"""Characters of a number or fraction in quotes."""
LARGEST_COUNT = 1_000_000
"""Of epochs, steps, images, ...: far beyond any use, and far below what the int32 of a graph holds."""


def _number(value):
    """Convert a fraction such as "8/255" to a number; leave other values to pydantic."""
    if not isinstance(value, str):
        return value
    if len(value) <= LONGEST_NUMBER:
        for convert in (float, Fraction):  # in this order: `Fraction("1e999999999")` writes out all its digits
            with contextlib.suppress(ValueError, ZeroDivisionError, OverflowError):
                number = float(convert(value))
                if math.isfinite(number):
                    return number
                break
    raise ValueError('expected a number or a fraction such as "8/255"')


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
PixelDistance = Annotated[Number, Field(gt=0, le=1)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
PositiveCount = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]


class Section(BaseModel):
    """A section of the config: unknown keys are errors, values are not converted and cannot change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Data(Section):
    """The data set."""

    name: Literal[*choices.DATA_SETS] = Field(description="digits, cifar10 (TFDS), or npz: a NumPy file")
    directory: str = Field("", description="prepared TFDS folder, or path of the npz file")
    validation: Annotated[Number, Field(gt=0, lt=1)] = Field(0.1, description="share of training images held out")
    crop_and_flip: bool = Field(False, description="random crops (padding 4) and mirror images in training")


class Model(Section):
    """The network and its regularization."""

    name: Literal[*choices.MODELS] = Field(description="one of `rsr_tf.models`")
    noise: Literal[*choices.NOISE_KINDS] = Field("channel", description="weight noise (Eq. 4)")
    noise_scale: NotNegative = Field(0.25, description="start value of alpha")
    lasso: NotNegative = Field(5e-5, description="lambda of Eq. 6")
    lasso_step: Literal[*choices.LASSO_STEPS] = Field(
        "gradient", description="gradient: in the loss (Eq. 6); proximal: after every update, for exact zeros"
    )
    group_lasso: NotNegative = Field(0.0, description="lambda of the lasso over whole filters of the convolutions")
    width: Annotated[Number, Field(gt=0, le=16)] = Field(1.0, description="factor on the number of filters (Table 2)")
    activation_bits: Annotated[int, Field(ge=0, le=24)] = Field(
        0, description="DQ: bits of the hidden activations, clipped to [0, 6]; 0 for ReLU"
    )
    orthogonality: NotNegative = Field(0.0, description="DQ: beta of the penalty on kernels that expand distances")
    image_noise: NotNegative = Field(0.0, description="RSE, DP: standard deviation of noise on the pixels")
    feature_noise: NotNegative = Field(0.0, description="RSE: that of noise before all convolutions but the first")


class Attack(Section):
    """The attack of adversarial training (Eq. 1 and 2)."""

    norm: Literal[*choices.NORMS] = Field("linf", description="norm of the ball; evaluations are in linf")
    epsilon: Positive = Field(8 / 255, description="radius of the ball, pixels in [0, 1]")
    step_size: Positive = Field(2 / 255, description="length of a step")
    steps: Count = Field(7, description="number of steps; 0 trains without attack")
    random_start: bool = Field(True, description="start from a random point of the ball")
    labels: Literal[*choices.LABEL_SOURCES] = Field("true", description="labels given to the attack")
    overfitting_watch: Literal[*choices.OVERFITTING_WATCHES] = Field(
        "off", description="for one-step training: warn of catastrophic overfitting, or continue with 7 steps"
    )

    @field_validator("epsilon", "step_size")
    @classmethod
    def _inside_pixel_range(cls, value, info):
        if info.data.get("norm") == "linf" and value > 1:
            raise ValueError("must be at most 1 in linf")
        return value


class Training(Section):
    """Optimizer, learning rate and loss."""

    epochs: PositiveCount = Field(160, description="passes over the training images")
    batch_size: PositiveCount = Field(128, description="images in a step")
    optimizer: Literal[*choices.OPTIMIZERS] = Field("sgd", description="sgd has Nesterov momentum 0.9")
    learning_rate: Positive = Field(0.1, description="highest learning rate")
    schedule: Literal[*choices.LEARNING_RATE_SCHEDULES] = Field(
        "steps", description="steps: x0.1 at half and at three quarters; cosine: up over 30 %, then down to 0"
    )
    weight_decay: NotNegative = Field(0.0, description="decoupled, on everything but alpha")
    objective: Literal[*choices.OBJECTIVES] = Field(
        "adversarial-training", description="how clean and adversarial images make the loss (Eq. 5)"
    )
    clean_weight: Share = Field(0.5, description="a of Eq. 5")
    warmup_epochs: Count = Field(0, description="epochs of plain training at the start")
    precision: Literal[*choices.PRECISIONS] = Field("float32", description="Keras dtype policy")
    devices: Literal[*choices.DEVICES] = Field("one", description="all: every GPU of this host; they share a step")
    deterministic: bool = Field(False, description="bit for bit the same on the same machine; slower")


SCHEDULE_KEYS = {
    "one-shot": (),
    "constant": ("begin", "end", "frequency"),
    "polynomial": ("begin", "end", "frequency", "initial_sparsity", "power"),
    "rounds": ("rounds",),
    "admm": ("admm_epochs", "admm_frequency", "rho"),
}
"""Keys of the section `pruning` that only some schedules use."""


class Pruning(Section):
    """What is pruned, how much, and when."""

    sparsity: Share | None = Field(0.6, description="share of weights to prune; this or gamma")
    gamma: NotNegative | None = Field(None, description="threshold of Eq. 7 and 8")
    scope: Literal[*choices.SCOPES] = Field("global", description="one threshold, or one for each layer")
    filters: Share = Field(0.0, description="share of filters to remove first, which makes the network smaller")
    exclude: list[str] = Field([], description="layers to skip: first, last, names, patterns, classes such as Dense")
    max_layer_sparsity: Share | None = Field(None, description="largest share of the weights of one layer to prune")
    schedule: Literal[*choices.PRUNING_SCHEDULES] = Field(
        "one-shot",
        description="one-shot: once, after training; constant, polynomial: during it; rounds, admm: after it",
    )
    begin: Share = Field(0.25, description="constant, polynomial: share of training after which pruning begins")
    end: Share = Field(0.75, description="constant, polynomial: share of training after which pruning ends")
    frequency: PositiveCount = Field(100, description="constant, polynomial: steps between prunings")
    initial_sparsity: Share = Field(0.0, description="polynomial: share of weights to prune at the beginning")
    power: Positive = Field(3.0, description="polynomial: exponent")
    rounds: PositiveCount = Field(
        5,
        description="rounds: number of rounds; each prunes the same share of what remains, then fine-tunes",
    )
    admm_epochs: PositiveCount = Field(53, description="admm: epochs of training with ADMM, before pruning (SR)")
    admm_frequency: PositiveCount = Field(
        20, description="admm: epochs between two updates; the learning rate of fine-tuning begins anew with each"
    )
    rho: NotNegative = Field(1e-3, description="admm: weight of its penalty before the first update, x1.3 with each")
    finetune_epochs: Count = Field(0, description="epochs of further training with the mask applied")
    finetune_learning_rate: Positive = Field(1e-3, description="constant learning rate of fine-tuning")

    @property
    def selection(self):
        """The options of `rsr_tf.prune` that say which weights are pruned."""
        return self.model_dump(include={"scope", "exclude", "max_layer_sparsity"})

    @property
    def in_training(self):
        """Whether the network is pruned during its first training, so that no unpruned network exists."""
        return self.schedule in ("constant", "polynomial")

    @model_validator(mode="before")
    @classmethod
    def _gamma_alone(cls, values):
        return {"sparsity": None, **values} if isinstance(values, dict) and "gamma" in values else values

    @model_validator(mode="after")
    def _one_target(self):
        if (self.sparsity is None) == (self.gamma is None):
            raise ValueError(f"give exactly one of sparsity ({self.sparsity}) and gamma ({self.gamma})")
        return self

    @model_validator(mode="after")
    def _schedule_that_fits(self):
        if self.schedule != "one-shot" and self.sparsity is None:
            raise ValueError(f'schedule "{self.schedule}" takes a sparsity, not gamma ({self.gamma:g})')
        for key in sorted({key for keys in SCHEDULE_KEYS.values() for key in keys}):
            value = getattr(self, key)
            if key not in SCHEDULE_KEYS[self.schedule] and value != type(self).model_fields[key].default:
                raise ValueError(f'schedule "{self.schedule}" does not use {key} ({value})')
        if self.schedule == "admm" and self.scope != "layer":
            raise ValueError(f'schedule "admm" prunes each layer alike: scope must be "layer". Received: {self.scope}')
        if self.filters and self.in_training:
            raise ValueError(f'schedule "{self.schedule}" prunes in training, too early for filters ({self.filters:g})')
        if not self.begin < self.end:
            raise ValueError(f"begin ({self.begin:g}) must be less than end ({self.end:g})")
        if self.schedule == "polynomial" and self.initial_sparsity > self.sparsity:
            raise ValueError(
                f"initial_sparsity ({self.initial_sparsity:g}) must not exceed sparsity ({self.sparsity:g})"
            )
        if self.schedule in ("rounds", "admm") and not self.finetune_epochs:
            raise ValueError(f'schedule "{self.schedule}" needs finetune_epochs >= 1. Received: finetune_epochs=0')
        return self


class Undefended(Section):
    """The baseline: the same network without noise, lasso and adversarial training."""

    epochs: Count = Field(0, description="epochs of plain training of the same network; 0 trains none")
    learning_rate: Positive = Field(0.1, description="highest learning rate")


class Evaluation(Section):
    """The attacks of `rsr evaluate` (Section 4.1)."""

    epsilon: PixelDistance = Field(8 / 255, description="radius of the linf ball")
    step_size: PixelDistance = Field(2 / 255, description="length of a PGD step, at most epsilon")
    steps: PositiveCount = Field(7, description="number of PGD steps")
    images: Count = Field(1000, description="test images, drawn by class; 0 takes all")
    draws: PositiveCount = Field(5, description="repeats of the attack, each with new noise and a new start")
    batch_size: PositiveCount = Field(250, description="images attacked at once")
    ensemble: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="RSE, DP: draws of the noise whose mean probabilities are one prediction"
    )

    @model_validator(mode="after")
    def _step_inside_ball(self):
        if self.step_size > self.epsilon:
            raise ValueError(f"step_size ({self.step_size:g}) must be at most epsilon ({self.epsilon:g})")
        return self


class Config(Section):
    """Everything that a run depends on."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="seed of weights, noise, batches and attack")
    data: Data
    model: Model
    attack: Attack = Attack()
    training: Training = Training()
    pruning: Pruning = Pruning()
    undefended: Undefended = Undefended()
    evaluation: Evaluation = Evaluation()

    def changed(self, **sections):
        """Return a copy with other values for some keys.

        Args:
            **sections: dict from key to value for each section to change; the values are not checked.
        """
        changes = {name: getattr(self, name).model_copy(update=keys) for name, keys in sections.items()}
        return self.model_copy(update=changes)
