"""Arrays of a compact archive: bit for bit the same, and small."""

import ml_dtypes
import numpy as np
import pytest

from rsr_tf.export.encoding import decode, encode


def awkward_values():
    """Negative zeros, infinities, subnormal numbers, and a NaN whose payload means something to someone."""
    values = np.zeros(64, np.float32)
    values[[1, 5, 9]] = -0.0
    values[[2, 7]] = np.inf, -np.inf
    values[3] = 1e-42
    values.view(np.uint32)[[11, 12]] = 0x7FC0BEEF, 0xFFC00001
    return values.reshape(4, 16)


@pytest.mark.parametrize(
    "array",
    [
        awkward_values(),
        awkward_values().astype(ml_dtypes.bfloat16),
        awkward_values().astype(np.float16),
        np.arange(-30, 30, dtype=np.int8).reshape(3, 20),
        np.array([2**63, 0, 0, 0, 0, 0, 0, 0, 0], np.uint64),
        np.array([[True, False, True]] * 7),
        np.zeros((3, 5), np.float32),
        np.full((3, 5), -0.0, np.float32),
        np.ones((2, 2), np.float32),
        np.array(7, np.int32),
        np.array(0, np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros(0, bool),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_array_comes_back_bit_for_bit(array):
    again = decode(encode(array), array.dtype, array.shape)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()


def test_array_takes_what_its_values_take():
    """By hand: 800 numbers of 4 bytes, 80 of them not zero."""
    array = np.zeros(800, np.float32)
    array[::10] = 1
    assert {kind: len(piece) for kind, piece in encode(array).items()} == {"mask": 100, "values": 320}
    array[1] = -0.0
    assert {kind: len(piece) for kind, piece in encode(array).items()} == {"mask": 100, "values": 320, "signs": 90}
    assert {kind: len(piece) for kind, piece in encode(array != 0).items()} == {"bits": 100}
    assert {kind: len(piece) for kind, piece in encode(array + 1).items()} == {"dense": 3200}


@pytest.mark.parametrize("piece", ["mask", "values"])
def test_piece_of_the_wrong_length_is_refused(piece):
    pieces = encode(awkward_values())
    with pytest.raises(ValueError, match=r"bytes cannot hold (64 bits|5 numbers of 4 bytes)"):
        decode({**pieces, piece: pieces[piece][:-1]}, np.float32, (4, 16))
