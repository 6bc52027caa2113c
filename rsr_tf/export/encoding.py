"""Encode one array of a compact archive as pieces of bytes, and decode it."""

import numpy as np


def encode(array):
    """Encode an array as named pieces of bytes, in the smallest of three encodings.

    Args:
        array: NumPy array of any shape: boolean, integer or floating point, including bfloat16.

    Returns:
        A dict from name to bytes: `"bits"` for booleans; `"mask"`, `"values"` and, if some zeros are negative,
        `"signs"`; or `"dense"`.
    """
    flat = array.reshape(-1)
    if flat.dtype == bool:
        return {"bits": _pack(flat)}
    mask = flat != 0
    pieces = {"mask": _pack(mask), "values": _planes(flat[mask])}
    signs = np.signbit(flat[~mask]) if not np.issubdtype(flat.dtype, np.integer) else np.zeros(0, bool)
    if signs.any():
        pieces["signs"] = _pack(signs)
    return pieces if sum(map(len, pieces.values())) < flat.nbytes else {"dense": _planes(flat)}


def decode(pieces, dtype, shape):
    """Decode an array from the pieces of `encode`.

    Args:
        pieces: dict from name to bytes.
        dtype: NumPy dtype of the array.
        shape: tuple, shape of the array.

    Returns:
        The NumPy array.

    Raises:
        ValueError: for pieces of a wrong length.
    """
    size = int(np.prod(shape))
    if "bits" in pieces:
        return _unpack(pieces["bits"], size).reshape(shape)
    if "dense" in pieces:
        return _from_planes(pieces["dense"], dtype, size).reshape(shape)
    mask = _unpack(pieces["mask"], size)
    flat = np.zeros(size, dtype)
    flat[mask] = _from_planes(pieces["values"], dtype, np.count_nonzero(mask))
    if "signs" in pieces:
        zeros = np.flatnonzero(~mask)
        flat[zeros[_unpack(pieces["signs"], len(zeros))]] = -np.zeros((), dtype)
    return flat.reshape(shape)


def _pack(bits):
    return np.packbits(bits).tobytes()


def _unpack(piece, count):
    if len(piece) != -(-count // 8):
        raise ValueError(f"{len(piece)} bytes cannot hold {count} bits")
    return np.unpackbits(np.frombuffer(piece, np.uint8), count=count).astype(bool)


def _planes(flat):
    return flat.view(np.uint8).reshape(-1, flat.itemsize).T.tobytes()


def _from_planes(piece, dtype, count):
    size = np.dtype(dtype).itemsize
    if len(piece) != count * size:
        raise ValueError(f"{len(piece)} bytes cannot hold {count} numbers of {size} bytes")
    return np.frombuffer(piece, np.uint8).reshape(size, count).T.copy().view(dtype).reshape(-1)
