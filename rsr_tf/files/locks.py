"""Locks between processes: on a folder, and on single steps of work that several processes share.

A lock ends with its process, whatever ended that, so nobody has to clean up after a kill.
"""

import contextlib
import errno
import time
from pathlib import Path

import filelock

from rsr_tf.files.writing import PARTIAL

try:
    import fcntl
except ImportError:  # Windows, where a shared lock is an exclusive one
    fcntl = None

LOCK_FILE = ".lock"
"""Name of the file in a folder that its lock is taken on; it stays there when the lock is released."""
WAIT_SECONDS = 0.2
"""Time between two looks at what another process is at."""


class InUseError(ValueError):
    """Another process holds the lock of a folder or of a step."""


class FolderLock:
    """A lock on a folder, held from `acquire` to `release` or the end of the process.

    Args:
        folder: path of the folder.
        name: name of the file in the folder that is locked. Defaults to `LOCK_FILE`.
        shared: whether others may hold the lock too, if they share it as well. Defaults to `False`.
        wait: whether to wait for another process instead of raising an error. Defaults to `False`.

    Example:
        >>> with FolderLock("runs/transfer"):
        ...     write_everything()
    """

    def __init__(self, folder, *, name=LOCK_FILE, shared=False, wait=False):
        self.folder = Path(folder)
        self.wait = wait
        path = self.folder / name
        self._lock = _SharedLock(path) if shared and fcntl else filelock.FileLock(path, blocking=False)

    def acquire(self):
        """Take the lock if the folder exists.

        Raises:
            InUseError: if another process holds the lock.
        """
        while not self._lock.is_locked and self.folder.is_dir():
            try:
                self._lock.acquire()
            except filelock.Timeout as error:
                if not self.wait:
                    raise InUseError(f"another `rsr` process is using the folder {self.folder}") from error
                time.sleep(WAIT_SECONDS)
            except OSError as error:
                if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                    raise
                return  # nobody can write into a read-only folder, so it needs no lock

    def release(self):
        """Release the lock."""
        self._lock.release(force=True)

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.acquire()
        return self

    def __exit__(self, *exception):
        self.release()


class _SharedLock:
    """A `filelock.FileLock` that several processes can hold."""

    def __init__(self, path):
        self.path = path
        self._file = None

    @property
    def is_locked(self):
        return self._file is not None

    def acquire(self):
        file = open(self.path, "a+")  # noqa: SIM115 - it is open as long as it is locked
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if isinstance(error, BlockingIOError):
                raise filelock.Timeout(str(self.path)) from error
            raise  # of a file system without locks
        self._file = file

    def release(self, force=False):
        if self._file is not None:
            self._file.close()
        self._file = None


@contextlib.contextmanager
def step_lock(folder, step):
    """Keep other processes from one step of a shared piece of work.

    Args:
        folder: path of the folder that the processes share.
        step: name of the step, as in the name of a file.

    Raises:
        InUseError: if another process is at the step.
    """
    name = f"{PARTIAL}{step}.lock"
    with FolderLock(folder, name=name):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (Path(folder) / name).unlink()


def work_through(steps, folder, *, is_done, work, waiting=lambda step: None):
    """Do every step that is neither done nor at another process, and wait for the others.

    Any number of processes can call it with the same steps and folder.

    Args:
        steps: list of names, as in the names of files.
        folder: path of the folder for the locks.
        is_done: function of a step, whether its result is stored.
        work: function of a step, does it and stores its result.
        waiting: function of a step that another process is at, when nothing else is left to do. Defaults to nothing.

    Example:
        >>> from rsr_tf.files import work_through
        >>> found = []
        >>> work_through(["a", "b"], "shared", is_done=lambda step: step in found, work=found.append)
        >>> found
        ['a', 'b']
    """
    pending, told = list(steps), None
    while pending:
        before = len(pending)
        for step in list(pending):
            try:
                if not is_done(step):
                    with step_lock(folder, step):
                        if not is_done(step):
                            work(step)
            except InUseError:
                continue
            pending.remove(step)
        if len(pending) == before:
            if told != pending[0]:
                told = pending[0]
                waiting(told)
            time.sleep(WAIT_SECONDS)
