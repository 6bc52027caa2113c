"""Any classification data set of TensorFlow Datasets (TFDS) that has features `image` and `label`."""

import struct
import threading

import numpy as np
import tensorflow as tf

from rsr_tf.data import decoded_cache
from rsr_tf.data.base import DataSet, Split
from rsr_tf.data.stored import StoredImages, is_kept, resized
from rsr_tf.errors import first_line, require
from rsr_tf.files import expanded

SPLITS = ("train", "validation", "test")
RECORD_HEADER, RECORD_FOOTER = struct.Struct("<QI"), 4
"""Of a record in a TFRecord file: its length and a checksum before it, the bytes of a checksum after it."""


class TFRecords:
    """The records of TFRecord files by number; TFDS itself has random access to other formats alone.

    Args:
        paths: list of paths, in the order of the records.

    Raises:
        ValueError: if a file ends within a record.
    """

    def __init__(self, paths):
        self.paths = [str(path) for path in paths]
        places = [place for index, path in enumerate(self.paths) for place in _places(index, path)]
        self.places = np.array(places, np.int64).reshape(-1, 3)

    def __len__(self):
        return len(self.places)

    def __getitem__(self, number):
        index, start, length = self.places[number].tolist()
        with open(self.paths[index], "rb") as file:
            file.seek(start)
            return file.read(length)


def _places(index, path):
    """Return the numbers of the file, the first byte and the length of each record of a file."""
    with open(path, "rb") as file:
        end = file.seek(0, 2)
        start = 0
        while start < end:
            file.seek(start)
            header = file.read(RECORD_HEADER.size)
            length = RECORD_HEADER.unpack(header)[0] if len(header) == RECORD_HEADER.size else end
            first, start = start + RECORD_HEADER.size, start + RECORD_HEADER.size + length + RECORD_FOOTER
            if start > end:
                raise ValueError(f"{path} ends within a record")
            yield index, first, length


class Examples:
    """The examples of all splits of a prepared data set by number, as the store of `StoredImages`.

    Args:
        builder: a prepared builder of TFDS.
        splits: list of its splits, whose examples are numbered one after the other.
        size: `(height, width)` to which every image is resized, or `None`.
    """

    def __init__(self, builder, splits, size):
        decode = require("tensorflow_datasets", extra="data").decode
        self.features, self.size, self.splits = builder.info.features, size, splits
        self.undecoded = {"image": decode.SkipDecoding()}
        self.records = [_records(builder, split) for split in splits]
        self.starts = np.cumsum([0, *map(len, self.records)])
        self.lock = threading.Lock()  # readers of TFDS keep a position

    def name(self, number):
        """Return split and number within it."""
        split, place = self._place(number)
        return f"{place} of the {self.splits[split]} split"

    def read(self, number):
        """Return an image as uint8 `(h, w, c)`."""
        content, channels = self._example(number)["image"], self.features["image"].shape[-1] or 0
        return resized(tf.io.decode_image(content, channels, expand_animations=False).numpy(), self.size)

    def labels(self, first, last):
        """Return the labels of a range of examples as an int32 array."""
        return np.array([self._example(number)["label"] for number in range(first, last)], np.int32)

    def _place(self, number):
        split = int(np.searchsorted(self.starts, number, side="right")) - 1
        return split, int(number - self.starts[split])

    def _example(self, number):
        split, place = self._place(number)
        with self.lock:
            record = self.records[split][place]
        if isinstance(record, bytes):
            return self.features.deserialize_example_np(record, decoders=self.undecoded)
        return record


def load(name, directory=None, *, resize=None, cache="auto"):
    """Load a classification data set of TFDS, from a prepared copy if there is one.

    Args:
        name: string, its name in TFDS, such as `"mnist"` or `"imagenette/160px-v2"`.
        directory: path of a folder with a prepared copy. Defaults to `None`: the folder of TFDS, into which the data
            set is downloaded unless it is there.
        resize, cache: as for `rsr_tf.data.folder.load`.

    Returns:
        A `DataSet` of uint8 images with the class names of TFDS, and its validation images if it has a split of that
        name.

    Raises:
        FileNotFoundError: if there is no prepared copy in `directory`, or TFDS cannot prepare one.
        ValueError: if the data set has no uint8 image and class label, or no split `train` or `test`.
    """
    builder = _prepared_builder(name, directory)
    splits = [split for split in SPLITS if split in builder.info.splits]
    _check(builder.info, name)
    try:
        store = Examples(builder, splits, resize)
        labels = _labels(store, builder.data_path)
    except Exception as error:  # TFDS raises many kinds for a broken copy
        received = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"{name} could not be read from {builder.data_path}. Received: {received}") from error
    everything = StoredImages(store, np.arange(store.starts[-1]))
    images = {split: everything[first:last] for split, first, last in _ranges(store)}
    if is_kept(everything.shape, cache):
        images = _decoded(images, builder.data_path, everything.image_shape)
    found = {split: Split(images[split], labels[split]) for split in splits}
    names = tuple(builder.info.features["label"].names)
    return DataSet(builder.info.full_name, found["train"], found.get("validation"), found["test"], names)


def _prepared_builder(name, directory):
    tfds = require("tensorflow_datasets", extra="data")
    place = str(expanded(directory)) if directory else None
    try:
        builder = tfds.builder(name, data_dir=place)
        if not builder.is_prepared() and not directory:
            builder.download_and_prepare()
    except Exception as error:  # TFDS raises many kinds: no such name, no network, no disk, a broken copy
        raise FileNotFoundError(
            f"{name} could not be loaded by TFDS; check the name, set `directory` to a folder with a prepared copy, or "
            f"check the connection. Received: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"`directory` must hold a copy of {name} prepared by TFDS. Received: {str(directory)!r}. To get one: "
            f"python -c \"import tensorflow_datasets as tfds; tfds.load('{name}', data_dir='{directory}')\""
        )
    return builder


def _check(info, name):
    """Raise `ValueError` for a data set without images, class labels or the splits of both."""
    features = require("tensorflow_datasets", extra="data").features
    found = dict(info.features.items()) if isinstance(info.features, features.FeaturesDict) else {}
    image, label = found.get("image"), found.get("label")
    is_image = isinstance(image, features.Image) and np.dtype(image.np_dtype) == np.uint8
    if not (is_image and isinstance(label, features.ClassLabel) and label.names):
        raise ValueError(
            f"{name} must have the features `image` of uint8 and `label` of named classes. Received: {[*found]}"
        )
    if not {"train", "test"}.issubset(info.splits):
        raise ValueError(f"{name} must have the splits `train` and `test`. Received: {[*info.splits]}")


def _records(builder, split):
    """Return the records of a split by number: bytes, or examples whose image is not decoded."""
    tfds = require("tensorflow_datasets", extra="data")
    if "tfrecord" in str(builder.info.file_format).lower():
        return TFRecords(builder.info.splits[split].filepaths)
    return builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})


def _ranges(store):
    """Return name, first number and last number + 1 of each split."""
    return zip(store.splits, store.starts, store.starts[1:], strict=False)


def _labels(store, path):
    """Return the labels of each split as a dict; all records are read for them, once for each copy."""
    labels = decoded_cache.read(path, dict.fromkeys(store.splits, ("i", (None,))), variant="-labels")
    if labels is None:
        labels = {split: store.labels(first, last) for split, first, last in _ranges(store)}
        decoded_cache.write(path, labels, variant="-labels")
    return labels


def _decoded(images, path, image_shape):
    """Return the images of each split as arrays, which are decoded once for each copy and size."""
    variant = "-" + "x".join(map(str, image_shape))
    arrays = decoded_cache.read(path, {split: ("u", each.shape) for split, each in images.items()}, variant=variant)
    if arrays is None:
        arrays = {split: np.asarray(each) for split, each in images.items()}
        decoded_cache.write(path, arrays, variant=variant)
    return arrays
