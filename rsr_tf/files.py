"""Writing that leaves the old file or the new one, never half of one."""

import contextlib
import os
import shutil
from pathlib import Path

PARTIAL = "partial-"
"""How the name of a file begins while it is being written."""


@contextlib.contextmanager
def replacing(path):
    """Write a file or folder under another name, and give it its own once it is whole.

    Args:
        path: the final `Path`; what stands there survives an error in the block.

    Yields:
        The temporary `Path` to write, with the same endings.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(PARTIAL + path.name)
    _remove(temporary)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def write_text(path, text):
    """Write a text file as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_partial(path):
    """Whether a path is one that `replacing` left behind when its process was killed."""
    return path.name.startswith(PARTIAL)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
