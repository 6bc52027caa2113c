"""What an interrupt does: no traceback, and a line that says where the work stands."""

import contextlib
import signal
import threading

from rsr_tf import progress

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""Signals that stop a command, and its exit codes after them, as shells have them."""


class Stopped(KeyboardInterrupt):
    """An interrupt from the keyboard (SIGINT), or a request to terminate (SIGTERM).

    Args:
        number: the signal.
        tasks: list of the `rsr_tf.progress.Task` under way, outermost first.
    """

    def __init__(self, number, tasks):
        super().__init__()
        self.exit_code = EXIT_CODES[number]
        self.where = [task.stopped for task in tasks]


@contextlib.contextmanager
def stoppable():
    """Raise `Stopped` at the signals of `EXIT_CODES`, until the end of the `with` statement."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def stop(number, frame):
        raise Stopped(number, progress.tasks())

    heard = [number for number in EXIT_CODES if signal.getsignal(number) is not signal.SIG_IGN]  # not after `nohup`
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def describe_stop(where, *, resumes=True):
    """Return where the work stands, and how it goes on.

    Args:
        where: list of strings, see `Stopped`.
        resumes: whether the same command goes on there. Defaults to `True`.

    Example:
        >>> from rsr_tf.cli.stopping import describe_stop
        >>> describe_stop(["in run 2 of 12", "after epoch 3 of 40"])
        'stopped in run 2 of 12, after epoch 3 of 40; the same command resumes'
    """
    how = "the same command resumes" if resumes else "nothing is kept"
    return f"{' '.join(['stopped', ', '.join(where)]).strip()}; {how}"
