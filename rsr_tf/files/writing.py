"""Atomic writing of files and folders."""

import contextlib
import os
import shutil
from pathlib import Path

PARTIAL = "partial-"
"""Prefix of the name of a file while it is being written."""


@contextlib.contextmanager
def replacing(path):
    """Write a file or folder under a temporary name, and rename it when it is complete.

    Args:
        path: the final `Path`; an existing file or folder there survives an error in the block.

    Yields:
        The temporary `Path` to write, with the same suffixes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(PARTIAL + path.name)
    _remove(temporary)
    try:
        yield temporary
        if path.is_dir() and temporary.is_dir():  # a folder is not renamed over one that is not empty
            old = path.with_name(f"{PARTIAL}old-{path.name}")
            _remove(old)
            os.replace(path, old)
            os.replace(temporary, path)
            _remove(old)
        else:
            os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def write_text(path, text):
    """Write a text file atomically, see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_partial(path):
    """Return whether `replacing` left a path behind when its process was killed."""
    return path.name.startswith(PARTIAL)


def _remove(path):
    if path.is_dir() and not path.is_symlink():  # of a link to a folder, only the link
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
