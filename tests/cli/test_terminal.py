"""What the command shows in a terminal and elsewhere."""

import io
import logging

import pytest

from rsr_tf import progress
from rsr_tf.cli.terminal import NORMAL, QUIET, Bars, Lines, clock, describe, reporting
from rsr_tf.progress import Task


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def terminal_of_100_columns(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.2, "0:00 left"), (65, "1:05 left"), (59.6, "1:00 left"), (7265, "2:01:05 left")],
)
def test_time_left_is_hours_minutes_and_seconds(seconds, text):
    assert clock(seconds) == text


def test_note_follows_the_position():
    task = Task("attack", 25)
    assert describe(task) == "attack 1 of 25"
    task.within(0.5, "Square")
    assert describe(task) == "attack 1 of 25: Square"


def test_bars_show_title_position_and_note_of_every_task_on_a_line():
    stream = Terminal()
    with Bars(stream) as bars:
        outer, inner = Task("run", 3, title="grid"), Task("epoch", 40, title="train")
        bars.add(outer)
        bars.add(inner)
        inner.within(0.5, "step 9 of 18, clean 99%, adversarial 88%, loss 1.234")
    shown = stream.getvalue()
    assert "run 1 of 3" in shown
    assert "epoch 1 of 40: step 9 of 18, clean 99%, adversarial 88%, loss 1.234" in shown


def test_narrow_terminal_shows_title_and_accuracies_whole_and_no_bar(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    with Bars(stream) as bars:
        training = Task("epoch", 40, title="train")
        bars.add(training)
        training.within(0.5, "step 9 of 18, clean 99%, adversarial 88%, loss 1.234, and more that has no room")
    shown = stream.getvalue()
    assert "train" in shown
    assert "epoch 1 of 40: step 9 of 18, clean 99%, adversarial 88%" in shown
    assert "━" not in shown


def test_lines_of_the_log_stand_above_the_bars_as_they_are():
    stream = Terminal()
    handler = Lines(stream)
    with Bars(stream) as handler.bars:
        handler.emit(logging.LogRecord("rsr_tf", logging.INFO, "", 0, "[bold]%s[/bold] :smile:", ("x" * 120,), None))
    assert f"[bold]{'x' * 120}[/bold] :smile:" in stream.getvalue()


@pytest.mark.parametrize(("stream", "shows"), [(Terminal(), Bars), (io.StringIO(), None)])
def test_tasks_are_drawn_in_a_terminal_only(stream, shows):
    with reporting(NORMAL, stream):
        assert progress.is_shown() == (shows is not None)
        with progress.task("epoch", 2, title="train"):
            pass
    assert not progress.is_shown()
    assert ("train" in stream.getvalue()) == (shows is not None)


def test_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with reporting(NORMAL, Terminal()):
        assert not progress.is_shown()


def test_quiet_shows_no_task_and_logs_warnings_only():
    logger, stream = logging.getLogger("rsr_tf"), Terminal()
    before = logger.level
    with reporting(QUIET, stream):
        assert progress.is_shown()
        assert not logger.isEnabledFor(logging.INFO)
        assert logger.isEnabledFor(logging.WARNING)
        with progress.task("epoch", 2, title="train"):
            pass
    assert logger.level == before
    assert stream.getvalue() == ""


class Gone(io.StringIO):
    """A stream whose reader has ended."""

    def write(self, text):
        raise BrokenPipeError


def test_log_that_nobody_reads_is_an_error_and_no_traceback(capsys):
    record = logging.makeLogRecord({"msg": "report written", "levelno": logging.INFO})
    with pytest.raises(BrokenPipeError):
        Lines(Gone()).emit(record)
    assert capsys.readouterr().err == ""


def test_closed_standard_output_takes_everything(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    with reporting(NORMAL):
        logging.getLogger("rsr_tf").info("report written")
        assert not progress.is_shown()
