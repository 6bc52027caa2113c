"""Cache of decoded images as uint8 arrays, which is faster than decoding a data set in every run.

There is one file per source folder and variant, in `$XDG_CACHE_HOME/rsr_tf` or `~/.cache/rsr_tf`. It can be deleted at
any time.
"""

import contextlib
import hashlib
import logging
import os
from pathlib import Path

import numpy as np

from rsr_tf.files import InUseError, replacing, step_lock
from rsr_tf.files.arrays import check_headers, read_arrays

log = logging.getLogger(__name__)

FINGERPRINT = "fingerprint"
"""Name of the array that identifies the state of the source from which the other arrays were decoded."""


def read(source, expected=None, *, variant=""):
    """Read the cached arrays of a folder.

    Args:
        source: `Path` of the folder with the encoded files.
        expected: names, kinds and shapes of the arrays, see `rsr_tf.files.arrays.check_headers`. Defaults to
            `None`, which reads any.
        variant: string that tells several files of one source apart. Defaults to none.

    Returns:
        A dict of arrays, or `None` if nothing is cached, the source has changed, or the file is damaged or another one.
    """
    expected = {FINGERPRINT: ("U", ()), **(expected or {})}
    try:
        stored = read_arrays(_path(source, variant), check=lambda headers: check_headers(headers, expected))
        return stored if str(stored.pop(FINGERPRINT)) == fingerprint(source) else None
    except (OSError, ValueError):
        return None


def write(source, arrays, *, variant=""):
    """Cache the arrays decoded from a folder, unless another process is at it. If the disk refuses, log the reason.

    Args:
        source: `Path` of the folder with the encoded files.
        arrays: dict from string to array, not of dtype object.
        variant: as for `read`.
    """
    path, arrays = _path(source, variant), {FINGERPRINT: np.array(fingerprint(source)), **arrays}
    try:
        with contextlib.suppress(InUseError), step_lock(path.parent, path.name), replacing(path) as temporary:
            np.savez(temporary, **arrays)
    except OSError as error:
        log.info("decoded images are not kept for the next run: cannot write %s: %s", path, error.strerror)


def fingerprint(source):
    """Hash the names, sizes and modification times of all files below a folder.

    Args:
        source: path of the folder.

    Returns:
        A hexadecimal string, which changes when a file is added, removed, renamed or modified.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(source).rglob("*") if path.is_file()):
        state = path.stat()
        digest.update(f"{path.relative_to(source)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _path(source, variant):
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    source = Path(source).expanduser().resolve()
    return root / "rsr_tf" / f"{source.name}-{hashlib.sha256(str(source).encode()).hexdigest()[:16]}{variant}.npz"
