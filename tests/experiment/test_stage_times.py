"""What `stages.json` says of the stages of a run."""

import datetime
import json

import pytest

from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.experiment.stage_times import describe_machine, recorded, timed


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.toml").touch()
    return RunFolder(tmp_path)


def write(folder, name="model.keras"):
    (folder.path / name).touch()


def test_calls_of_a_stage_add_up(folder):
    for number in range(2):
        with recorded(folder, "train"):
            write(folder, f"file{number}")
    found = folder.read_stages()
    assert list(found) == ["train"]
    assert found["train"]["calls"] == 2
    assert found["train"]["seconds"] >= 0
    started, finished = (datetime.datetime.fromisoformat(found["train"][key]) for key in ("started", "finished"))
    assert started <= finished
    assert started.utcoffset() == datetime.timedelta()


def test_stage_that_leaves_the_folder_as_it_is_is_not_counted(folder):
    with recorded(folder, "train"):
        pass
    assert folder.read_stages() == {}


def test_stopped_stage_is_counted(folder):
    def stop():
        with recorded(folder, "train"):
            write(folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert folder.read_stages()["train"]["calls"] == 1


def test_folder_that_no_run_has_claimed_gets_no_file(tmp_path):
    with recorded(RunFolder(tmp_path), "train"):
        (tmp_path / "x").touch()
    assert not (tmp_path / "stages.json").exists()


def test_damaged_file_is_replaced(folder):
    folder.stages.write_text("{")
    with recorded(folder, "prune"):
        write(folder)
    assert list(folder.read_stages()) == ["prune"]


def test_methods_keep_names_arguments_and_results(folder):
    @timed("train")
    class Work:
        def __init__(self):
            self.folder = folder

        def train(self, number, *, twice=False):
            """Double a number."""
            write(folder)
            return number * (1 + twice)

        def other(self):
            write(folder, "other")

    assert Work().train(3, twice=True) == 6
    assert (Work.train.__name__, Work.train.__doc__) == ("train", "Double a number.")
    Work().other()
    assert list(folder.read_stages()) == ["train"]


def test_machine_is_told_without_its_name():
    machine = describe_machine()
    assert set(machine) == {"processor", "cores", "accelerators", "system", "python"}
    assert machine["cores"] >= 1
    assert machine["processor"]
    json.dumps(machine)
