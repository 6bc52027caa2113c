"""First differences of nested dicts, and hashes of files and folders."""

import hashlib

import pytest

from rsr_tf.identity import content_hash, first_difference


@pytest.mark.parametrize(
    ("found", "wanted", "difference"),
    [
        ({}, {}, None),
        ({"a": 1, "b": {"c": [1, 2]}}, {"b": {"c": [1, 2]}, "a": 1}, None),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, "`a` is 1 there and 2 here"),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, "`a.b.c` is 1 there and 2 here"),
        ({"a": {"b": 1}, "c": 1}, {"a": {"b": 1}, "c": 2}, "`c` is 1 there and 2 here"),
        ({"a": {"b": 1}}, {"a": 2}, "`a` is {'b': 1} there and 2 here"),
        ({"a": 1}, {}, "`a` is 1 there and None here"),
        ({}, {"a": 1}, "`a` is None there and 1 here"),
    ],
)
def test_first_difference_is_named_by_its_path(found, wanted, difference):
    assert first_difference(found, wanted) == difference


def test_prefix_comes_before_the_key():
    assert first_difference({"seed": 0}, {"seed": 1}, "model.") == "`model.seed` is 0 there and 1 here"


def test_hash_of_a_file_is_its_sha256(tmp_path):
    path = tmp_path / "network.keras"
    path.write_bytes(b"weights")
    assert content_hash(path) == hashlib.sha256(b"weights").hexdigest()


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return content_hash(folder)


def test_hash_of_a_folder_depends_on_names_and_contents_alone(tmp_path):
    files = {"a": b"1", "inner/b": b"2"}
    first = write(tmp_path / "first", files)
    assert write(tmp_path / "second", dict(reversed(files.items()))) == first
    others = [{"a": b"1", "inner/c": b"2"}, {"a": b"1", "inner/b": b"3"}, {"a": b"12", "inner/b": b""}, {"a": b"1"}]
    hashes = [write(tmp_path / f"other{number}", other) for number, other in enumerate(others)]
    assert len({first, *hashes}) == 5
