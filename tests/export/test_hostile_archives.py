"""Compact archives made to take memory or to end in a traceback: refused in one line, before anything is unpacked."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import rsr_tf
from rsr_tf.export.compact import HEADER, HEADER_BYTES, VALUES


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "network.rsrz"
    model = keras.Sequential([keras.Input((4,)), rsr_tf.NoisyDense(3), keras.layers.Dense(2)])
    rsr_tf.save_compact(model, path)
    return path


def rewrite(path, header=lambda header: header, values=None):
    """Write the same archive with another header (a function of the old one, or bytes) or other values."""
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in (HEADER, VALUES)}
    content[HEADER] = header if isinstance(header, bytes) else json.dumps(header(json.loads(content[HEADER])))
    content[VALUES] = content[VALUES] if values is None else values
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, member in content.items():
            new.writestr(name, member)


def raises_in_one_line(message):
    return pytest.raises(ValueError, match=rf"\A`path` must be a compact archive of .*{message}.*\Z")


def with_wide_layer(header):
    """A network whose last kernel alone would take 120 TB."""
    header["network"]["config"]["layers"][-1]["config"]["units"] = 10**13
    return header


def with_large_variable(header):
    header["variables"][0]["shape"] = [2**32]
    return header


def with_another_layer(header):
    return {**header, "variables": [*header["variables"], {**header["variables"][0], "owner": 99}]}


def with_variable_twice(header):
    return {**header, "variables": [*header["variables"], header["variables"][0]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_wide_layer, "must have the variables .*10000000000000"),
        (with_large_variable, "must have the variables .*4294967296"),
        (with_another_layer, r"has no layers \[99\]"),
        (with_variable_twice, "is listed twice"),
    ],
)
def test_header_that_contradicts_its_network_is_refused_before_values_are_read(archive, monkeypatch, change, message):
    rewrite(archive, change)
    read = zipfile.ZipFile.read
    names = []
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, name: names.append(name) or read(self, name))
    with raises_in_one_line(message):
        rsr_tf.load_compact(archive)
    assert names == [HEADER]


def test_values_that_unpack_to_more_than_the_network_are_not_unpacked(archive, monkeypatch):
    rewrite(archive, values=bytes(10**7))
    read = zipfile.ZipFile.read
    names = []
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, name: names.append(name) or read(self, name))
    with raises_in_one_line(r"'values' must have at most \d+ bytes. Received: 10000000 bytes"):
        rsr_tf.load_compact(archive)
    assert names == [HEADER]


def test_header_that_unpacks_to_more_than_any_header_is_not_unpacked(archive):
    rewrite(archive, b" " * (HEADER_BYTES + 1))
    with raises_in_one_line(f"'header.json' must have at most {HEADER_BYTES} bytes"):
        rsr_tf.load_compact(archive)


def test_header_nested_deep_is_refused(archive):
    rewrite(archive, b"[" * 100_000 + b"]" * 100_000)
    with raises_in_one_line("recursion"):
        rsr_tf.load_compact(archive)


@pytest.mark.parametrize(
    "error", [MemoryError("2 TB"), RecursionError("2 TB"), tf.errors.ResourceExhaustedError(None, None, "2 TB")]
)
def test_network_too_large_or_too_deep_is_refused(archive, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(keras.saving, "deserialize_keras_object", fail)
    with raises_in_one_line("2 TB"):
        rsr_tf.load_compact(archive)


def test_encrypted_archive_is_refused(archive):
    content = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    archive.write_bytes(content)
    with raises_in_one_line("encrypted"):
        rsr_tf.load_compact(archive)


def test_layer_that_looks_at_its_weights_while_it_is_built_is_loaded(tmp_path):
    """Its weights have no values in the graph where shapes are compared."""

    class Centred(keras.layers.Dense):
        def build(self, input_shape):
            super().build(input_shape)
            self.kernel.assign(np.array(self.kernel) - np.mean(self.kernel))

    model = keras.Sequential([keras.Input((4,)), Centred(2)])
    rsr_tf.save_compact(model, tmp_path / "network.rsrz")
    loaded = rsr_tf.load_compact(tmp_path / "network.rsrz", custom_objects={"Centred": Centred})
    np.testing.assert_array_equal(loaded.layers[0].kernel, model.layers[0].kernel)
