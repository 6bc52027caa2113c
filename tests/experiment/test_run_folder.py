import os
import subprocess
import sys

import pytest

from rsr_tf.experiment.result_schema import SCHEMA, write_result
from rsr_tf.experiment.run_folder import RunFolder, drop_none, suite_name
from rsr_tf.files import LOCK_FILE

pytestmark = pytest.mark.integration

VALUES = {"seed": 0, "model": {"lasso": 1e-4, "width": 1.0}, "pruning": {"sparsity": 0.6, "gamma": None}}
VERSIONS = {"keras": "3.15.0"}


@pytest.fixture
def folder(tmp_path):
    """A run folder that is claimed."""
    folder = RunFolder(tmp_path / "run")
    folder.claim(VALUES, VERSIONS)
    return folder


def names_in(path):
    return sorted(entry.name for entry in path.iterdir() if entry.name != LOCK_FILE)


def is_locked(folder):
    """Return whether another process finds the folder locked."""
    script = "import sys; from rsr_tf.files import FolderLock; FolderLock(sys.argv[1]).acquire()"
    result = subprocess.run([sys.executable, "-c", script, folder.path], capture_output=True, text=True, check=False)
    assert result.returncode == 0 or "another `rsr` process is using the folder" in result.stderr
    return result.returncode != 0


def test_folder_of_the_same_config_is_locked_and_unchanged(folder):
    folder.release()
    before = folder.config.read_bytes()
    assert not is_locked(folder)
    folder.check(VALUES)
    assert is_locked(folder)
    folder.release()
    assert not is_locked(folder)
    assert folder.config.read_bytes() == before


def test_key_without_a_value_is_not_a_difference(folder):
    folder.release()
    folder.check({**VALUES, "pruning": {"sparsity": 0.6}})
    assert is_locked(folder)  # which `check` does last


def test_versions_are_kept_but_not_compared(folder):
    text = folder.config.read_text()
    assert 'keras = "3.15.0"' in text
    folder.config.write_text(text.replace("3.15.0", "3.99.0"))
    folder.release()
    folder.check(VALUES)
    assert is_locked(folder)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "`seed` is 0 there and 1 here"),
        ({"model": {"lasso": 0.5, "width": 1.0}}, "`model.lasso` is 0.0001 there and 0.5 here"),
        ({"pruning": {"sparsity": None, "gamma": 0.1}}, "`pruning.gamma` is None there and 0.1 here"),
        ({"data": {"name": "digits"}}, "`data` is None there and {'name': 'digits'} here"),
    ],
)
def test_other_config_is_refused_and_the_differing_key_named(folder, changes, difference):
    with pytest.raises(ValueError, match=rf"belongs to another config: {difference}\. Choose another --output"):
        folder.check(VALUES | changes)


def test_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"is not a run folder\. Choose another --output"):
        RunFolder(tmp_path).check(VALUES)
    assert names_in(tmp_path) == ["thesis.tex"]


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(ValueError, match=r"is not a run folder\. Choose another --output"):
        RunFolder(tmp_path / "run").check(VALUES)


def test_empty_folder_passes(tmp_path):
    RunFolder(tmp_path).check(VALUES)
    assert names_in(tmp_path) == []


def test_check_creates_nothing(tmp_path):
    RunFolder(tmp_path / "run").check(VALUES)
    assert names_in(tmp_path) == []


def test_claim_does_not_touch_a_config_that_is_there(folder):
    before = folder.config.read_bytes()
    folder.claim(VALUES, {"keras": "4"})
    assert folder.config.read_bytes() == before
    assert names_in(folder.path) == ["config.toml"]


def test_evaluation_is_read_as_it_was_written(folder):
    assert folder.read_evaluation() == {}
    settings = {"epsilon": 0.1, "step_size": 0.1, "steps": 1, "num_images": 5, "repeats": 1}
    content = {"data": "toys", "class_names": ["größer"], "model": "m", "scheme": "s", "seed": 0, "attack": settings}
    content["networks"] = {}
    folder.write_evaluation(content)
    assert folder.read_evaluation() == {"schema": SCHEMA, **content}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "paper"),
        ({"network": "pruned"}, "paper"),
        ({"network": "trained"}, "paper_trained"),
        ({"num_images": 400}, "paper_400"),
        ({"network": "undefended", "num_images": 400}, "paper_undefended_400"),
        ({"network": "undefended", "num_images": 400, "ball": "l2_0.5"}, "paper_undefended_400_l2_0.5"),
    ],
)
def test_suite_is_called_by_what_is_not_the_default(options, name):
    assert suite_name("paper", **options) == name
    assert RunFolder("run").verdict(name).name == f"verdict_{name}.json"
    assert RunFolder("run").suite_state(name).parts == ("run", "suites", name)


def test_verdicts_are_read_by_their_files_names(folder):
    assert folder.read_verdicts() == {}
    for name in ("quick", "paper_trained"):
        write_result(folder.verdict(name), {"claim": name})
    assert folder.read_verdicts() == {
        "verdict_paper_trained.json": {"schema": SCHEMA, "claim": "paper_trained"},
        "verdict_quick.json": {"schema": SCHEMA, "claim": "quick"},
    }


def test_broken_json_is_named(folder):
    folder.verdict("quick").write_text("{")
    with pytest.raises(ValueError, match=r"cannot read .*verdict_quick\.json: "):
        folder.read_verdicts()


def test_none_is_dropped_at_every_depth():
    assert drop_none({"a": None, "b": {"c": None, "d": 0}, "e": False}) == {"b": {"d": 0}, "e": False}


def test_folder_whose_making_was_cut_short_is_taken(tmp_path):
    """SIGKILL while the config was written leaves a partial file alone."""
    (tmp_path / "partial-config.toml").write_text("seed =")
    folder = RunFolder(tmp_path)
    folder.check({"seed": 0})
    folder.claim({"seed": 0}, {})
    assert names_in(tmp_path) == ["config.toml"]


def test_folder_whose_name_is_not_in_utf_8_is_refused(tmp_path):
    folder = RunFolder(tmp_path / os.fsdecode(b"caf\xe9"))
    with pytest.raises(ValueError, match=r"the name of a run folder must be in UTF-8\. Received: b'.*caf\\xe9'"):
        folder.check({"seed": 0})


def test_folder_in_use_is_refused_until_it_is_released(tmp_path):
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.claim({"seed": 0}, {})
    with pytest.raises(ValueError, match=f"another `rsr` process is using the folder {tmp_path / 'run'}"):
        second.check({"seed": 0})
    first.release()
    second.check({"seed": 0})
    with pytest.raises(ValueError, match="another `rsr` process is using"):
        first.check({"seed": 0})


def test_lock_of_a_killed_process_is_released(tmp_path):
    script = """
import os, signal, sys
from rsr_tf.files import FolderLock
with FolderLock(sys.argv[1]):
    print("locked", flush=True)
    signal.pause()
"""
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(ValueError, match="another `rsr` process is using"):
        folder.claim(VALUES, VERSIONS)
    process.kill()
    process.communicate()
    folder.claim(VALUES, VERSIONS)
    assert folder.config.exists()


def test_folder_that_only_has_a_lock_file_is_taken(tmp_path):
    (tmp_path / LOCK_FILE).touch()
    folder = RunFolder(tmp_path)
    folder.check(VALUES)
    folder.claim(VALUES, VERSIONS)
    assert names_in(tmp_path) == ["config.toml"]


def test_stored_config_is_completed_before_it_is_compared(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim({"seed": 0}, {})
    folder.release()
    with pytest.raises(ValueError, match="`new` is None there and 1 here"):
        folder.check({"seed": 0, "new": 1})
    assert not is_locked(folder)
    folder.check({"seed": 0, "new": 1}, complete=lambda stored: {"new": 1} | stored)
    assert is_locked(folder)


@pytest.mark.parametrize("shared", [False, True])
def test_folder_that_another_config_claimed_since_the_check_is_refused(tmp_path, shared):
    """Loading data lies between check and claim, long enough for another process."""
    first, second = (RunFolder(tmp_path / "run", shared=shared) for _ in range(2))
    for folder in (first, second):
        folder.check({"seed": 1})
    first.claim({"seed": 0}, {})
    if not shared:
        first.release()
    with pytest.raises(ValueError, match="belongs to another config: `seed` is 0 there and 1 here"):
        second.claim({"seed": 1}, {})
    second.claim({"seed": 0}, {})
    for folder in (first, second):
        folder.release()
