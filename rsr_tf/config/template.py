"""A config to begin with, as TOML with a comment at each key."""

import tomli_w

from rsr_tf.config.loading import find_config, parse_config, parse_file
from rsr_tf.config.reference import show_default
from rsr_tf.config.schema import Config

USEFUL = {
    "data": ("name", "directory", "validation", "crop_and_flip"),
    "model": ("name", "noise", "lasso", "width"),
    "attack": ("norm", "epsilon", "step_size", "steps"),
    "training": ("epochs", "batch_size", "optimizer", "learning_rate", "schedule", "objective", "precision"),
    "pruning": ("sparsity", "scope", "exclude", "schedule", "finetune_epochs"),
    "undefended": ("epochs", "learning_rate"),
    "evaluation": ("epsilon", "step_size", "steps", "images", "draws", "batch_size"),
}
"""The keys that a first config shows, by section."""
SMALL, LARGE = "quickstart", "cifar10/resnet20_rsr"
"""Packaged configs whose values a first config has: for small images without colours, and for all others."""


def template(file, *, data=None, directory=None, network=None):
    """Return a config with the most useful keys as commented TOML.

    Args:
        file: name of its file, for the comment at its top.
        data: value of `data.name`. Defaults to `"digits"`.
        directory: value of `data.directory`. Defaults to none.
        network: value of `model.name`. Defaults to what suits the data.

    Raises:
        UserError: for a name that does not exist.
    """
    values = parse_file(find_config(SMALL if data in (None, "digits") else LARGE))
    for section, key, value in (("data", "name", data), ("data", "directory", directory), ("model", "name", network)):
        if value is not None:
            values[section][key] = value
    config = parse_config(values, source="the options")
    lines = [
        f"# Run it: rsr run {file}",
        f"# Check it: rsr config --check {file}. All keys, with what they mean: rsr config",
        "",
        _line(config, Config, "seed"),
    ]
    for section, keys in USEFUL.items():
        values = getattr(config, section)
        lines += ["", f"[{section}]  # {type(values).__doc__}"]
        lines += [_line(values, type(values), key) for key in keys if getattr(values, key) is not None]
    return "\n".join(lines) + "\n"


def _line(values, section, key):
    value, about = getattr(values, key), section.model_fields[key].description
    shown = show_default(value)
    text = f'"{shown}"' if "/255" in shown and isinstance(value, float) else tomli_w.dumps({"v": value})[4:-1]
    return f"{key} = {text}  # {about}"
