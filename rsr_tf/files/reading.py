"""Read text and JSON from files that anybody may have written: bounded in size and depth, errors name the file."""

import json
from pathlib import Path

MAX_BYTES = 64 * 2**20
"""Largest text file that is read; the results of a run with a thousand layers take about a tenth."""
MAX_DEPTH = 100
"""Deepest nesting of lists and dicts that is read; a file of a run has about ten levels."""


def is_utf8(name):
    """Return whether the name of a file is in UTF-8; TensorFlow takes no other.

    Args:
        name: string; Python marks the bytes of other encodings by lone surrogates.
    """
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def read_text(path, *, limit=MAX_BYTES, kind=""):
    """Read a text file in UTF-8.

    Args:
        path: path of the file.
        limit: largest number of bytes. A longer file, or a device without end, is not read any further.
        kind: what the file is, for messages, such as `"the config "`. Defaults to nothing.

    Returns:
        A string.

    Raises:
        ValueError: if the file cannot be read, is longer, or is not UTF-8; the message names it.

    Example:
        >>> rsr_tf.files.write_text("words.txt", "two words")
        >>> rsr_tf.files.read_text("words.txt")
        'two words'
    """
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ValueError(f"cannot read {kind}{path}: {error.strerror}") from error
    if len(content) > limit:
        raise ValueError(f"cannot read {kind}{path}: it has more than {limit:,} bytes")
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {kind}{path}: it is not UTF-8: {error}") from error


def read_json(path):
    """Read a JSON object from a file.

    Args:
        path: path of the file.

    Returns:
        A dict.

    Raises:
        ValueError: if the file cannot be read, or is not a JSON object of limited depth; the message names it.

    Example:
        >>> rsr_tf.files.write_text("counts.json", '{"images": 3}')
        >>> rsr_tf.files.read_json("counts.json")
        {'images': 3}
    """
    text = read_text(path)
    try:
        content = json.loads(text)
        if "\\ud" in text.lower():  # half of a pair of UTF-16, which no file in UTF-8 can hold
            json.dumps(content, ensure_ascii=False).encode()
    except ValueError as error:
        raise ValueError(f"cannot read {path}: it is not valid JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"cannot read {path}: {too_deep()}") from error
    if is_deeper(content):
        raise ValueError(f"cannot read {path}: {too_deep()}")
    if not isinstance(content, dict):
        raise ValueError(
            f"cannot read {path}: {Path(path).name} must hold a JSON object. Received: {type(content).__name__}"
        )
    return content


def too_deep():
    """Return what is wrong with values that are nested too deep, for messages."""
    return f"lists and tables must be nested at most {MAX_DEPTH} deep"


def is_deeper(value, depth=MAX_DEPTH):
    """Return whether lists and dicts are nested deeper than a bound, without recursion.

    Args:
        value: any value.
        depth: integer, the bound.

    Example:
        >>> rsr_tf.files.is_deeper([{"a": []}], depth=2), rsr_tf.files.is_deeper([{"a": []}], depth=3)
        (True, False)
    """
    level = [value]
    for _ in range(depth + 1):
        level = [entry for entry in level if isinstance(entry, (dict, list))]
        if not level:
            return False
        level = [child for entry in level for child in (entry.values() if isinstance(entry, dict) else entry)]
    return True


def expanded(path):
    """Return a path with `~` replaced by a home directory.

    Args:
        path: string or path.

    Raises:
        ValueError: for the home directory of an unknown user.

    Example:
        >>> rsr_tf.files.expanded("data/flowers.npz").name
        'flowers.npz'
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"`{path}` names the home directory of an unknown user") from error
