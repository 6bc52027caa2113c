"""The table of all config keys. `python -m rsr_tf.config.reference > docs/config.md` writes the page."""

import difflib
import textwrap
from typing import Literal, get_args, get_origin

from rsr_tf.config.schema import Config
from rsr_tf.errors import shortened

INTRODUCTION = """\
# Config keys

A config is a TOML file with the sections below; `rsr_tf/configs/` has examples, which `rsr run quickstart` or
`rsr run cifar10/resnet20_rsr` finds by name. Only `data.name` and `model.name` (or `model.file`) are required.
`--set section.key=value` on the command line replaces a value. Numbers may be fractions in quotes, such as `"8/255"`.
An unknown key or a value out of range is an error before anything starts. The run folder keeps the whole config with
all defaults in `config.toml`. `python -m rsr_tf.config.reference > docs/config.md` writes this page.
"""


def key_table():
    """Return a list of `(key, default, description)` for every config key."""
    return [(key, _show_default(entry), entry.description) for key, entry in _fields()]


def markdown_table():
    """Return the table of all config keys as Markdown."""
    rows = "\n".join(
        f"| `{key}` | {_show_default(entry)} | {_show_choices(entry)} | {entry.description} |"
        for key, entry in _fields()
    )
    return f"| key | default | choices | meaning |\n|---|---|---|---|\n{rows}\n"


def text_table(prefix=None, width=100):
    """Return the table of config keys as aligned text, with what does not fit into the width on further lines.

    Args:
        prefix: a key, which is shown with its choices, or a section. Defaults to `None`, for all keys.
        width: columns. Defaults to 100.

    Raises:
        ValueError: for an unknown key.
    """
    chosen = [(key, entry) for key, entry in _fields() if prefix is None or f"{key}.".startswith(f"{prefix}.")]
    if not chosen:
        known = [key for key, _ in _fields()]
        names = [*known, *dict.fromkeys(key.partition(".")[0] for key in known)]
        close = difflib.get_close_matches(prefix, names, n=3) or Config.model_fields
        raise ValueError(f"unknown key `{shortened(prefix)}`. Expected one such as {', '.join(close)}")
    rows = [("key", "default", "meaning")] + [
        (key, _show_default(entry), _meaning(entry, prefix == key)) for key, entry in chosen
    ]
    keys, defaults = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = []
    for key, default, meaning in rows:
        first, *more = textwrap.wrap(meaning, max(20, width - keys - defaults - 4))
        lines.append(f"{key:{keys}}  {default:{defaults}}  {first}")
        lines += [" " * (keys + defaults + 4) + line for line in more]
    return "\n".join(lines)


def _meaning(entry, with_choices):
    choices = _show_choices(entry)
    return f"{entry.description}. One of: {choices}" if with_choices and choices else entry.description


def page():
    """Return the contents of `docs/config.md`."""
    return f"{INTRODUCTION}\n{markdown_table()}"


def _fields():
    """Return a list of key and pydantic field of every config key."""
    seed, *sections = Config.model_fields.items()
    return [seed] + [
        (f"{section}.{key}", entry)
        for section, field in sections
        for key, entry in field.annotation.model_fields.items()
    ]


def _show_choices(entry):
    return ", ".join(get_args(entry.annotation)) if get_origin(entry.annotation) is Literal else ""


def _show_default(entry):
    return "required" if entry.is_required() else show_default(entry.default)


def show_default(value):
    """Return a default as tables show it, such as `"8/255"` or `"true"`."""
    if value in (8 / 255, 2 / 255):
        return f"{round(255 * value)}/255"
    if value is None or value in ("", []):
        return "none"
    return str(value).lower()


if __name__ == "__main__":
    print(page(), end="")
