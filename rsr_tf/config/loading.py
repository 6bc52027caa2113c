"""Read a config from TOML, apply overrides, and describe what is wrong with it in one line."""

import copy
import difflib
import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rsr_tf.config.schema import Config
from rsr_tf.config.sections import Section
from rsr_tf.errors import UserError, shortened, shown, user_errors
from rsr_tf.files import MAX_DEPTH, is_deeper, read_text

CONFIG_FILE = "config.toml"
"""Name of the config in a run folder."""
VERSIONS = "versions"
"""Name of the table that a run adds to its own config: the versions of the packages."""
PACKAGED = Path(__file__).parent.parent / "configs"
"""Folder of the configs that come with the package."""
GRIDS = Path(__file__).parent.parent / "grids"
"""Folder of its grids."""
MAX_BYTES = 100_000
"""Largest config file that is read; a config with every key has about 2,000 bytes."""
NETWORK_FILES = (".keras", ".h5", ".hdf5")
"""Ends of the names of files that Keras writes, which are no configs."""


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
    with user_errors():
        file = _config_file(path)
    values = parse_file(file)
    if values.keys() & {"axes", "extends"}:
        raise UserError(f"{file} is a grid of runs: use `rsr grid`")
    if isinstance(values.get(VERSIONS), dict):
        del values[VERSIONS]
    return parse_config(values, overrides, source=file)


def parse_file(file):
    """Return the values of a TOML file as nested dicts.

    Args:
        file: path of the file.

    Raises:
        UserError: for a file that cannot be read, or is not valid TOML.
    """
    with user_errors():
        text = read_text(file, limit=MAX_BYTES, kind="the config ")
    try:
        return parse_toml(text)
    except ValueError as error:
        raise UserError(f"{file} is not valid TOML: {error}") from error


def _config_file(path):
    """Return the path of the config file that `load_config` reads."""
    if Path(path).suffix.lower() in NETWORK_FILES:
        raise UserError(
            f"CONFIG must be a config or run folder here. Received: the network {path}. `rsr evaluate`, `prune`, "
            "`export` and `artefacts` take networks, as `.keras` files, and a config names one by `model.file`"
        )
    if not Path(path).is_dir():
        return find_config(path)
    file = Path(path) / CONFIG_FILE
    if not file.exists():
        raise UserError(f"{path} is not a run folder: it has no {file.name}")
    return file


def parse_toml(text):
    """Parse TOML whose tables and lists are nested to a limited depth; raise `ValueError` for any other text."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    if any(part.count(".") > MAX_DEPTH for line in lines for part in line.split("=")):
        raise ValueError("it is nested too deep")  # `a.a.a...`, for which `tomllib` takes minutes
    try:
        values = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if is_deeper(values):
        raise ValueError("it is nested too deep")
    return values


def find_config(path, folder=PACKAGED):
    """Return the path of a config file, or of the packaged config of that name if the file does not exist.

    Args:
        path: path or name.
        folder: `PACKAGED` (default) or `GRIDS`.

    Raises:
        UserError: if neither exists; the message lists the packaged configs.
    """
    known = packaged_configs(folder)
    if Path(path).exists():
        return Path(path)
    if str(path) in known:
        return known[str(path)]
    raise UserError(f"cannot read the config {path}: no such file. Packaged configs: {', '.join(known)}")


def packaged_configs(folder=PACKAGED):
    """Return the packaged configs as a dict from name, such as `"cifar10/resnet20_rsr"`, to path."""
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.toml"))}


def run_folder_of(path):
    """Return the default run folder of a config that `load_config` has read.

    Args:
        path: as for `load_config`.

    Returns:
        The folder itself, the folder of a config that a run wrote into it, or `runs/NAME` with the name of the config.
    """
    path = Path(path)
    if path.is_dir():
        return path
    if path.name == CONFIG_FILE and path.is_file() and VERSIONS in parse_toml(read_text(path, limit=MAX_BYTES)):
        return path.parent
    return Path("runs") / path.stem


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
    if is_deeper(values):
        raise UserError(f"{source}: its values are nested too deep")
    original = copy.deepcopy(values)
    for override in overrides:
        _apply_override(values, override)
    if is_deeper(values):
        raise UserError("--set: its values are nested too deep")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        culprits = " ".join(_wrong_overrides(first["loc"], overrides, original)).split()  # one line, whatever was typed
        raise UserError(f"{shortened(' '.join(culprits)) or source}: {_explain(first)}") from error
    except UnicodeError as error:  # of bytes on the command line that are no text
        raise UserError(f"{source}, with --set: a value is no valid text") from error


def _wrong_overrides(location, overrides, original):
    """Return the overrides that have made the value at a location wrong, as they were typed."""
    keys = {f"--set {override}": tuple(override.partition("=")[0].strip().split(".")) for override in overrides}
    replaced = [text for text, key in keys.items() if key == location[: len(key)]]
    within = [text for text, key in keys.items() if key[: len(location)] == location]
    return replaced[-1:] or (within if location not in _wrong_places(original) else [])


def _wrong_places(values):
    """Return the locations of the errors in config values."""
    try:
        Config.model_validate(values)
    except ValidationError as error:
        return [each["loc"] for each in error.errors()]
    return []


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
    values[name] = _override_value(key, text)


def _override_value(key, text):
    """Return a value of `--set` as TOML, or as a string if it is not valid TOML."""
    try:
        parsed = parse_toml(f"value = {text}")
    except ValueError:  # not TOML, nested too deep, or a number of thousands of digits
        return text
    if list(parsed) != ["value"]:
        raise UserError(f"--set {key} takes one value. Received more than one line: {text!r}")
    return parsed["value"]


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
    received = "" if isinstance(error["input"], dict | Section) else f". Received: {shown(error['input'])}"
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
