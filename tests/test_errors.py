"""Errors that a user can fix, and the conversion of other errors to them."""

import errno
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from rsr_tf import config
from rsr_tf.errors import (
    MissingPackageError,
    UserError,
    describe_error,
    disk_errors,
    first_line,
    one_line,
    require,
    user_errors,
)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n one"), "one"),
        (KeyError(), "KeyError"),
        (ValueError("in user code:\n\n    File x\n\n    ValueError: two\n"), "ValueError: two"),
    ],
)
def test_line_is_the_first_with_content(error, line):
    assert first_line(error) == line


def test_error_within_a_graph_of_tensorflow_is_found():
    @tf.function
    def broken(x):
        raise ValueError("what is wrong")

    with pytest.raises(ValueError, match="in user code") as caught:
        broken(tf.constant(1.0))
    assert first_line(caught.value).endswith("what is wrong")


def test_user_error_is_also_a_name_of_the_config():
    assert config.UserError is UserError


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError])
def test_error_of_a_user_names_the_section(kind):
    with pytest.raises(UserError, match=r"\A\[data\] one\Z"), user_errors("data"):
        raise kind("one\ntwo")
    with pytest.raises(UserError, match=r"\Aone\Z"), user_errors():
        raise kind("one\ntwo")


def test_bug_is_no_error_of_a_user():
    with pytest.raises(KeyError), user_errors():
        raise KeyError("name")


FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, FULL), tf.errors.UnknownError(None, None, f"while writing: {FULL}")]
)
def test_full_disk_names_the_folder(error):
    with pytest.raises(UserError, match=f"cannot write to runs/a: {FULL}"), disk_errors("runs/a"):
        raise error


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), ValueError(FULL)])
def test_other_error_is_no_disk_error(error):
    with pytest.raises(type(error)), disk_errors("runs/a"):
        raise error


def test_installed_package_is_imported():
    assert require("email.message", extra="data").Message.__name__ == "Message"


def test_missing_package_is_an_import_error_with_the_command_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingPackageError, match=r'`jinja2` .*pip install "rsr_tf\[report\]"\Z') as caught:
        require("jinja2.sandbox", extra="report")
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, UserError)


def test_errors_need_no_tensorflow():
    script = "import sys, rsr_tf.errors; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("code", [errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG, errno.EPERM])
def test_path_that_nothing_can_be_written_to_names_the_folder(code):
    with pytest.raises(UserError, match=f"cannot write to runs/a: {os.strerror(code)}"), disk_errors("runs/a"):
        raise OSError(code, os.strerror(code))


def test_error_of_the_operating_system_is_path_and_reason():
    assert describe_error(PermissionError(errno.EACCES, "Permission denied", "a/b")) == "a/b: Permission denied"
    assert describe_error(FileNotFoundError("no data")) == "no data"
    with pytest.raises(UserError, match=r"\A\[data\] a/b: File name too long\Z"), user_errors("data"):
        raise OSError(errno.ENAMETOOLONG, "File name too long", "a/b")


def test_message_of_the_command_is_one_line_of_limited_length():
    assert one_line(UserError("one\n  two\r\nthree")) == "one two three"
    line = one_line(UserError("run.toml: " + "9" * 5_000_000 + " is too long"))
    assert len(line) < 1100
    assert (line[:12], line[-12:]) == ("run.toml: 99", " is too long")
