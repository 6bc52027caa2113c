"""How the processes of one run share its folder: the chief writes, and all do what the chief's files say.

On one process each of these functions does its work and waits for nobody.
"""

import contextlib
import secrets
import time

import tensorflow as tf

from rsr_tf.errors import UserError, user_errors
from rsr_tf.experiment import devices
from rsr_tf.files import PARTIAL, write_text
from rsr_tf.training.distribution import peers
from rsr_tf.training.peers import MissingPeerError, end_process

VISIBLE_SECONDS = 60
"""How long a file of the chief may take to be seen by another host: network file systems remember what is missing."""


def join(config):
    """Meet the other processes that a config trains with; to be called before anything else of TensorFlow.

    Args:
        config: a `Config`.

    Returns:
        Whether this process is the chief, as one that is alone is. If another process does not come, this one ends as
        if that had died, so that whoever starts them tries again.

    Raises:
        UserError: as for `rsr_tf.experiment.devices.build_strategy`.
    """
    try:
        devices.build_strategy(config)
    except UserError as error:
        if isinstance(error.__cause__, MissingPeerError):
            end_process(str(error))
        raise
    return peers().cluster.is_chief


def is_there(path):
    """Return whether a file is there for the chief, on all processes; where it is, wait until this one sees it too.

    Args:
        path: a `Path`.

    Raises:
        UserError: if a process does not see the file.
    """
    found = peers().broadcast(path.exists())
    if found and not _appears(path):
        raise UserError(f"{path} not found, but the chief of the workers has it. They must share the run folder")
    return found


def agree(value, what):
    """Check that all processes have the same value, see `rsr_tf.training.peers.Peers.agree`.

    Raises:
        UserError: if one has another value.
    """
    with user_errors():
        return peers().agree(value, what)


def written_by_chief(write):
    """Call a function without arguments on the chief; the others wait until it has returned."""
    with peers().chief_first():
        if peers().cluster.is_chief:
            write()


def check_shared(folder):
    """Check that all processes see the files that the chief writes.

    Args:
        folder: `Path` of the run folder, which exists for the chief.

    Raises:
        ValueError: if a process does not see them.
    """
    if peers().cluster.count == 1:
        return
    path, token = folder / f"{PARTIAL}shared", secrets.token_hex(8)
    if peers().cluster.is_chief:
        write_text(path, token)
    token = peers().broadcast(token)
    sees = _appears(path, token)
    if peers().cluster.is_chief:
        blind = peers().broadcast([index for index, each in enumerate(peers().gather(sees)) if not each])
        path.unlink()
    else:
        peers().gather(sees)
        blind = peers().broadcast()
    if blind:
        peers().leave()
        raise ValueError(
            f"all workers must share the run folder. Received: {folder}, where {peers().cluster.name(blind[0])} does "
            f"not see the files of {peers().cluster.name(0)}"
        )


@contextlib.contextmanager
def explained():
    """Let the line that a process has died come before the page of errors that TensorFlow makes of it."""
    try:
        yield
    except tf.errors.OpError:
        peers().explain()
        raise


def _appears(path, text=None):
    """Return whether a file, with some text if that is given, is seen within a time."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while not (path.exists() and (text is None or path.read_text(encoding="utf-8") == text)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
