import os

import numpy as np
import pytest

from rsr_tf.data import decoded_cache
from rsr_tf.files import step_lock

ARRAYS = {"images": np.arange(12, dtype="uint8").reshape(1, 2, 2, 3), "labels": np.array([7], "int32")}


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Create a folder of encoded files, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "source"
    (folder / "1.0").mkdir(parents=True)
    (folder / "1.0" / "data").write_bytes(b"encoded")
    return folder


def cached_file(tmp_path):
    (path,) = (tmp_path / "cache" / "rsr_tf").iterdir()
    return path


def test_what_was_written_is_read_back_with_its_types(source):
    decoded_cache.write(source, ARRAYS)
    stored = decoded_cache.read(source)
    assert stored.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert stored[name].dtype == array.dtype
        np.testing.assert_array_equal(stored[name], array)


def test_nothing_is_read_before_anything_is_written(source):
    assert decoded_cache.read(source) is None


@pytest.mark.parametrize("change", ["size", "time", "name", "new file"])
def test_a_source_that_changed_is_not_read_from_the_cache(source, change):
    decoded_cache.write(source, ARRAYS)
    data = source / "1.0" / "data"
    if change == "size":
        state = data.stat()
        data.write_bytes(b"encoded anew")
        os.utime(data, ns=(state.st_atime_ns, state.st_mtime_ns))
    elif change == "time":
        os.utime(data, ns=(0, 0))
    elif change == "name":
        data.rename(source / "1.0" / "other")
    else:
        (source / "more").write_bytes(b"")
    assert decoded_cache.read(source) is None


def test_two_sources_do_not_share_a_file(source, tmp_path):
    other = tmp_path / "elsewhere" / "source"
    other.mkdir(parents=True)
    decoded_cache.write(source, ARRAYS)
    assert decoded_cache.read(other) is None
    decoded_cache.write(other, ARRAYS)
    assert decoded_cache.read(source) is not None


def test_two_variants_of_a_source_do_not_share_a_file(source):
    decoded_cache.write(source, ARRAYS, variant="-small")
    assert decoded_cache.read(source) is None
    assert decoded_cache.read(source, variant="-small") is not None


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_file_counts_as_none(source, tmp_path, damage):
    decoded_cache.write(source, {"images": np.zeros(10_000, "uint8")})
    path = cached_file(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    else:
        content = b""
    path.write_bytes(content)
    assert decoded_cache.read(source) is None


def test_failure_to_write_the_cache_is_logged_and_not_raised(source, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with caplog.at_level("INFO"):
        decoded_cache.write(source, ARRAYS)
    assert "decoded images are not kept for the next run: cannot write" in caplog.text
    assert decoded_cache.read(source) is None


def test_cache_that_another_process_is_writing_is_left_to_it(source, tmp_path, caplog):
    decoded_cache.write(source, ARRAYS)
    path = cached_file(tmp_path)
    path.unlink()
    (path.parent / f"partial-{path.name}").write_bytes(b"half of the other's")
    with step_lock(path.parent, path.name), caplog.at_level("INFO"):
        decoded_cache.write(source, ARRAYS)
        assert (path.parent / f"partial-{path.name}").read_bytes() == b"half of the other's"
    assert not path.exists()
    assert caplog.text == ""
    decoded_cache.write(source, ARRAYS)
    assert cached_file(tmp_path) == path


EXPECTED = {"images": ("u", (None, None, None, 3)), "labels": ("i", (None,))}


@pytest.mark.parametrize(
    "arrays",
    [{"images": ARRAYS["images"]}, {**ARRAYS, "labels": np.zeros((1, 1), "int32")}, {**ARRAYS, "images": np.zeros(3)}],
)
def test_cache_of_other_arrays_is_not_read(source, arrays):
    decoded_cache.write(source, arrays)
    assert decoded_cache.read(source) is not None
    assert decoded_cache.read(source, EXPECTED) is None


def test_cache_of_the_expected_arrays_is_read(source):
    decoded_cache.write(source, ARRAYS)
    assert decoded_cache.read(source, EXPECTED)["labels"].tolist() == [7]
