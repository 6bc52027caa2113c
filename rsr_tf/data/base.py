"""Named data sets as arrays, and arrays as `tf.data` pipelines of (float32 pixels in [0,1], int32 labels).

A training batch is a pure function of the seed and the number of the step, so a run that is stopped and started again
sees the batches that it would have seen.
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from rsr_tf.data import decoded_cache
from rsr_tf.errors import first_line, require

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
JPEG_MARK = b"\xff\xd8"
"""First bytes of a JPEG file: a copy that is not lossless says so in its title, beside every number from it."""
TFDS_FOLDER = "~/tensorflow_datasets"
"""Where TFDS keeps what it downloads, unless it is told otherwise."""
MAX_CLASSES = 100_000
"""A label beyond is a mistake; it would make a network of that many logits."""
CROP_PADDING = 4
"""Pixels of zero padding round an image before it is cropped (He et al. 2016)."""


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Args:
        images: array `(n, h, w, c)`, uint8 or float32 in [0,1].
        labels: integers `(n,)`.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def first(self, count):
        """The first `count` examples; all of them for `None`."""
        return Split(self.images[:count], self.labels[:count])

    def pixels(self):
        """The images as float32 `(n, h, w, c)` in [0,1]."""
        return as_pixels(self.images).numpy()


@dataclass(frozen=True)
class DataSet:
    """A data set, split.

    Args:
        title: what it is called beside a number.
        train, validation, test: a `Split` each.
        class_names: tuple of strings, by label.
    """

    title: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple

    @property
    def image_shape(self):
        return self.train.images.shape[1:]

    def pixel_statistics(self):
        """Mean and standard deviation of the training pixels for each channel, as lists of floats."""
        channels = [channel_statistics(channel) for channel in np.moveaxis(self.train.images, -1, 0)]
        return [mean for mean, _ in channels], [max(std, 1e-3) for _, std in channels]


def channel_statistics(pixels):
    """Mean and standard deviation of some pixels.

    Args:
        pixels: array of any shape, uint8 or float in [0,1].

    Returns:
        Two floats, in the unit of [0,1].
    """
    if pixels.dtype != np.uint8:
        return float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
    counts = np.bincount(pixels.ravel(), minlength=256)  # much faster than float64 copies of a whole data set
    values = np.arange(256) / 255
    mean = np.average(values, weights=counts)
    return float(mean), float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))


def load(name, *, directory=None, validation=0.1, seed=0):
    """A data set by name.

    Args:
        name: `"digits"` (scikit-learn's, no download), `"cifar10"` (TFDS), or `"npz"`, a file of your own.
        directory: for `"cifar10"`, a folder with a copy prepared by TFDS; without it TFDS downloads. For `"npz"`, the
            path of a file with arrays `x_train`, `y_train`, `x_test`, `y_test`: images `(n, h, w, c)`, uint8 or float
            in [0,1].
        validation: share of the training images that is held out, in (0, 1). Defaults to 0.1.
        seed: integer that picks the held-out images. Defaults to 0.

    Returns:
        A `DataSet`.

    Raises:
        ValueError: for an unknown `name`, a `validation` outside (0, 1), or arrays of the wrong kind.
        FileNotFoundError: for data that is not there; the message says how to get it.
    """
    loaders = {"digits": _digits, "cifar10": _cifar10, "npz": _npz}
    if name not in loaders:
        raise ValueError(f"`name` must be one of {tuple(loaders)}. Received: name={name!r}")
    if not 0 < validation < 1:
        raise ValueError(f"`validation` must be in (0, 1). Received: validation={validation}")
    title, train, test, class_names = loaders[name](directory)
    order = np.random.default_rng(seed).permutation(len(train))
    held_out = max(1, round(validation * len(train)))
    validation_split = Split(train.images[order[:held_out]], train.labels[order[:held_out]])
    train_split = Split(train.images[order[held_out:]], train.labels[order[held_out:]])
    return DataSet(title, train_split, validation_split, test, tuple(class_names))


def _digits(directory):
    """1,797 images of 8x8, a quarter of each class for the test; the data set itself names no test split."""
    train_test_split = require("sklearn.model_selection", extra="data").train_test_split
    digits = require("sklearn.datasets", extra="data").load_digits()
    images = (digits.images[..., np.newaxis] / 16).astype(np.float32)
    labels = digits.target.astype(np.int32)
    x_train, x_test, y_train, y_test = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    return (
        "scikit-learn digits",
        Split(x_train, y_train),
        Split(x_test, y_test),
        [str(name) for name in digits.target_names],
    )


def _cifar10(directory):
    if directory and not (Path(directory).expanduser() / "cifar10").is_dir():
        raise FileNotFoundError(
            f"`directory` must hold a folder `cifar10` prepared by TFDS. Received: {str(directory)!r}. "
            "To get one: "
            f"python -c \"import tensorflow_datasets as tfds; tfds.load('cifar10', data_dir='{directory}')\""
        )
    prepared = Path(directory or os.environ.get("TFDS_DATA_DIR") or TFDS_FOLDER).expanduser() / "cifar10"
    arrays = decoded_cache.read(prepared)
    if arrays is None:
        arrays = _decode_cifar10(directory)
        decoded_cache.write(prepared, arrays)
    train, test = (Split(arrays[f"{name}_images"], arrays[f"{name}_labels"]) for name in ("train", "test"))
    return "CIFAR-10 (JPEG copy)" if arrays["jpeg"] else "CIFAR-10", train, test, CIFAR10_CLASSES


def _decode_cifar10(directory):
    """All images and labels as a dict of arrays, and whether the images were stored with loss."""
    tfds = require("tensorflow_datasets", extra="data")
    try:
        options = {"data_dir": directory or None, "download": not directory}
        splits = tfds.load("cifar10", **options, batch_size=-1)
        encoded = tfds.load("cifar10", **options, split="test[:1]", decoders={"image": tfds.decode.SkipDecoding()})
        jpeg = next(iter(encoded))["image"].numpy().startswith(JPEG_MARK)
    except Exception as error:  # TFDS raises many kinds: no network, no disk, a broken copy
        raise FileNotFoundError(
            "CIFAR-10 could not be loaded by TFDS; set `directory` to a prepared copy, or see to the network. "
            f"Received: {type(error).__name__}: {first_line(error)}"
        ) from error
    arrays = {"jpeg": np.array(jpeg)}
    for name in ("train", "test"):
        arrays[f"{name}_images"] = splits[name]["image"].numpy()
        arrays[f"{name}_labels"] = splits[name]["label"].numpy().astype(np.int32)
    return arrays


def _npz(directory):
    path = Path(directory or "").expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"`directory` must be the path of an .npz file with x_train, y_train, x_test, y_test. "
            f"Received: {str(directory)!r}"
        )
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            x_train, y_train, x_test, y_test = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    except (KeyError, ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`{path}` must be an .npz file with the arrays x_train, y_train, x_test, y_test. "
            f"Received: {first_line(error)}"
        ) from error
    train, test = (_checked(*pair, path) for pair in ((x_train, y_train), (x_test, y_test)))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"`{path}` must hold training and test images of one shape. "
            f"Received: {train.images.shape[1:]} and {test.images.shape[1:]}"
        )
    return path.stem, train, test, [str(index) for index in range(int(train.labels.max()) + 1)]


def _checked(images, labels, path):
    if not (images.ndim == 4 and labels.ndim == 1 and len(images) == len(labels) > 0):
        raise ValueError(
            f"`{path}` must hold images (n, h, w, c) and as many labels (n,), at least one. "
            f"Received: images {images.shape} and labels {labels.shape}"
        )
    if not (images.dtype == np.uint8 or images.dtype.kind == "f") or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`{path}` must hold images of uint8 or float and labels of integers. "
            f"Received: {images.dtype} and {labels.dtype}"
        )
    if not (labels.min() >= 0 and labels.max() < MAX_CLASSES):
        raise ValueError(
            f"`{path}`: labels must be in [0, {MAX_CLASSES}). Received: labels from {labels.min()} to {labels.max()}"
        )
    return Split(images if images.dtype == np.uint8 else images.astype(np.float32), labels.astype(np.int32))


def as_pixels(images):
    """Images as float32 in [0,1].

    Args:
        images: array or tensor; uint8 is divided by 255, float is taken as it is.

    Returns:
        A float32 tensor of the same shape.
    """
    return tf.image.convert_image_dtype(images, tf.float32)


def training_batches(split, *, batch_size, seed, crop_and_flip=False, start_step=0):
    """An endless stream of training batches of one fixed shape; every epoch is a new permutation of the images.

    An epoch has `steps_per_epoch(split, batch_size)` steps; the few images that do not fill a last batch are left out,
    others in every epoch.

    Args:
        split: the `Split` to draw from.
        batch_size: images in a batch.
        seed: integer; batch t is a function of `seed` and t alone.
        crop_and_flip: random crop of the zero-padded image, and mirror image in half of the cases. Defaults to `False`.
        start_step: number of the first batch. Defaults to 0.

    Returns:
        A `tf.data.Dataset` of float32 `(batch_size, h, w, c)` and int32 `(batch_size,)`.

    Raises:
        ValueError: for a `batch_size` larger than the split.
    """
    steps = steps_per_epoch(split, batch_size)
    images, labels = tf.constant(split.images), tf.constant(split.labels, tf.int32)

    def batch(step):
        epoch, position = step // steps, step % steps
        places = tf.range(batch_size, dtype=tf.int64) + position * batch_size
        shuffle_seed = tf.cast([seed, epoch], tf.int64)
        chosen = tf.random.experimental.index_shuffle(places, shuffle_seed, tf.constant(len(split) - 1, tf.int64))
        x = tf.gather(images, chosen)
        if crop_and_flip:
            x = _crop_and_flip(x, tf.cast([seed, step], tf.int64))
        return as_pixels(x), tf.gather(labels, chosen)

    numbers = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    return numbers.map(batch, num_parallel_calls=2, deterministic=True).prefetch(4)


def steps_per_epoch(split, batch_size):
    """Number of full batches in an epoch.

    Args:
        split: a `Split`.
        batch_size: images in a batch.

    Returns:
        An integer of at least 1.

    Raises:
        ValueError: for a `batch_size` larger than the split.
    """
    if batch_size > len(split):
        raise ValueError(f"`batch_size` must be at most the {len(split)} training images. Received: {batch_size}")
    return len(split) // batch_size


def batches(split, *, batch_size):
    """A split in order, for validation.

    Args:
        split: a `Split`.
        batch_size: images in a batch; the last one may have fewer.

    Returns:
        A `tf.data.Dataset` of float32 `(n, h, w, c)` in [0,1] and int32 `(n,)`.
    """
    pairs = tf.data.Dataset.from_tensor_slices((split.images, split.labels.astype(np.int32))).batch(batch_size)
    return pairs.map(lambda x, y: (as_pixels(x), y)).prefetch(2)


def _crop_and_flip(images, seed):
    """The augmentation of He et al. 2016, one draw for each image."""
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    offsets = tf.random.stateless_uniform((2, count), seed, 0, 2 * CROP_PADDING + 1, tf.int32)
    flips = tf.random.stateless_uniform((count, 1, 1, 1), seed + tf.constant([1, 0], tf.int64), 0, 2, tf.int32)
    padding = [CROP_PADDING, CROP_PADDING]
    padded = tf.pad(images, [[0, 0], padding, padding, [0, 0]])
    rows = offsets[0][:, tf.newaxis] + tf.range(height)
    columns = offsets[1][:, tf.newaxis] + tf.range(width)
    cropped = tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    return tf.where(flips == 1, tf.reverse(cropped, [2]), cropped)
