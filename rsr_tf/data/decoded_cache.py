"""Decoded images kept as uint8 between runs: decoding a data set takes longer than reading it back.

One file for each source folder, in `$XDG_CACHE_HOME/rsr_tf` or `~/.cache/rsr_tf`. It may be removed at any time.
"""

import hashlib
import logging
import os
import zipfile
from pathlib import Path

import numpy as np

from rsr_tf.files import replacing

log = logging.getLogger(__name__)

FINGERPRINT = "fingerprint"
"""Name of the array that tells which state of the source the others were decoded from."""


def read(source):
    """The arrays decoded from a folder earlier.

    Args:
        source: `Path` of the folder with the encoded files.

    Returns:
        A dict of arrays, or `None` if there are none, the source has changed since, or the file is damaged.
    """
    try:
        with open(_path(source), "rb") as file, np.load(file, allow_pickle=False) as stored:
            if str(stored[FINGERPRINT]) != fingerprint(source):
                return None
            return {name: stored[name] for name in stored.files if name != FINGERPRINT}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write(source, arrays):
    """Keep arrays decoded from a folder; where that is not possible, say so and go on.

    Args:
        source: `Path` of the folder with the encoded files.
        arrays: dict of arrays without objects.
    """
    path = _path(source)
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **{FINGERPRINT: np.array(fingerprint(source))}, **arrays)
    except OSError as error:
        log.info("decoded images are not kept for the next run: cannot write %s: %s", path, error.strerror)


def fingerprint(source):
    """Changes when a file below a folder does: from names, sizes and times of modification."""
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(source).rglob("*") if path.is_file()):
        state = path.stat()
        digest.update(f"{path.relative_to(source)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _path(source):
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    source = Path(source).expanduser().resolve()
    return root / "rsr_tf" / f"{source.name}-{hashlib.sha256(str(source).encode()).hexdigest()[:16]}.npz"
