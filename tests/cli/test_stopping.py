"""Signals that stop a command."""

import os
import signal

import click
import pytest
from click.testing import CliRunner

from rsr_tf import progress
from rsr_tf.cli.group import RESUMES, Group
from rsr_tf.cli.stopping import Stopped, describe_stop, stoppable


@pytest.fixture(autouse=True)
def interrupts_are_heard():
    """Whoever starts the tests in the background has them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def command(number, **meta):
    """A group with a command that gets a signal in its second epoch of 40, in a run of 12."""

    @click.group(cls=Group)
    def main():
        pass

    @main.command()
    @click.pass_context
    def work(context):
        context.meta.update(meta)
        with progress.task("run", 12), progress.task("epoch", 40) as epochs:
            epochs.advance()
            os.kill(os.getpid(), number)

    return main


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_a_command_with_its_code_and_one_line(number, code):
    result = CliRunner().invoke(command(number), ["work"])
    assert result.exit_code == code
    assert result.stderr == "rsr: stopped in run 1 of 12, after epoch 1 of 40; the same command resumes\n"
    assert result.stdout == ""


def test_command_that_keeps_nothing_does_not_promise_to_resume():
    result = CliRunner().invoke(command(signal.SIGINT, **{RESUMES: False}), ["work"])
    assert result.stderr == "rsr: stopped in run 1 of 12, after epoch 1 of 40; nothing is kept\n"


def test_stop_outside_of_all_work_names_no_place():
    assert describe_stop([]) == "stopped; the same command resumes"


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Stopped), stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
