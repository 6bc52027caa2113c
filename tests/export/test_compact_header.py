"""The header of a compact archive: pieces that fit their variable."""

import pytest
from pydantic import ValidationError

from rsr_tf.export.compact_header import Header, Variable

KERNEL = {"owner": 1, "name": "0", "dtype": "float32", "shape": [3, 3], "pieces": {"dense": [0, 36]}}


def variable(**changes):
    return Variable.model_validate({**KERNEL, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pieces": {"mask": [0, 2], "values": [2, 20], "signs": [22, 1]}},
        {"dtype": "bool", "pieces": {"bits": [0, 2]}},
        {"dtype": "bfloat16", "pieces": {"dense": [5, 18]}},
        {"owner": "seeds", "dtype": "int64", "shape": [], "pieces": {"dense": [0, 8]}},
        {"shape": [0], "pieces": {"dense": [0, 0]}},
    ],
)
def test_pieces_of_the_right_length_pass(changes):
    assert variable(**changes).check_pieces() is None


@pytest.mark.parametrize(
    "pieces", [{"dense": [0, 35]}, {"dense": [0, 37]}, {"mask": [0, 1]}, {"bits": [0, 3]}, {"values": [0, 37]}]
)
def test_pieces_of_another_length_are_refused(pieces):
    with pytest.raises(ValueError, match=r"bytes cannot be the .* of 9 numbers of float32"):
        variable(pieces=pieces).check_pieces()


@pytest.mark.parametrize("dtype", ["string", "variant", "float33", "complex64"])
def test_dtype_of_no_number_is_refused(dtype):
    with pytest.raises((ValueError, TypeError), match=dtype):
        variable(dtype=dtype).check_pieces()


@pytest.mark.parametrize(
    "changes", [{"owner": -1}, {"owner": "a"}, {"shape": [-1]}, {"shape": [2**60]}, {"pieces": {"dense": [0]}}]
)
def test_variable_of_another_kind_is_refused(changes):
    with pytest.raises(ValidationError):
        variable(**changes)


def test_header_needs_all_parts():
    whole = {"format": "rsr_tf compact archive", "version": 1, "checksum": "", "variables": [KERNEL], "network": {}}
    assert Header.model_validate(whole).variables[0].shape == [3, 3]
    for key in whole:
        with pytest.raises(ValidationError, match=key):
            Header.model_validate({name: value for name, value in whole.items() if name != key})
