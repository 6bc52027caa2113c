"""A compact archive of a network: of every pruned kernel a bit mask and the weights that are left, and nothing else.

The archive is a ZIP file of two members. `header.json` has the version, the Keras config of the network, the checksum
of the other member, and a list of what each layer keeps. `values` is the numbers themselves:

- a boolean array as one bit an entry;
- an array with many zeros as a bit mask, its other values, and the signs of its zeros if some are negative;
- any other array as it is.

Numbers lie byte plane by byte plane (all first bytes, all second bytes, ...), which compresses better, and a piece that
came before, such as a mask that tells the zeros of its kernel, is not written twice.
"""

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.errors import first_line
from rsr_tf.files import replacing
from rsr_tf.keras_internals import nested_layers

FORMAT = "rsr_tf compact archive"
VERSION = 1
HEADER, VALUES = "header.json", "values"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Date of the members, so that one network always gives one and the same file."""
BROKEN = (zipfile.BadZipFile, zlib.error, KeyError, IndexError, TypeError, ValueError, EOFError, NotImplementedError)
"""What a broken archive makes of the modules that read it."""


def save_compact(model, path):
    """Write a network as a compact archive: weights, noise scales, masks and the states of all seeds, bit for bit.

    The optimizer and the other settings of `compile` are not in it.

    Args:
        model: a built Keras model, noisy or stock, whose layers Keras can serialize.
        path: file to write, by convention `*.rsrz`; what stood there is replaced in one step.

    Raises:
        ValueError: for a model that is not built, or a layer that keeps files beside its weights (a vocabulary).

    Example:
        >>> save_compact(rsr_tf.strip(model), "network.rsrz")
    """
    entries, values, seen = [], bytearray(), {}

    def place(piece):
        """Where a piece lies among the values, as `[start, length]`."""
        digest = hashlib.sha256(piece).digest()
        if digest not in seen:
            seen[digest] = [len(values), len(piece)]
            values.extend(piece)
        return seen[digest]

    for owner, name, array in _state(model):
        pieces = {kind: place(piece) for kind, piece in encode(array).items()}
        entries.append(
            {"owner": owner, "name": name, "dtype": array.dtype.name, "shape": array.shape, "pieces": pieces}
        )
    header = {
        "format": FORMAT,
        "version": VERSION,
        "checksum": hashlib.sha256(values).hexdigest(),
        "variables": entries,
        "network": _without_compile(keras.saving.serialize_keras_object(model)),
    }
    members = {HEADER: json.dumps(header, separators=(",", ":")).encode(), VALUES: values}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), content, zipfile.ZIP_DEFLATED)


def load_compact(path, *, custom_objects=None):
    """The network of a compact archive, not compiled.

    No code of the archive is run: layers are looked up by name, and one that carries code (`Lambda`) is refused.

    Args:
        path: file that `save_compact` wrote.
        custom_objects: dict from name to class, for layers that are not registered with Keras.

    Returns:
        A Keras model of the same class, every variable bit for bit what it was.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for any other file, a broken archive, one of a later version, or a layer that is not known.

    Example:
        >>> model = load_compact("network.rsrz")
    """
    try:
        header, values = _read_members(path)
    except BROKEN as error:
        raise _unreadable(path, error) from error
    try:
        model = keras.saving.deserialize_keras_object(header["network"], custom_objects=custom_objects, safe_mode=True)
        stores = {}
        for entry in header["variables"]:
            dtype = tf.as_dtype(entry["dtype"]).as_numpy_dtype
            pieces = {kind: values[start : start + length] for kind, (start, length) in entry["pieces"].items()}
            stores.setdefault(entry["owner"], {})[entry["name"]] = decode(pieces, dtype, tuple(entry["shape"]))
        _restore(model, stores)
    except (*BROKEN, AttributeError, ImportError) as error:
        raise _unreadable(path, error) from error
    return model


def encode(array):
    """An array as named pieces of bytes; the smallest of the three ways.

    Args:
        array: of any shape; boolean, integer or floating point, bfloat16 included.

    Returns:
        A dict with `"bits"`, or with `"mask"`, `"values"` and at times `"signs"`, or with `"dense"`.
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
    """The array that `encode` took apart.

    Args:
        pieces: dict of bytes.
        dtype, shape: of the array.

    Raises:
        ValueError: for pieces of the wrong length.
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


def _state(model):
    """Every array that makes a network what it is, as `(owner, name, array)`.

    A layer is asked for its variables as Keras asks it when it saves a model; Keras leaves out the states of the seeds,
    which come last.
    """
    if not (isinstance(model, keras.Model) and model.built):
        raise ValueError(f"`model` must be a built Keras model. Received: {type(model).__name__} {model}")
    for number, layer in enumerate(nested_layers(model)):
        if hasattr(layer, "save_assets"):
            raise ValueError(
                f"Layer `{layer.name}` keeps files beside its weights, which a compact archive cannot hold. "
                f"Received: {type(layer).__name__}"
            )
        store = {}
        layer.save_own_variables(store)
        yield from ((number, name, np.asarray(_numpy(value), order="C")) for name, value in store.items())
    yield from (("seeds", str(number), _numpy(seed)) for number, seed in enumerate(_seeds(model)))


def _restore(model, stores):
    """Put back what `_state` found, given as a dict from each owner to its arrays by name."""
    for number, layer in enumerate(nested_layers(model)):
        expected = {}
        layer.save_own_variables(expected)
        _check_same(layer.name, expected, stores.get(number, {}))
        if expected:
            layer.load_own_variables(stores[number])
    seeds = {str(number): seed for number, seed in enumerate(_seeds(model))}
    _check_same("seeds", seeds, stores.get("seeds", {}))
    for name, seed in seeds.items():
        seed.assign(stores["seeds"][name])


def _check_same(owner, expected, found):
    wanted = {name: tuple(value.shape) for name, value in expected.items()}
    received = {name: value.shape for name, value in found.items()}
    if wanted != received:
        raise ValueError(f"`{owner}` must have the variables {wanted}. Received: {received}")


def _seeds(model):
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _numpy(value):
    return keras.ops.convert_to_numpy(value)


def _without_compile(serialized):
    return {key: value for key, value in serialized.items() if key != "compile_config"}


def _read_members(path):
    """Header and values of an archive whose checksum is right."""
    with zipfile.ZipFile(io.BytesIO(Path(path).read_bytes())) as archive:
        header = json.loads(archive.read(HEADER))
        if header["format"] != FORMAT:
            raise ValueError(f"another format, {header['format']!r}")
        if header["version"] != VERSION:
            raise ValueError(f"version {header['version']!r} of the format, where {VERSION} is known")
        values = archive.read(VALUES)
    if hashlib.sha256(values).hexdigest() != header["checksum"]:
        raise ValueError("values with a wrong checksum")
    return header, values


def _unreadable(path, error):
    return ValueError(
        f"`path` must be a compact archive that this version reads. Received: {str(path)!r}: {first_line(error)}"
    )
