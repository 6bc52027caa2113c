"""What the command writes: lines of the log, and in a terminal the tasks with their time left, below them."""

import contextlib
import io
import logging
import sys

from rsr_tf import progress

WIDTH_FOR_BARS = 100
"""Columns of a terminal below which the words take the place of the bar."""
QUIET, NORMAL, VERBOSE = logging.WARNING, logging.INFO, logging.DEBUG


class Lines(logging.StreamHandler):
    """Writes the log, above the tasks if there are any.

    Args:
        stream: a text file.

    Attributes:
        bars: the `Bars` below the lines, or `None`.
    """

    def __init__(self, stream):
        super().__init__(stream)
        self.bars = None

    def emit(self, record):
        if self.bars is None:
            super().emit(record)
        else:
            self.bars.write(self.format(record))

    def handleError(self, record):  # noqa: N802 - the name of logging
        """Raise the error of a stream that nobody reads or of a full disk, which would be printed and forgotten."""
        raise  # `logging` calls this while it handles the error


class Bars(progress.Display):
    """Shows each task as one line: title, bar, time left, position and note. For a terminal.

    A narrow terminal shows no bar, and the note as far as there is room.

    Args:
        stream: the text file of the terminal.
    """

    def __init__(self, stream):
        from rich.console import Console
        from rich.progress import Progress

        self._ids = {}
        self._console = Console(file=stream)
        columns = _columns(with_bar=self._console.width >= WIDTH_FOR_BARS)
        self._live = Progress(*columns, console=self._console, transient=True, refresh_per_second=4, expand=True)

    def __enter__(self):
        self._live.start()
        return self

    def __exit__(self, *exception):
        self._live.stop()

    def add(self, task):
        self._ids[task] = self._live.add_task("", total=1, told=task)

    def remove(self, task):
        self._live.remove_task(self._ids.pop(task))

    def write(self, text):
        """Write a text above the bars."""
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def is_terminal(stream):
    """Return whether a stream is a terminal in which lines can be drawn again."""
    if not stream.isatty():
        return False
    from rich.console import Console

    return Console(file=stream).is_interactive


def _columns(with_bar):
    """Return the columns of `Bars`, which read a task whenever they are drawn; only the last one gives way."""
    from rich.progress import ProgressColumn
    from rich.progress_bar import ProgressBar
    from rich.table import Column
    from rich.text import Text

    class Bar(ProgressColumn):
        def render(self, task):
            return ProgressBar(total=1, completed=task.fields["told"].share, width=10)

    class Words(ProgressColumn):
        max_refresh = None

        def __init__(self, words, column):
            self.words = words
            super().__init__(table_column=column)

        def render(self, task):
            return Text(self.words(task.fields["told"]), overflow="ellipsis", no_wrap=True)

    return [
        Words(lambda told: told.title, Column(no_wrap=True)),
        *([Bar()] if with_bar else []),
        Words(lambda told: clock(told.seconds_left), Column(justify="right", min_width=9, no_wrap=True)),
        Words(describe, Column(ratio=1, no_wrap=True)),
    ]


def describe(task):
    """Return position and note of a task, such as `"attack 19 of 25: Square on noise_on"`."""
    return f"{task.position}: {task.note}" if task.note else task.position


def clock(seconds):
    """Return the time left as text, such as `"1:05 left"`; empty for `None`."""
    if seconds is None:
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"


@contextlib.contextmanager
def reporting(level, stream=None):
    """Log to a stream, and show tasks if it is a terminal, until the end of the `with` statement.

    Args:
        level: `QUIET`, which logs warnings only and shows no tasks, `NORMAL`, or `VERBOSE`, which logs everything, with
            the time.
        stream: a text file. Defaults to standard output.
    """
    stream = stream or sys.stdout or io.StringIO()  # Python has none if the caller closed it
    lines, logger = Lines(stream), logging.getLogger("rsr_tf")
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s" if level == VERBOSE else "%(message)s",
        datefmt="%H:%M:%S",
        handlers=[lines],
    )
    before = logger.level
    logger.setLevel(level)
    try:
        with contextlib.ExitStack() as stack:
            if level == QUIET:
                stack.enter_context(progress.shown_by(progress.Display()))
            elif is_terminal(stream):
                lines.bars = stack.enter_context(Bars(stream))
                stack.enter_context(progress.shown_by(lines.bars))
            yield
    finally:
        lines.bars = None
        logger.setLevel(before)
