"""Locks that processes share work by."""

import errno
import subprocess
import sys

import pytest

from rsr_tf.files import FolderLock, InUseError, step_lock, work_through


def test_shared_lock_keeps_out_only_who_wants_the_folder_alone(tmp_path):
    with FolderLock(tmp_path, shared=True), FolderLock(tmp_path, shared=True), pytest.raises(InUseError):
        FolderLock(tmp_path).acquire()
    with FolderLock(tmp_path), pytest.raises(InUseError):
        FolderLock(tmp_path, shared=True).acquire()


def test_file_system_without_locks_is_an_error_that_leaves_no_file_open(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(file, operation):
        opened.append(file)
        raise OSError(errno.ENOTSUP, "not supported")

    opened = []
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="not supported"):
        FolderLock(tmp_path, shared=True).acquire()
    assert [file.closed for file in opened] == [True]


def test_lock_can_wait(tmp_path, monkeypatch):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path, wait=True)
    first.acquire()
    monkeypatch.setattr("rsr_tf.files.locks.time.sleep", lambda seconds: first.release())
    second.acquire()
    with pytest.raises(InUseError):
        first.acquire()
    second.release()


def test_step_is_locked_and_leaves_no_file(tmp_path):
    with step_lock(tmp_path, "a"), step_lock(tmp_path, "b"), pytest.raises(InUseError), step_lock(tmp_path, "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_steps_of_others_are_waited_for_and_told_of_once(tmp_path):
    done, waited, held = ["a"], [], step_lock(tmp_path, "b")
    held.__enter__()

    def waiting(step):
        waited.append(step)
        done.append(step)
        held.__exit__(None, None, None)

    options = {"is_done": lambda step: step in done, "work": done.append, "waiting": waiting}
    work_through(["a", "b", "c"], tmp_path, **options)
    assert done == ["a", "c", "b"]
    assert waited == ["b"]


def test_processes_share_the_steps_and_a_killed_one_leaves_its_own(tmp_path):
    """Three processes, one of which is killed in the middle of its first step."""
    script = """
import os, sys, time
from pathlib import Path
from rsr_tf.files import work_through

def work(step):
    with open("begun", "a") as file:
        file.write(f"{step}\\n")
    if sys.argv[1] == "a":
        os.kill(os.getpid(), 9)
    time.sleep(0.05)
    Path(step).touch()

work_through([f"s{n}" for n in range(12)], "locks", is_done=lambda step: Path(step).exists(), work=work)
"""
    processes = [subprocess.Popen([sys.executable, "-c", script, name], cwd=tmp_path) for name in "abc"]
    codes = [process.wait(60) for process in processes]
    assert codes[1:] == [0, 0]
    begun = (tmp_path / "begun").read_text().split()
    assert set(begun) == {f"s{number}" for number in range(12)} == {path.name for path in tmp_path.glob("s*")}
    assert len(begun) == 12 + (codes[0] == -9)  # each once, but for that of the killed one
