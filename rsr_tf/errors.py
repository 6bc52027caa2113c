"""Errors that a user can fix, and the conversion of other errors to them. TensorFlow is imported only when needed."""

import contextlib
import errno
import importlib
import os

DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
)
"""Reasons why a path cannot be written to: the disk, the permissions, the path itself."""
LONGEST_MESSAGE = 1000
"""Characters of the line that the command prints; a longer one is shortened in its middle."""


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


def describe_error(error):
    """Return the first line of an error's message; of an error of the operating system, the path and the reason."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return first_line(error)


def shown(value):
    """Return a received value for a message, shortened."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "an integer of thousands of digits"
    return shortened(text)


def shortened(text):
    """Return a text of at most 200 characters; a longer one without its middle."""
    return text if len(text) <= 200 else f"{text[:100]}...{text[-50:]}"


def explain_validation(error):
    """Describe the first error of a `pydantic.ValidationError`: the key, what was expected, what was received."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    is_value = isinstance(first["input"], (str, int, float, list, type(None)))
    received = f". Received: {shown(first['input'])}" if is_value else ""
    return f"`{'.'.join(map(str, first['loc'])) or 'content'}` {message}{received}"


def one_line(error):
    """Return the whole message of an error as one line of limited length, for the command."""
    text = " ".join(describe_error(error).split() if isinstance(error, OSError) else str(error).split())
    half = LONGEST_MESSAGE // 2
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:half]} ... {text[-half:]}"


@contextlib.contextmanager
def user_errors(section=None):
    """Convert `OSError` and `ValueError` to `UserError`; let all other errors, which are bugs, pass.

    Args:
        section: name of the config section that causes the error, for the message. Defaults to `None`.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(f"[{section}] {describe_error(error)}" if section else describe_error(error)) from error


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
