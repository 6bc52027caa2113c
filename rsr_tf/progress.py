"""How far long work is: library code tells of its tasks, and whoever wants to, such as the command, shows them."""

import contextlib
import time


class Task:
    """A piece of long work that consists of counted units, such as epochs or attacks.

    Args:
        unit: what is counted, such as `"epoch"`.
        total: number of units.
        done: number of units that an earlier process has finished. Defaults to 0.
        title: what the work is, such as `"train"`. Defaults to an empty string.
        weights: expected duration of each unit, in any scale. Defaults to the same for all.

    Attributes:
        note: what the present unit does, such as `"step 3 of 19"`.

    Example:
        >>> from rsr_tf.progress import Task
        >>> training = Task("epoch", 40, title="train")
        >>> training.advance()
        >>> training.position, training.share
        ('epoch 2 of 40', 0.025)
    """

    def __init__(self, unit, total, *, done=0, title="", weights=None):
        self.unit, self.total, self.done, self.title, self.note = unit, total, done, title, ""
        self.weights = [1.0] * total if weights is None else list(weights)
        self._within = 0.0
        self._worked = self._seconds = 0.0  # of this process alone
        self._last = time.monotonic()

    def advance(self, *, new=True):
        """Count the present unit as done.

        Args:
            new: whether it was worked on now. Defaults to `True`; what is read from disk takes no time, and does not
                make the rest look faster.
        """
        now = time.monotonic()
        if new:
            self._worked += self._weight
            self._seconds += now - self._last
        self.done, self._within, self._last, self.note = min(self.done + 1, self.total), 0.0, now, ""

    def within(self, share, note=""):
        """Set how much of the present unit is done.

        Args:
            share: number in [0, 1].
            note: what it does now. Defaults to an empty string.
        """
        self._within, self.note = share, note

    @property
    def position(self):
        """The present unit and the number of all, as text."""
        return f"{self.unit} {min(self.done + 1, self.total)} of {self.total}"

    @property
    def share(self):
        """The share of the work that is done, in [0, 1]."""
        whole = sum(self.weights)
        return (sum(self.weights[: self.done]) + self._within * self._weight) / whole if whole else 1.0

    @property
    def seconds_left(self):
        """Expected seconds to the end, or `None` as long as nothing has been measured."""
        here, spent = self._within * self._weight, time.monotonic() - self._last
        worked = self._worked + here
        seconds = self._seconds + (spent if here else 0.0)
        if not worked:
            return None
        left = sum(self.weights[self.done :]) - here
        return max(0.0, left * seconds / worked - (0.0 if here else spent))

    @property
    def stopped(self):
        """Where the work stands if it stops now, as text."""
        return f"after {self.unit} {self.done} of {self.total}" if self.done else f"in {self.position}"

    @property
    def _weight(self):
        return self.weights[self.done] if self.done < self.total else 0.0


class Display:
    """What shows tasks. This one shows nothing; a subclass reads the attributes of a `Task` as often as it likes."""

    def add(self, task):
        """Show a task, below those that are shown already."""

    def remove(self, task):
        """Show a task no longer."""


_NOBODY = Display()
_displays = [_NOBODY]
_tasks = []


@contextlib.contextmanager
def shown_by(display):
    """Have all tasks shown by a `Display`, until the end of the `with` statement.

    Args:
        display: a `Display`.

    Example:
        >>> from rsr_tf import progress
        >>> class Titles(progress.Display):
        ...     def add(self, task):
        ...         print(task.title)
        >>> with progress.shown_by(Titles()), progress.task("epoch", 40, title="train"):
        ...     pass
        train
    """
    _displays.append(display)
    try:
        yield
    finally:
        _displays.remove(display)


def is_shown():
    """Return whether somebody shows the tasks, or has chosen to show none, so that Keras need not."""
    return _displays[-1] is not _NOBODY


def tasks():
    """Return the tasks under way, outermost first."""
    return list(_tasks)


@contextlib.contextmanager
def task(unit, total, **options):
    """Tell of a task for as long as the `with` statement lasts.

    Args:
        unit, total, **options: as for `Task`.

    Yields:
        The `Task`.

    Example:
        >>> from rsr_tf import progress
        >>> with progress.task("attack", 2) as attacks:
        ...     for name in ("FGSM", "PGD"):
        ...         attacks.within(0, name)
        ...         attacks.advance()
        >>> attacks.share
        1.0
    """
    told, display = Task(unit, total, **options), _displays[-1]
    _tasks.append(told)
    display.add(told)
    try:
        yield told
    finally:
        _tasks.remove(told)
        display.remove(told)


def track(items, unit, *, title="", note=None):
    """Yield items, each of which is one unit of a task.

    Args:
        items: a list.
        unit, title: as for `Task`.
        note: function from an item to the note of its unit. Defaults to `None`, for no note.

    Example:
        >>> from rsr_tf import progress
        >>> [2 * number for number in progress.track([1, 2, 3], "number")]
        [2, 4, 6]
    """
    with task(unit, len(items), title=title) as told:
        for item in items:
            told.within(0, note(item) if note else "")
            yield item
            told.advance()
