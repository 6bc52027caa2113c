"""The table of all config keys. `python -m rsr_tf.config.reference > docs/config.md` writes the page."""

from typing import Literal, get_args, get_origin

from rsr_tf.config.schema import Config

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
    value = entry.default
    if entry.is_required():
        return "required"
    if value in (8 / 255, 2 / 255):
        return f"{round(255 * value)}/255"
    if value is None or value in ("", []):
        return "none"
    return str(value).lower()


if __name__ == "__main__":
    print(page(), end="")
