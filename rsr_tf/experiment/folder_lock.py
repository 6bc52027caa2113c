"""That no two processes write into one folder."""

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two processes in one folder go unnoticed
    fcntl = None


class FolderLock:
    """Keeps other processes out of a folder, from `acquire` to `release` or the end of this process.

    Args:
        folder: its path.

    Example:
        >>> with FolderLock("runs/transfer"):
        ...     write_everything()
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._descriptor = None

    def acquire(self):
        """Take the folder, where there is one; raise `ValueError` if another process has it."""
        if fcntl is None or self._descriptor is not None or not self.folder.is_dir():
            return
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ValueError(f"another `rsr` is at work in the folder {self.folder}") from error
        self._descriptor = descriptor

    def release(self):
        """Let other processes in again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.acquire()
        return self

    def __exit__(self, *exception):
        self.release()
