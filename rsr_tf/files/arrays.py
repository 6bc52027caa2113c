"""Read `.npz` files whose headers are checked before a byte of their arrays is unpacked."""

import contextlib
import io
import math
import warnings
import zipfile
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

MAX_EXPANSION = 200
"""How much smaller than its content an archive may be; images and weights rarely compress by more than ten."""
ALWAYS_UNPACKED = 64 * 2**20
"""Bytes that may be unpacked from an archive whatever its size."""
HEADER_BYTES = 10_000
"""Longest header of an array that is read."""


class Header(NamedTuple):
    """Shape and dtype of a stored array."""

    shape: tuple
    dtype: np.dtype


def array_headers(path, names=None):
    """Read the headers of arrays of an `.npz` file, and check that the file holds what they promise.

    Args:
        path: path of the file.
        names: list of the arrays. Defaults to `None`: all arrays of the file.

    Returns:
        A dict from name to `Header`.

    Raises:
        ValueError: if the file cannot be read, lacks an array, or holds one of another size than its header says, one
            of objects, or content that is absurdly larger than the file; the message names the file.

    Example:
        >>> np.savez("counts.npz", images=np.zeros((5, 2)))
        >>> rsr_tf.files.arrays.array_headers("counts.npz")
        {'images': Header(shape=(5, 2), dtype=dtype('float64'))}
    """
    with _broken_files(path), open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        check_expansion(archive)
        found = archive.namelist()
        if len(set(found)) < len(found):
            raise ValueError("it holds two arrays of one name")
        stored = [name.removesuffix(".npy") for name in found]
        missing = [name for name in names or () if name not in stored]
        if missing:
            raise ValueError(f"it has no array {missing[0]}")
        return {name: _header(archive, name) for name in names or stored}


def read_arrays(path, names=None, *, check=None):
    """Read arrays of an `.npz` file after a look at their headers.

    Args:
        path, names: as for `array_headers`.
        check: function of the dict of headers that raises for wrong ones, before anything is unpacked. Defaults to
            `None`.

    Returns:
        A dict from name to NumPy array.

    Raises:
        ValueError: as for `array_headers`, and for damaged content.

    Example:
        >>> np.savez("counts.npz", images=np.arange(3))
        >>> rsr_tf.files.arrays.read_arrays("counts.npz")["images"]
        array([0, 1, 2])
    """
    headers = array_headers(path, names)
    if check is not None:
        check(headers)
    with _broken_files(path), open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        return {name: _array(archive, name) for name in headers}


def check_headers(headers, expected):
    """Check shapes and dtypes of stored arrays.

    Args:
        headers: dict from name to `Header`.
        expected: dict from name to a pair: a string with the allowed kinds of dtype, such as `"iu"` for integers, and a
            shape, in which `None` is any size and a last `...` any further axes.

    Raises:
        ValueError: for an array that is missing or another one.

    Example:
        >>> header = rsr_tf.files.arrays.Header((5, 2), np.dtype("float32"))
        >>> rsr_tf.files.arrays.check_headers({"logits": header}, {"logits": ("f", (5, None))})
    """
    for name, (kinds, shape) in expected.items():
        if name not in headers:
            raise ValueError(f"it has no array {name}")
        found = headers[name]
        sizes = found.shape[: len(shape) - 1] if shape[-1:] == (...,) else found.shape
        wanted = shape[:-1] if shape[-1:] == (...,) else shape
        fits = len(sizes) == len(wanted) and all(want in (None, size) for want, size in zip(wanted, sizes, strict=True))
        if not (fits and found.dtype.kind in kinds):
            raise ValueError(f"its array {name} is of another kind: {found.dtype} of shape {found.shape}")


def check_expansion(archive):
    """Check that a ZIP archive does not hold absurdly more than its size.

    Args:
        archive: an open `zipfile.ZipFile`.

    Raises:
        ValueError: if it does.
    """
    members = archive.infolist()
    packed, unpacked = (sum(getattr(member, name) for member in members) for name in ("compress_size", "file_size"))
    if unpacked > max(ALWAYS_UNPACKED, MAX_EXPANSION * packed):
        raise ValueError(f"its {packed:,} bytes would become {unpacked:,}")


@contextlib.contextmanager
def _broken_files(path):
    """Name the file in whatever error reading it raises."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # zipfile, zlib, ast, tokenize and NumPy raise many kinds for a broken file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cannot read {path}: {reason}") from error


def _header(archive, name):
    """Return the `Header` of an array after comparing it with the size of its member."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        start = io.BytesIO(file.read(HEADER_BYTES))  # no more, whatever length it claims to have
    version = npy.read_magic(start)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its array {name} is of the unknown version {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    with warnings.catch_warnings(action="ignore"):  # of NumPy, on headers of old versions
        shape, _, dtype = read(start)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"its array {name} is not one of numbers: {dtype} of shape {shape}")
    if start.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError(f"its array {name} should be {dtype} of shape {shape}, but has {member.file_size:,} bytes")
    return Header(shape, dtype)


def _array(archive, name):
    with archive.open(f"{name}.npy") as file:
        array = npy.read_array(file, allow_pickle=False)
        file.read(1)  # the end, where zipfile compares the checksum
    return array
