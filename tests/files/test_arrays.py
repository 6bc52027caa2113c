"""`.npz` files of anybody: headers are compared with the file before anything is unpacked."""

import contextlib
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from rsr_tf.files.arrays import Header, array_headers, check_expansion, check_headers, read_arrays


def npy(header, body=b"", version=(1, 0)):
    """Return the bytes of an `.npy` file with any header."""
    header = header.encode() if isinstance(header, str) else header
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + body


def described(shape, dtype="<f4"):
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n"


def archive(path, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def test_arrays_are_read_as_numpy_writes_them(tmp_path):
    arrays = {"x": np.arange(6, dtype="float32").reshape(2, 3).T, "flag": np.array(True), "word": np.array("ab")}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert array_headers(tmp_path / "a.npz")[name] == Header(array.shape, array.dtype)


BROKEN = {
    "shape of a terabyte": npy(described("(1000000000000, 8, 8, 1)")),
    "shape of a gigabyte": npy(described("(1000000000,)")),
    "shape of 30 digits": npy(described(f"({10**30},)")),
    "negative shape": npy(described("(-1, 4)"), bytes(16)),
    "one byte short": npy(described("(4,)"), bytes(15)),
    "one byte more": npy(described("(4,)"), bytes(17)),
    "parentheses": npy("(" * 9000),
    "header without an end": npy("x" * 100)[:50],
    "header of 4 GB": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b" " * 100,
    "long header": npy(described("(0,)") + " " * 20_000),
    "code": npy("__import__('os').abort()"),
    "no dict": npy("5"),
    "objects": npy(described("(1,)", "|O"), bytes(8)),
    "later version": npy(described("(0,)"), version=(9, 0)),
    "no array": b"",
    "text": b"not an array",
    "dtype of nothing": npy(described("(1,)", "zz"), bytes(4)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_array_is_refused_with_the_file(tmp_path, name):
    path = archive(tmp_path / "a.npz", x=BROKEN[name])
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"\Acannot read .*a\.npz: .+\Z"):
        read_arrays(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22


def test_bomb_is_refused_before_it_goes_off(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file, file.open("x.npy", "w") as member:
        member.write(npy(described(f"({2**28},)", "|u1")))
        for _ in range(256):
            member.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.npz: its .* bytes would become 268,4"):
        read_arrays(tmp_path / "a.npz")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def damage(path, position, value):
    """Set two bytes of the headers of the first member, as both headers of a ZIP archive have them."""
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        start = content.index(signature) + position + offset
        content[start : start + 2] = struct.pack("<H", value)
    path.write_bytes(content)


@pytest.mark.parametrize(("position", "value"), [(6, 1), (8, 97), (4, 99)])
def test_encrypted_or_unknown_compression_is_refused(tmp_path, position, value):
    path = archive(tmp_path / "a.npz", x=npy(described("(4,)"), bytes(16)))
    damage(path, position, value)
    with pytest.raises(ValueError, match=r"\Acannot read .*a\.npz: .+\Z"):
        read_arrays(path)


def test_flipped_bits_are_never_another_kind_of_error(tmp_path):
    generator, arrays = np.random.default_rng(0), {"x": np.arange(100.0), "y": np.arange(100) % 3}
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **arrays)
        for _ in range(300):
            content = np.frombuffer(stream.getvalue(), np.uint8).copy()
            for place in generator.integers(len(content), size=3):
                content[place] ^= 1 << generator.integers(8)
            (tmp_path / "a.npz").write_bytes(content.tobytes())
            with contextlib.suppress(ValueError):
                found = read_arrays(tmp_path / "a.npz", ["x", "y"])
                assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_array_listed_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", npy(described("(4,)"), bytes(16)))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("x.npy", npy(described("(4,)"), b"\1" * 16))
    with pytest.raises(ValueError, match="two arrays of one name"):
        read_arrays(tmp_path / "a.npz")


def test_missing_array_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=1)
    with pytest.raises(ValueError, match=r"a\.npz: it has no array y"):
        read_arrays(tmp_path / "a.npz", ["x", "y"])


def test_headers_are_checked_before_the_arrays_are_read(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))

    def refuse(headers):
        raise KeyError(headers["x"].shape)

    with pytest.raises(KeyError, match=r"\(3,\)"):
        read_arrays(tmp_path / "a.npz", check=refuse)


HEADERS = {"x": Header((5, 2, 3), np.dtype("float32")), "n": Header((), np.dtype("int64"))}


@pytest.mark.parametrize(
    "expected", [{"x": ("f", (5, 2, 3))}, {"x": ("fi", (5, None, 3))}, {"x": ("f", (5, ...)), "n": ("iu", ())}, {}]
)
def test_headers_that_fit_pass(expected):
    check_headers(HEADERS, expected)
    assert check_headers(HEADERS, {}) is None


@pytest.mark.parametrize(
    "expected",
    [{"y": ("f", ())}, {"x": ("i", (5, 2, 3))}, {"x": ("f", (5, 2))}, {"x": ("f", (4, ...))}, {"n": ("i", (1,))}],
)
def test_headers_that_do_not_fit_are_refused(expected):
    with pytest.raises(ValueError, match=r"its array x|its array n|no array y"):
        check_headers(HEADERS, expected)


def test_small_archive_may_expand_as_it_likes(tmp_path):
    with zipfile.ZipFile(archive(tmp_path / "a.npz", x=npy(described("(250000,)"), bytes(1_000_000)))) as file:
        assert check_expansion(file) is None
