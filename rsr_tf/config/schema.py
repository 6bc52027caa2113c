"""The sections and keys of a config, with their types, ranges and defaults.

Only `experiment` and `cli` import this package; every other module takes plain arguments.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from rsr_tf import choices
from rsr_tf.config.networks import Network
from rsr_tf.config.sections import (
    Count,
    NotNegative,
    Number,
    PixelDistance,
    Positive,
    PositiveCount,
    Section,
    Share,
    ShareHeldOut,
)


def _data_set(value):
    """Check the name of a data set against `choices.DATA_SETS`, where `NAME` stands for any name."""
    kind, _, name = value.partition(":")
    if value not in choices.DATA_SETS and not (name and f"{kind}:NAME" in choices.DATA_SETS):
        *others, last = map(repr, choices.DATA_SETS)
        raise ValueError(f"should be {', '.join(others)} or {last}")
    return value


class Data(Section):
    """The data set."""

    name: Annotated[str, AfterValidator(_data_set)] = Field(
        description="digits, cifar10, npz: a NumPy file, folder: image files, or tfds:NAME (docs/data.md)"
    )
    directory: str = Field("", description="prepared TFDS folder, path of the npz file, or the folder of the images")
    validation: ShareHeldOut = Field(0.1, description="share of training images held out, if the data has no split")
    test: ShareHeldOut = Field(0.2, description="folder: share of each class for the test, if there is no test folder")
    resize: Annotated[list[PositiveCount], Field(min_length=2, max_length=2)] | None = Field(
        None, description="folder, tfds: [height, width] to which every image is resized (bilinear, antialiased)"
    )
    cache: Literal[*choices.DATA_CACHES] = Field(
        "auto", description="folder, tfds: images in memory, or read batch by batch; auto: memory up to 1 GiB"
    )
    crop_and_flip: bool = Field(False, description="random crops (padding 4) and mirror images in training")
    augment: list[str] = Field([], description="further augmentations in training, layers of Keras (docs/data.md)")
    class_weights: Literal[*choices.CLASS_WEIGHTS] = Field(
        "none", description="balanced: every class has the same share of the training loss"
    )

    @field_validator("augment")
    @classmethod
    def _known_augmentations(cls, names, info):
        for name in names:
            if name in choices.LABEL_MIXING:
                raise ValueError(f"takes no {name}: it mixes labels, but the losses take one class for each image")
            if name not in choices.AUGMENTATIONS:
                raise ValueError(f"should be a list of {', '.join(choices.AUGMENTATIONS)}")
        if info.data.get("crop_and_flip") and "crop_and_flip" in names:
            raise ValueError("crops and flips twice with crop_and_flip = true")
        return names

    @property
    def options(self):
        """The options of `rsr_tf.data.load` that only some sources use, where they are not the default."""
        return self.model_dump(include={"test", "resize", "cache"}, exclude_defaults=True)


class Model(Network):
    """The network and its regularization."""

    start: str = Field("", description="run folder, for its trained network, or .keras file with the starting weights")
    noise: Literal[*choices.NOISE_KINDS] = Field("channel", description="weight noise (Eq. 4)")
    noise_scale: NotNegative = Field(0.25, description="start value of alpha")
    lasso: NotNegative = Field(5e-5, description="lambda of Eq. 6")
    lasso_step: Literal[*choices.LASSO_STEPS] = Field(
        "gradient", description="gradient: in the loss (Eq. 6); proximal: after every update, for exact zeros"
    )
    group_lasso: NotNegative = Field(0.0, description="lambda of the lasso over whole filters of the convolutions")
    activation_bits: Annotated[int, Field(ge=0, le=24)] = Field(
        0, description="DQ: bits of the hidden activations, clipped to [0, 6]; 0 for ReLU"
    )
    orthogonality: NotNegative = Field(0.0, description="DQ: beta of the penalty on kernels that expand distances")
    image_noise: NotNegative = Field(0.0, description="RSE, DP: standard deviation of noise on the pixels")
    feature_noise: NotNegative = Field(0.0, description="RSE: that of noise before all convolutions but the first")


class Attack(Section):
    """The attack of adversarial training (Eq. 1 and 2)."""

    norm: Literal[*choices.NORMS] = Field("linf", description="norm of the ball in training")
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
    optimizer: Literal[*choices.OPTIMIZERS] = Field("sgd", description="of Keras; sgd with Nesterov momentum")
    momentum: Annotated[Number, Field(ge=0, lt=1)] = Field(0.9, description="Nesterov momentum of sgd; 0 for none")
    clip_norm: NotNegative = Field(0.0, description="largest norm of the gradient of all weights together; 0 for none")
    learning_rate: Positive = Field(0.1, description="highest learning rate")
    schedule: Literal[*choices.LEARNING_RATE_SCHEDULES] = Field(
        "steps", description="steps: x0.1 at half and at three quarters; cosine: up over 30 %, then down to 0"
    )
    weight_decay: NotNegative = Field(0.0, description="decoupled, on everything but alpha")
    objective: Literal[*choices.OBJECTIVES] = Field(
        "adversarial-training", description="how clean and adversarial images make the loss (Eq. 5)"
    )
    clean_weight: Share = Field(0.5, description="a of Eq. 5")
    ema_momentum: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="of the moving average of the weights, such as 0.999, which becomes the network; 0 for none"
    )
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="share of each label given to all classes alike; the attack of training raises this loss, too"
    )
    warmup_epochs: Count = Field(0, description="epochs of plain training at the start")
    keep: Literal[*choices.KEPT_EPOCHS] = Field(
        "last", description="network that is pruned and evaluated: of the last epoch, or of the best by validation"
    )
    patience: Count = Field(0, description="epochs without a better one after which training stops; 0 never stops it")
    checkpoint_steps: Count = Field(0, description="steps between two checkpoints within an epoch; 0 for none")
    checkpoint_minutes: NotNegative = Field(0.0, description="minutes between two checkpoints within an epoch; 0: none")
    precision: Literal[*choices.PRECISIONS] = Field("float32", description="Keras dtype policy")
    devices: Literal[*choices.DEVICES] = Field("one", description="all: every GPU of all hosts; they share a step")
    deterministic: bool = Field(False, description="the same bits in every run on the same machine; slower")

    @model_validator(mode="after")
    def _momentum_that_is_used(self):
        if self.optimizer != "sgd" and self.momentum != type(self).model_fields["momentum"].default:
            raise ValueError(f'optimizer "{self.optimizer}" does not use momentum ({self.momentum:g})')
        return self


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
