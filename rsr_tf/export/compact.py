"""Write and read a network as a compact archive, which stores pruned kernels as a bit mask and the remaining weights.

The archive is a ZIP file with two members. `header.json` contains the version of the format, the Keras config of the
network, the checksum of the other member, and a list of the variables of each layer. `values` contains the numbers:

- a boolean array as one bit per entry;
- an array with many zeros as a bit mask, its nonzero values, and the signs of its zeros if some are negative;
- any other array unchanged.

Numbers are stored by byte plane (all first bytes, all second bytes, ...), which compresses better. A piece of bytes
that occurs again, such as a mask that equals the zeros of its kernel, is stored once.
"""

import copy
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
from rsr_tf.export.encoding import decode, encode
from rsr_tf.files import replacing
from rsr_tf.keras_internals import nested_layers

FORMAT = "rsr_tf compact archive"
VERSION = 1
HEADER, VALUES = "header.json", "values"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of the members, constant so that equal networks give equal files."""
HEADER_BYTES = 2**25
"""Most bytes of a header that are read; that of ResNet-18 has 0.1 % of them."""
CORRUPT_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    LookupError,
    TypeError,
    ValueError,
    EOFError,
    OverflowError,
    RuntimeError,  # encrypted, or nested too deep
    MemoryError,
    tf.errors.OpError,  # out of memory, too
)
"""Errors that the modules used here raise for a corrupt archive."""


def save_compact(model, path):
    """Write a network as a compact archive, lossless: weights, noise scales, masks and the states of all seeds.

    The optimizer and the other settings of `compile` are not saved.

    Args:
        model: a built Keras model, noisy or stock, whose layers Keras can serialize.
        path: string or path of the file to write, by convention `*.rsrz`. An existing file is replaced atomically.

    Raises:
        ValueError: for a model that is not built, or a layer with files in addition to its weights (a vocabulary).

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
    network = keras.saving.serialize_keras_object(model)
    network.pop("compile_config", None)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "checksum": hashlib.sha256(values).hexdigest(),
        "variables": entries,
        "network": network,
    }
    members = {HEADER: json.dumps(header, separators=(",", ":")).encode(), VALUES: values}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content, zipfile.ZIP_DEFLATED)


def load_compact(path, *, custom_objects=None):
    """Load a network from a compact archive.

    No code of the archive is run: layers are looked up by name, and layers that contain code (`Lambda`) are rejected.
    The shapes that it lists are compared with those of the network before either takes memory.

    Args:
        path: string or path of a file that `save_compact` wrote.
        custom_objects: dict from name to class, for layers that are not registered with Keras. Defaults to `None`.

    Returns:
        A Keras model of the same class, not compiled, with bit-identical variables.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: for a file of another kind, a corrupt archive, a later version, an unknown or too large layer.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> rsr_tf.save_compact(model, "network.rsrz")
        >>> loaded = rsr_tf.load_compact("network.rsrz")
        >>> all(np.array_equal(a, b) for a, b in zip(model.get_weights(), loaded.get_weights()))
        True
    """
    content = io.BytesIO(Path(path).read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            header = _read_header(archive)
            entries = header["variables"]
            model = _build(header["network"], _listed_shapes(entries), custom_objects)
            _restore(model, _decoded(entries, _read_values(archive, entries, header["checksum"])))
    except (*CORRUPT_ARCHIVE_ERRORS, AttributeError, ImportError) as error:
        raise ValueError(
            f"`path` must be a compact archive of a supported version. Received: {str(path)!r}: {first_line(error)}"
        ) from error
    return model


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
        for name, value in _variables(layer).items():
            yield number, name, np.asarray(_numpy(value), order="C")
    yield from (("seeds", str(number), _numpy(seed)) for number, seed in enumerate(_seeds(model)))


def _build(network, listed, custom_objects):
    """Return the network of a header, with new weights, after comparing its variables with the listed shapes.

    The comparison is made in a TensorFlow graph first, where variables take no memory, however large.
    """

    def build():
        config = copy.deepcopy(network)  # Keras changes it
        return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects, safe_mode=True)

    try:
        with tf.Graph().as_default():
            shapes = _shapes(build())
    except Exception:  # a broken network, which fails below too, or a layer that cannot be built in a graph
        shapes = None
    if shapes is not None:
        _check_shapes(shapes, listed)
    model = build()
    _check_shapes(_shapes(model), listed)
    return model


def _shapes(model):
    """Return what `_state` would yield, as a dict from owner to its name and a dict from name of variable to shape."""
    stores = {number: (layer.name, _variables(layer)) for number, layer in enumerate(nested_layers(model))}
    stores["seeds"] = "seeds", {str(number): seed for number, seed in enumerate(_seeds(model))}
    return {
        owner: (name, {key: tuple(variable.shape) for key, variable in store.items()})
        for owner, (name, store) in stores.items()
    }


def _check_shapes(shapes, listed):
    if unknown := [owner for owner in listed if owner not in shapes]:
        raise ValueError(f"the network has no layers {unknown}")
    for owner, (name, expected) in shapes.items():
        received = listed.get(owner, {})
        if received != expected:
            raise ValueError(f"`{name}` must have the variables {expected}. Received: {received}")


def _listed_shapes(entries):
    """Return the shapes of a header's entries, as a dict from owner to a dict from name to shape."""
    listed = {}
    for entry in entries:
        shapes = listed.setdefault(entry["owner"], {})
        if entry["name"] in shapes:
            raise ValueError(f"the variable {entry['name']!r} of {entry['owner']!r} is listed twice")
        shapes[entry["name"]] = tuple(entry["shape"])
    return listed


def _decoded(entries, values):
    """Return the arrays of a header's entries, as a dict from owner to a dict from name to array."""
    stores = {}
    for entry in entries:
        dtype = tf.as_dtype(entry["dtype"]).as_numpy_dtype
        pieces = {kind: values[start : start + length] for kind, (start, length) in entry["pieces"].items()}
        stores.setdefault(entry["owner"], {})[entry["name"]] = decode(pieces, dtype, tuple(entry["shape"]))
    return stores


def _restore(model, stores):
    """Assign the state that `_state` yields, given as `_decoded` returns it."""
    for number, layer in enumerate(nested_layers(model)):
        if number in stores:
            layer.load_own_variables(stores[number])
    for number, seed in enumerate(_seeds(model)):
        seed.assign(stores["seeds"][str(number)])


def _variables(layer):
    store = {}
    layer.save_own_variables(store)
    return store


def _seeds(model):
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _numpy(value):
    return keras.ops.convert_to_numpy(value)


def _read_header(archive):
    """Return the header of an archive, after checking its size, format and version."""
    header = json.loads(_read(archive, HEADER, HEADER_BYTES))
    if header["format"] != FORMAT:
        raise ValueError(f"unknown format {header['format']!r}")
    if header["version"] != VERSION:
        raise ValueError(f"format version {header['version']!r} is not supported, only {VERSION}")
    return header


def _read_values(archive, entries, checksum):
    """Return the values of an archive, after checking their size and checksum; no encoding is larger than the array."""
    limit = sum(int(np.prod(entry["shape"])) * tf.as_dtype(entry["dtype"]).size for entry in entries)
    values = _read(archive, VALUES, limit)
    if hashlib.sha256(values).hexdigest() != checksum:
        raise ValueError("wrong checksum of the values")
    return values


def _read(archive, name, limit):
    """Return a member of an archive, after checking the size to which it is unpacked."""
    size = archive.getinfo(name).file_size  # no more is unpacked
    if size > limit:
        raise ValueError(f"{name!r} must have at most {limit} bytes. Received: {size} bytes")
    return archive.read(name)
