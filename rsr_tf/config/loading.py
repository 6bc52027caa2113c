"""Read a config from TOML, apply overrides, and describe what is wrong with it in one line."""

import difflib
import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rsr_tf.config.schema import Config, Section
from rsr_tf.errors import UserError

CONFIG_FILE = "config.toml"
"""Name of the config in a run folder."""
PACKAGED = Path(__file__).parent.parent / "configs"
"""Folder of the configs that come with the package."""


def load_config(path, overrides=()):
    """Read and check a config file.

    Args:
        path: path of a TOML file, or of a run folder, for the config in it; if no such path exists, the name of a
            packaged config such as `"quickstart"` or `"cifar10/resnet20_rsr"`.
        overrides: strings `"section.key=value"` that replace values of the file; the value is read as TOML, or as a
            string if it is not valid TOML.

    Returns:
        A `Config`.

    Raises:
        UserError: for a file that cannot be read, or a wrong key or value; the message names the key, the expected
            and the received value.
    """
    is_run = Path(path).is_dir()
    file = Path(path) / CONFIG_FILE if is_run else find_config(path)
    if is_run and not file.exists():
        raise UserError(f"{path} is not a run folder: it has no {file.name}")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the config {file}: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not valid TOML: {error}") from error
    if is_run:
        values.pop("versions", None)  # a run adds them to its own config
    return parse_config(values, overrides, source=file)


def find_config(path):
    """Return the path of a config file, or of the packaged config of that name if the file does not exist.

    Raises:
        UserError: if neither exists; the message lists the packaged configs.
    """
    known = packaged_configs()
    if Path(path).exists():
        return Path(path)
    if str(path) in known:
        return known[str(path)]
    raise UserError(f"cannot read the config {path}: no such file. Packaged configs: {', '.join(known)}")


def packaged_configs():
    """Return the packaged configs as a dict from name, such as `"cifar10/resnet20_rsr"`, to path."""
    return {file.relative_to(PACKAGED).with_suffix("").as_posix(): file for file in sorted(PACKAGED.rglob("*.toml"))}


def run_folder_of(path):
    """Return the default run folder: `path` itself if it is a folder, else `runs/NAME` with the name of the config."""
    return Path(path) if Path(path).is_dir() else Path("runs") / Path(path).stem


def parse_config(values, overrides=(), *, source):
    """Check a nested dict of config values.

    Args:
        values: the nested dict; `overrides` change it in place.
        overrides: as for `load_config`.
        source: where the values come from, for messages.

    Returns:
        A `Config`.

    Raises:
        UserError: for a wrong key or value.
    """
    for override in overrides:
        _apply_override(values, override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {_explain(error.errors()[0])}") from error


def _apply_override(values, override):
    key, equals, text = override.partition("=")
    *sections, name = key.strip().split(".")
    if not (equals and name and all(sections)):
        raise UserError(f"--set expects section.key=value. Received: {override}")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override}: `{section}` is not a section")
    if sections == ["pruning"]:  # setting one target removes the other
        values.pop({"gamma": "sparsity", "sparsity": "gamma"}.get(name), None)
    try:
        values[name] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[name] = text


def parse_numbers(text, kind, *, source):
    """Read a list of numbers such as `"0, 1/2, 0.9"`.

    Args:
        text: comma-separated numbers or fractions; `None` for no list.
        kind: annotated type of each number, such as `Share` or `NotNegative`.
        source: name of the list in messages, such as `"--sparsities"`.

    Returns:
        The sorted list of distinct numbers; empty for `None`.

    Raises:
        UserError: for text that is not such a list, or a number out of range.
    """
    if text is None:
        return []
    adapter = TypeAdapter(kind)
    try:
        return sorted({adapter.validate_python(number.strip()) for number in text.split(",")})
    except ValidationError as error:
        raise UserError(_explain({**error.errors()[0], "loc": (source,)})) from error


def _explain(error):
    """Describe one error of pydantic in one line: the key, what was expected, what was received."""
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
