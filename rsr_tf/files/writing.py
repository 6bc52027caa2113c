"""Atomic writing of files and folders, and an exclusive lock on a folder."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

import filelock

PARTIAL = "partial-"
"""Prefix of the name of a file while it is being written."""
LOCK_FILE = ".lock"
"""Name of the file in a folder that its lock is taken on; it stays there when the lock is released."""


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


class InUseError(ValueError):
    """Another process holds the lock of a folder."""


class FolderLock:
    """An exclusive lock on a folder, held from `acquire` to `release` or the end of the process.

    Args:
        folder: path of the folder.

    Example:
        >>> with FolderLock("runs/transfer"):
        ...     write_everything()
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._lock = filelock.FileLock(self.folder / LOCK_FILE, blocking=False)

    def acquire(self):
        """Take the lock if the folder exists.

        Raises:
            InUseError: if another process holds the lock.
        """
        if self._lock.is_locked or not self.folder.is_dir():
            return
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise InUseError(f"another `rsr` process is using the folder {self.folder}") from error
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise  # nobody can write into a read-only folder, so it needs no lock

    def release(self):
        """Release the lock."""
        self._lock.release(force=True)

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.acquire()
        return self

    def __exit__(self, *exception):
        self.release()
