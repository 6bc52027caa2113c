"""Text and JSON of anybody: bounded in size and depth, and every error names the file."""

import json
import re
from pathlib import Path

import pytest

from rsr_tf.files import expanded, is_deeper, read_json, read_text
from rsr_tf.files.reading import MAX_DEPTH


def test_text_is_read_up_to_the_limit(tmp_path):
    (tmp_path / "a.txt").write_bytes("äb\r\nc".encode())
    assert read_text(tmp_path / "a.txt", limit=6) == "äb\nc"
    with pytest.raises(ValueError, match=r"cannot read .*a\.txt: it has more than 5 bytes"):
        read_text(tmp_path / "a.txt", limit=5)


@pytest.mark.parametrize(
    ("path", "reason"), [("none", "No such file"), ("/", "Is a directory"), ("x" * 5000, "File name too long")]
)
def test_file_that_cannot_be_read_is_named_with_the_reason(path, reason):
    with pytest.raises(ValueError, match=f"cannot read {re.escape(path)}: {reason}"):
        read_text(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not valid JSON"),
        (b"{", "it is not valid JSON"),
        (b"\xff{}", "it is not UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it is not valid JSON"),
        (b"[" * 100_000, "nested at most 100 deep"),
        (b'{"a": ' * 50_000 + b"1" + b"}" * 50_000, "nested at most 100 deep"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "nested at most 100 deep"),
        (b'{"a": "\\uD800"}', "it is not valid JSON: .*surrogates not allowed"),
        (b"[]", "must hold a JSON object. Received: list"),
        (b"5", "must hold a JSON object. Received: int"),
        (b"null", "must hold a JSON object. Received: NoneType"),
    ],
)
def test_json_of_another_kind_is_refused(tmp_path, content, reason):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"\Acannot read .*a\.json: .*{reason}"):
        read_json(tmp_path / "a.json")


def test_json_object_is_read(tmp_path):
    content = {"a": [1, {"b": None}], "c": "\N{BRAIN}"}
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read_json(tmp_path / "a.json") == content


def test_depth_is_that_of_lists_and_dicts():
    value = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert not is_deeper(value)
    assert is_deeper({"a": value})


def test_home_of_an_unknown_user_is_named():
    with pytest.raises(ValueError, match="`~nosuchuser123/x` names the home directory of an unknown user"):
        expanded("~nosuchuser123/x")
    assert expanded("~/x") == Path.home() / "x"
