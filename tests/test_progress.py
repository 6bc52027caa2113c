"""What a task tells of itself, and who is told."""

import pytest

from rsr_tf import progress
from rsr_tf.progress import Task


class Clock:
    """Stands in for `time.monotonic`."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("rsr_tf.progress.time.monotonic", clock)
    return clock


class Recorder(progress.Display):
    def __init__(self):
        self.events = []

    def add(self, task):
        self.events.append(("add", task.title))

    def remove(self, task):
        self.events.append(("remove", task.title))


def test_position_counts_the_present_unit_and_stays_at_the_last_one():
    task = Task("attack", 2)
    seen = [task.position]
    for _ in range(2):
        task.advance()
        seen.append(task.position)
    assert seen == ["attack 1 of 2", "attack 2 of 2", "attack 2 of 2"]


def test_stopped_counts_finished_units_alone():
    task = Task("epoch", 40)
    task.within(0.9)
    assert task.stopped == "in epoch 1 of 40"
    task.advance()
    assert task.stopped == "after epoch 1 of 40"


def test_share_is_that_of_the_weights():
    task = Task("attack", 3, weights=[1, 2, 5])
    task.advance()
    task.within(0.5)
    assert task.share == pytest.approx((1 + 0.5 * 2) / 8)


def test_time_left_is_that_of_the_remaining_weights_and_runs_down(clock):
    task = Task("attack", 3, weights=[1, 2, 5])
    assert task.seconds_left is None
    clock.now += 10
    task.advance()
    assert task.seconds_left == 70
    clock.now += 4
    assert task.seconds_left == 66
    clock.now += 6
    task.within(0.5)
    assert task.seconds_left == 60  # 20 s for 2 of 8


def test_units_of_an_earlier_process_do_not_make_the_rest_look_faster(clock):
    task = Task("epoch", 10, done=5)
    task.advance(new=False)
    assert task.seconds_left is None
    clock.now += 3
    task.advance()
    assert task.seconds_left == 9


def test_task_without_units_is_done():
    task = Task("run", 0)
    assert (task.share, task.seconds_left) == (1.0, None)


def test_display_sees_tasks_inside_of_others_and_their_end():
    shown = Recorder()
    with progress.shown_by(shown), progress.task("run", 2, title="outer"), progress.task("epoch", 3, title="inner"):
        assert [task.title for task in progress.tasks()] == ["outer", "inner"]
    assert shown.events == [("add", "outer"), ("add", "inner"), ("remove", "inner"), ("remove", "outer")]
    assert progress.tasks() == []


def test_task_ends_with_an_error_too():
    shown = Recorder()
    with progress.shown_by(shown), pytest.raises(ValueError, match="wrong"), progress.task("run", 2, title="outer"):
        raise ValueError("wrong")
    assert shown.events == [("add", "outer"), ("remove", "outer")]
    assert progress.tasks() == []


def test_nobody_is_told_unless_somebody_asks():
    assert not progress.is_shown()
    with progress.shown_by(progress.Display()):
        assert progress.is_shown()
    assert not progress.is_shown()


def test_items_are_the_units_of_a_task():
    seen = []
    for item in progress.track(["a", "b"], "letter", note=str.upper):
        (task,) = progress.tasks()
        seen.append((item, task.position, task.note))
    assert seen == [("a", "letter 1 of 2", "A"), ("b", "letter 2 of 2", "B")]
    assert progress.tasks() == []
