"""Write and read a network as a compact archive, which stores pruned kernels as a bit mask and the remaining weights.

The archive is a ZIP file with two members. `header.json` contains the version of the format, the Keras config of the
network, the checksum of the other member, and a list of the variables of each layer. `values` contains the numbers:

- a boolean array as one bit per entry;
- an array with many zeros as a bit mask, its nonzero values, and the signs of its zeros if some are negative;
- any other array unchanged.

Numbers are stored by byte plane (all first bytes, all second bytes, ...), which compresses better. A piece of bytes
that occurs again, such as a mask that equals the zeros of its kernel, is stored once.
"""

import hashlib
import json
import zipfile
from pathlib import Path
from types import FunctionType

import keras
import numpy as np

from rsr_tf.errors import first_line
from rsr_tf.export.compact_header import FORMAT, HEADER, VALUES, VERSION, read_header
from rsr_tf.files import replacing
from rsr_tf.keras_internals import deferred_variables, nested_layers
from rsr_tf.layers.registry import live_config, tf_variables, without_initial_arrays

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of the members, constant so that equal networks give equal files."""


def save_compact(model, path):
    """Write a network as a compact archive, lossless: weights, noise scales, masks and the states of all seeds.

    The optimizer and the other settings of `compile` are not saved, nor are arrays in initializers (`Constant`).

    Args:
        model: a built Keras model, noisy or stock, whose layers Keras can serialize.
        path: string or path of the file to write, by convention `*.rsrz`. An existing file is replaced atomically.

    Raises:
        ValueError: for a model that is not built, a layer with files in addition to its weights (a vocabulary) or with
            a `tf.Variable`, or a Python lambda, such as that of a `Lambda` layer, which `load_compact` would refuse to
            run; or for configs of layers with so many numbers in them that `load_compact` would refuse to read them.

    Example:
        >>> model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(100)])
        >>> gammas = rsr_tf.prune(model, sparsity=0.9)
        >>> rsr_tf.save_compact(rsr_tf.strip(model), "network.rsrz")
        >>> loaded = rsr_tf.load_compact("network.rsrz")
        >>> rsr_tf.sparsity(loaded)
        0.9
    """
    entries, values, seen = [], bytearray(), {}

    def place(piece):
        """Store a piece of bytes once, and return where it stands in `values`, as `[start, length]`."""
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
    _check_no_lambda(model)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "checksum": hashlib.sha256(values).hexdigest(),
        "variables": entries,
        "network": without_initial_arrays(_without_compile(keras.saving.serialize_keras_object(model))),
    }
    members = {HEADER: json.dumps(header, separators=(",", ":")).encode(), VALUES: values}
    with replacing(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content, zipfile.ZIP_DEFLATED)
        _check_readable(temporary)


def load_compact(path, *, custom_objects=None):
    """Load a network from a compact archive.

    No code of the archive is run: layers are looked up by name, and layers that contain code (`Lambda`) are rejected.
    Nothing is unpacked before the sizes in the header agree with the network and with the file.

    Args:
        path: string or path of a file that `save_compact` wrote.
        custom_objects: dict from name to class, for layers that are not registered with Keras. Defaults to `None`.

    Returns:
        A Keras model of the same class, not compiled, with bit-identical variables.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: for a file of another kind, a corrupt archive, one of a later version, or an unknown layer.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> rsr_tf.save_compact(model, "network.rsrz")
        >>> loaded = rsr_tf.load_compact("network.rsrz")
        >>> all(np.array_equal(a, b) for a, b in zip(model.get_weights(), loaded.get_weights()))
        True
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"`path` must be an existing file. Received: {str(path)!r}")
    try:
        with zipfile.ZipFile(path) as archive:
            header = read_header(archive)
            with deferred_variables():
                model = keras.saving.deserialize_keras_object(
                    header.network, custom_objects=custom_objects, safe_mode=True
                )
                if not isinstance(model, keras.Model):
                    raise ValueError(f"its network is a {type(model).__name__}")
                _check_variables(model, header.variables)
            values = archive.read(VALUES)
        if hashlib.sha256(values).hexdigest() != header.checksum:
            raise ValueError("wrong checksum of the values")
        stores = {}
        for entry in header.variables:
            pieces = {kind: values[start : start + length] for kind, (start, length) in entry.pieces.items()}
            stores.setdefault(entry.owner, {})[entry.name] = decode(pieces, entry.numpy_dtype, tuple(entry.shape))
        _restore(model, stores)
    except Exception as error:  # zipfile, zlib, Keras and TensorFlow raise many kinds for a corrupt archive
        raise ValueError(
            f"`path` must be a compact archive of a supported version. Received: {str(path)!r}: {first_line(error)}"
        ) from error
    return model


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


def _state(model):
    """Yield the state of a model as `(owner, name, array)`: the variables of each layer, then the states of the seeds.

    The variables are those that Keras saves (`save_own_variables`); Keras does not save the states of the seeds.
    """
    if not (isinstance(model, keras.Model) and model.built):
        raise ValueError(f"`model` must be a built Keras model. Received: {type(model).__name__} {model}")
    for number, layer in enumerate(nested_layers(model)):
        if hasattr(layer, "save_assets"):
            raise ValueError(
                f"Layer `{layer.name}` has files in addition to its weights, which a compact archive cannot hold. "
                f"Received: {type(layer).__name__}"
            )
        if tf_variables(layer):
            raise ValueError(
                f"Layer `{layer.name}` must have its state in weights of Keras (`add_weight`); files hold no others. "
                f"Received: {len(tf_variables(layer))} of type `tf.Variable`"
            )
        store = {}
        layer.save_own_variables(store)
        yield from ((number, name, np.asarray(_numpy(value), order="C")) for name, value in store.items())
    yield from (("seeds", str(number), _numpy(seed)) for number, seed in enumerate(_seeds(model)))


def _restore(model, stores):
    """Assign the state that `_state` yields, given as a dict from owner to a dict from name to array."""
    for number, layer in enumerate(nested_layers(model)):
        if number in stores:
            layer.load_own_variables(stores[number])
    for number, seed in enumerate(_seeds(model)):
        seed.assign(stores["seeds"][str(number)])


def _check_variables(model, variables):
    """Compare the variables of a header with those of the network, which may have no memory yet."""
    found = {}
    for entry in variables:
        store = found.setdefault(entry.owner, {})
        if entry.name in store:
            raise ValueError(f"the variable {entry.name} of {entry.owner} is listed twice")
        store[entry.name] = tuple(entry.shape)
        entry.check_pieces()
    for number, layer in enumerate(nested_layers(model)):
        expected = {}
        layer.save_own_variables(expected)
        _check_same(layer.name, expected, found.pop(number, {}))
    _check_same("seeds", {str(number): seed for number, seed in enumerate(_seeds(model))}, found.pop("seeds", {}))
    if found:
        raise ValueError(f"there is no layer {next(iter(found))}")


def _check_same(owner, expected, found):
    shapes = {name: tuple(value.shape) for name, value in expected.items()}
    if shapes != found:
        raise ValueError(f"`{owner}` must have the variables {shapes}. Received: {found}")


def _seeds(model):
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _numpy(value):
    return keras.ops.convert_to_numpy(value)


def _check_readable(path):
    """Raise `ValueError` if an archive is too large for `load_compact`."""
    with zipfile.ZipFile(path) as archive:
        try:
            read_header(archive)
        except ValueError as error:
            raise ValueError(f"`model` must fit into a compact archive that `load_compact` reads: {error}") from error


def _check_no_lambda(model):
    for layer in nested_layers(model):
        values = {} if isinstance(layer, keras.Model) else live_config(layer)
        if any(isinstance(value, FunctionType) and value.__name__ == "<lambda>" for value in values.values()):
            raise ValueError(
                f"Layer `{layer.name}` has a Python lambda, which a compact archive cannot hold: `load_compact` runs "
                "no code of a file. Use a function that is registered with "
                f"`keras.saving.register_keras_serializable`. Received: {type(layer).__name__}"
            )


def _without_compile(serialized):
    return {key: value for key, value in serialized.items() if key != "compile_config"}
