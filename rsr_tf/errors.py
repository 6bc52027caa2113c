"""Errors that a user can fix, and the conversion of other errors to them. TensorFlow is imported only when needed."""

import contextlib
import errno
import importlib
import os

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


class UserError(Exception):
    """An error that the user can fix. The command prints it on one line and exits with code 2."""


class MissingPackageError(UserError, ImportError):
    """An optional package that is not installed: a `UserError` for the command, an `ImportError` in Python."""


def first_line(error):
    """Return the first line of an error's message with content, or the error's type if the message is empty.

    For an error raised inside a TensorFlow graph ("in user code:" and a traceback), the last line has the cause.
    """
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return lines[-1].strip() if lines[0].startswith("in user code:") else lines[0]


@contextlib.contextmanager
def user_errors(section=None):
    """Convert `FileNotFoundError` and `ValueError` to `UserError`; let all other errors, which are bugs, pass.

    Args:
        section: name of the config section that causes the error, for the message. Defaults to `None`.
    """
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"[{section}] {first_line(error)}" if section else first_line(error)) from error


@contextlib.contextmanager
def disk_errors(folder):
    """Convert disk errors (full, read-only) to `UserError`; TensorFlow reports their cause only in the message.

    Args:
        folder: path of the folder that is written to, for the message.
    """
    try:
        yield
    except Exception as error:
        reasons = [os.strerror(number) for number in DISK_ERRORS]
        reason = next((reason for reason in reasons if reason in str(error)), None)
        if reason is None or not _is_disk_error(error):
            raise
        raise UserError(f"cannot write to {folder}: {reason}. What was saved before is intact") from error


def _is_disk_error(error):
    import tensorflow as tf

    return isinstance(error, (OSError, tf.errors.OpError))


def require(module, *, extra):
    """Import a module of an optional package.

    Args:
        module: full name of the module, such as `"matplotlib.figure"`.
        extra: the extra of rsr_tf that installs its package, such as `"report"`.

    Returns:
        The module.

    Raises:
        MissingPackageError: if it cannot be imported; the message has the `pip` command to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingPackageError(
            f'`{package}` cannot be imported: {first_line(error)}. Install it with: pip install "rsr_tf[{extra}]"'
        ) from error
