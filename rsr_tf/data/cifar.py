"""CIFAR from TensorFlow Datasets (TFDS). To add a relative of CIFAR-10, add a row to `DATA_SETS`."""

import os

import numpy as np

from rsr_tf.data import decoded_cache
from rsr_tf.data.base import DataSet, Split
from rsr_tf.errors import first_line, require
from rsr_tf.files import expanded

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DATA_SETS = {"cifar10": ("CIFAR-10", CIFAR10_CLASSES)}
"""Name in TFDS -> title and class names."""
CACHED = {
    "jpeg": ("b", ()),
    **{f"{split}_images": ("u", (None, None, None, 3)) for split in ("train", "test")},
    **{f"{split}_labels": ("i", (None,)) for split in ("train", "test")},
}
"""Arrays of the cache, see `rsr_tf.files.arrays.check_headers`."""
JPEG_MARK = b"\xff\xd8"
"""First bytes of a JPEG file. Images stored as JPEG are not the originals; the title of the data set states it."""
TFDS_FOLDER = "~/tensorflow_datasets"
"""Default folder of TFDS for its downloads."""


def load(name, directory=None):
    """Load a data set through TFDS, or its decoded images from the cache of an earlier call.

    Args:
        name: string, a key of `DATA_SETS`.
        directory: path of a folder with a copy prepared by TFDS. Defaults to `None`, where TFDS downloads.

    Returns:
        A `DataSet` without validation images; images are uint8.

    Raises:
        FileNotFoundError: if `directory` has no prepared copy, or TFDS cannot load it.
    """
    title, class_names = DATA_SETS[name]
    if directory and not (expanded(directory) / name).is_dir():
        raise FileNotFoundError(
            f"`directory` must hold a folder `{name}` prepared by TFDS. Received: {str(directory)!r}. "
            "To get one: "
            f"python -c \"import tensorflow_datasets as tfds; tfds.load('{name}', data_dir='{directory}')\""
        )
    prepared = expanded(directory or os.environ.get("TFDS_DATA_DIR") or TFDS_FOLDER) / name
    arrays = decoded_cache.read(prepared, CACHED)
    if arrays is None:
        arrays = _decode(name, title, directory)
        decoded_cache.write(prepared, arrays)
    train, test = (Split(arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in ("train", "test"))
    return DataSet(f"{title} (JPEG copy)" if arrays["jpeg"] else title, train, None, test, class_names)


def _decode(name, title, directory):
    """Return all images and labels, and whether the images were stored as JPEG, as a dict of arrays."""
    tfds = require("tensorflow_datasets", extra="data")
    try:
        options = {"data_dir": directory or None, "download": not directory}
        splits = tfds.load(name, **options, batch_size=-1)
        encoded = tfds.load(name, **options, split="test[:1]", decoders={"image": tfds.decode.SkipDecoding()})
        jpeg = next(iter(encoded))["image"].numpy().startswith(JPEG_MARK)
    except Exception as error:  # TFDS raises many kinds: no network, no disk, a broken copy
        raise FileNotFoundError(
            f"{title} could not be loaded by TFDS; set `directory` to a prepared copy, or check the connection. "
            f"Received: {type(error).__name__}: {first_line(error)}"
        ) from error
    arrays = {"jpeg": np.array(jpeg)}
    for split in ("train", "test"):
        arrays[f"{split}_images"] = splits[split]["image"].numpy()
        arrays[f"{split}_labels"] = splits[split]["label"].numpy().astype(np.int32)
    return arrays
