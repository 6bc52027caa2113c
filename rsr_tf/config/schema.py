"""The configuration of a run: typed, checked before anything starts, read from TOML.

Only `experiment` and `cli` know it; every other module takes plain arguments.
"""

import difflib
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

CONFIG_FILE = "config.toml"
"""Name of the config in the folder of a run."""


class UserError(Exception):
    """A mistake that its maker can mend; the command prints it as one line and exits with code 2."""


def _number(value):
    """A number as it is, a fraction such as "8/255" as the number it means."""
    if isinstance(value, str):
        try:
            return float(Fraction(value))
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            raise ValueError('expected a number or a fraction such as "8/255"') from error
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
PixelDistance = Annotated[Number, Field(gt=0, le=1)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Data(Section):
    name: Literal["digits", "cifar10", "npz"] = Field(description="digits, cifar10 (TFDS), or npz: a file of your own")
    directory: str = Field("", description="prepared TFDS folder, or the file of an npz data set")
    validation: Annotated[Number, Field(gt=0, lt=1)] = Field(0.1, description="share of training images held out")
    crop_and_flip: bool = Field(False, description="random crops (padding 4) and mirror images in training")


class Model(Section):
    name: Literal["small_cnn", "resnet20", "resnet18", "vgg16"] = Field(description="one of `rsr_tf.models`")
    noise: Literal["channel", "layer", "element", "none"] = Field("channel", description="weight noise (Eq. 4)")
    noise_scale: NotNegative = Field(0.25, description="start value of alpha")
    lasso: NotNegative = Field(5e-5, description="lambda of Eq. 6")
    lasso_step: Literal["gradient", "proximal"] = Field(
        "gradient", description="gradient: in the loss (Eq. 6); proximal: after every update, for exact zeros"
    )
    group_lasso: NotNegative = Field(0.0, description="lambda of the lasso over whole filters of the convolutions")
    width: Annotated[Number, Field(gt=0, le=16)] = Field(1.0, description="factor on the number of filters (Table 2)")


class Attack(Section):
    """The attack of training (Eq. 1 and 2)."""

    epsilon: PixelDistance = Field(8 / 255, description="radius of the linf ball, pixels in [0, 1]")
    step_size: PixelDistance = Field(2 / 255, description="length of a step")
    steps: Count = Field(7, description="number of steps; 0 trains without attack")
    random_start: bool = Field(True, description="start from a random point of the ball")
    labels: Literal["true", "predicted"] = Field("true", description="labels that the attack works against")
    overfitting_watch: Literal["off", "warn", "multi-step"] = Field(
        "off", description="for one-step training: warn of catastrophic overfitting, or go on with 7 steps"
    )


class Training(Section):
    epochs: PositiveCount = Field(160, description="passes over the training images")
    batch_size: PositiveCount = Field(128, description="images in a step")
    optimizer: Literal["sgd", "adam"] = Field("sgd", description="sgd has Nesterov momentum 0.9")
    learning_rate: Positive = Field(0.1, description="highest learning rate")
    schedule: Literal["constant", "steps", "cosine"] = Field(
        "steps", description="steps: x0.1 at half and at three quarters; cosine: up over 30 %, then down to 0"
    )
    weight_decay: NotNegative = Field(0.0, description="decoupled, on everything but alpha")
    clean_weight: Share = Field(0.5, description="a of Eq. 5")
    warmup_epochs: Count = Field(0, description="epochs of plain training at the start")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="Keras dtype policy"
    )
    deterministic: bool = Field(False, description="bit for bit the same on the same machine; slower")


SCHEDULE_KEYS = {
    "one-shot": (),
    "constant": ("begin", "end", "frequency"),
    "polynomial": ("begin", "end", "frequency", "initial_sparsity", "power"),
    "rounds": ("rounds",),
}
"""Keys of the section `pruning` that one schedule has and another has not."""


class Pruning(Section):
    sparsity: Share | None = Field(0.6, description="share of weights to prune; this or gamma")
    gamma: NotNegative | None = Field(None, description="threshold of Eq. 7 and 8")
    scope: Literal["global", "layer"] = Field("global", description="one threshold, or one for each layer")
    filters: Share = Field(0.0, description="share of the filters to remove before, which makes the network smaller")
    exclude: list[str] = Field([], description="layers to leave: first, last, names or patterns, classes such as Dense")
    max_layer_sparsity: Share | None = Field(None, description="largest share of the weights of one layer to prune")
    schedule: Literal["one-shot", "constant", "polynomial", "rounds"] = Field(
        "one-shot", description="one-shot: once, after training; constant, polynomial: during it; rounds: after it"
    )
    begin: Share = Field(0.25, description="constant, polynomial: share of training at whose end pruning begins")
    end: Share = Field(0.75, description="constant, polynomial: share of training at whose end pruning is done")
    frequency: PositiveCount = Field(100, description="constant, polynomial: steps from one pruning to the next")
    initial_sparsity: Share = Field(0.0, description="polynomial: share of weights to prune at the beginning")
    power: Positive = Field(3.0, description="polynomial: exponent")
    rounds: PositiveCount = Field(
        5,
        description="rounds: their number, each prunes the same share of what is left and has finetune_epochs",
    )
    finetune_epochs: Count = Field(0, description="epochs of further training with the mask on")
    finetune_learning_rate: Positive = Field(1e-3, description="constant learning rate of these")

    @property
    def selection(self):
        """Which weights compete with which, as options of `rsr_tf.prune`."""
        return self.model_dump(include={"scope", "exclude", "max_layer_sparsity"})

    @property
    def in_training(self):
        """Whether the network is pruned while it is first trained, so that there is none before pruning."""
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
                raise ValueError(f'schedule "{self.schedule}" has no use for {key} ({value})')
        if self.filters and self.schedule in ("constant", "polynomial"):
            raise ValueError(f'schedule "{self.schedule}" prunes in training, too early for filters ({self.filters:g})')
        if not self.begin < self.end:
            raise ValueError(f"begin ({self.begin:g}) must be less than end ({self.end:g})")
        if self.schedule == "polynomial" and self.initial_sparsity > self.sparsity:
            raise ValueError(
                f"initial_sparsity ({self.initial_sparsity:g}) must not exceed sparsity ({self.sparsity:g})"
            )
        if self.schedule == "rounds" and not self.finetune_epochs:
            raise ValueError('schedule "rounds" needs finetune_epochs, which are 0')
        return self


class Undefended(Section):
    """The twin without defence, which shows what was gained."""

    epochs: Count = Field(0, description="epochs of plain training of the same network; 0 trains none")
    learning_rate: Positive = Field(0.1, description="highest learning rate")


class Evaluation(Section):
    epsilon: PixelDistance = Field(8 / 255, description="radius of the linf ball")
    step_size: PixelDistance = Field(2 / 255, description="length of a PGD step, at most epsilon")
    steps: PositiveCount = Field(7, description="number of PGD steps")
    images: Count = Field(1000, description="test images, the first ones; 0 takes all")
    draws: PositiveCount = Field(5, description="repetitions, each with new noise and a new start")
    batch_size: PositiveCount = Field(250, description="images attacked at once")

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
        """A copy with other values of some keys, as dicts by section; their values are not checked."""
        changes = {name: getattr(self, name).model_copy(update=keys) for name, keys in sections.items()}
        return self.model_copy(update=changes)


def load_config(path, overrides=()):
    """Read and check a config file.

    Args:
        path: path of a TOML file, or of a run folder, for the config in it.
        overrides: strings `"section.key=value"`, applied on top; the value is TOML, or else taken as a string.

    Returns:
        A `Config`.

    Raises:
        UserError: for a file that cannot be read, or for a key or value that is wrong; names the key, what was
            expected and what was found.
    """
    is_run = Path(path).is_dir()
    file = Path(path) / CONFIG_FILE if is_run else path
    if is_run and not file.exists():
        raise UserError(f"{path} is not a run folder: it has no {file.name}")
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the config {file}: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not valid TOML: {error}") from error
    if is_run:
        values.pop("versions", None)  # which a run writes into its own
    return parse_config(values, overrides, source=file)


def run_folder_of(path):
    """The folder that a run has by default: that of the run itself, or `runs/NAME` for a config file."""
    return Path(path) if Path(path).is_dir() else Path("runs") / Path(path).stem


def parse_config(values, overrides=(), *, source):
    """Check nested dicts of config values; see `load_config`."""
    for override in overrides:
        _override(values, override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {_explain(error.errors()[0])}") from error


def _override(values, override):
    key, equals, text = override.partition("=")
    *sections, name = key.strip().split(".")
    if not (equals and name and all(sections)):
        raise UserError(f"--set expects section.key=value. Received: {override}")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override}: `{section}` is not a section")
    if sections == ["pruning"]:  # one target in place of the other
        values.pop({"gamma": "sparsity", "sparsity": "gamma"}.get(name), None)
    try:
        values[name] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[name] = text


def parse_numbers(text, kind, *, source):
    """Read a list of numbers such as `"0, 1/2, 0.9"`.

    Args:
        text: numbers with commas between them; fractions will do.
        kind: what each must be, such as `Share` or `NotNegative`.
        source: what a message calls the list, such as `"--sparsities"`.

    Returns:
        A list of different numbers from low to high; empty for `None`.

    Raises:
        UserError: for anything else.
    """
    adapter = TypeAdapter(kind)
    try:
        return (
            sorted({adapter.validate_python(number.strip()) for number in text.split(",")}) if text is not None else []
        )
    except ValidationError as error:
        raise UserError(_explain({**error.errors()[0], "loc": (source,)})) from error


def _explain(error):
    key = " ".join(".".join(str(part) for part in error["loc"]).split()) or "config"
    if error["type"] == "extra_forbidden":
        return f"unknown key `{key}`. Expected {_known_keys(error['loc'])}"
    if error["type"] == "missing":
        return f"`{key}` is missing. Expected {_field(error['loc']).description or 'a section, with a `name` at least'}"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    received = "" if isinstance(error["input"], dict | Section) else f". Received: {error['input']!r}"
    return f"`{key}` {message}{received}"


def _section(location):
    section = Config
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    return section


def _field(location):
    return _section(location).model_fields[location[-1]]


def _known_keys(location):
    section = _section(location)
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"`{close[0]}`?" if close else f"one of {', '.join(known)}"


def key_table():
    """Every config key as `(key, default, description)`, for the README."""
    seed, *sections = Config.model_fields.items()
    keys = [seed] + [
        (f"{section}.{key}", entry)
        for section, field in sections
        for key, entry in field.annotation.model_fields.items()
    ]
    return [(key, _show_default(entry), entry.description) for key, entry in keys]


def _show_default(entry):
    value = entry.default
    if entry.is_required():
        return "required"
    if value in (8 / 255, 2 / 255):
        return f"{round(255 * value)}/255"
    if value is None or value in ("", []):
        return "none"
    return str(value).lower()
