"""Images of the user in folders, one for each class."""

import hashlib
import os

import numpy as np
import tensorflow as tf

from rsr_tf.data.base import DataSet, Split
from rsr_tf.data.stored import StoredImages, is_kept, resized
from rsr_tf.files import expanded, is_utf8

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
"""Ends of the names of image files, in small or capital letters; other files are left alone."""
BMP_HEADERS = 1200
"""Bytes at the start of a BMP file that hold its headers and a palette of 256 colors."""
SPLITS = {"train", "validation", "test"}
"""Names of subfolders with class folders of their own; a set without validation images has two of them."""


class ImageFiles:
    """The image files of a list, as the store of `StoredImages`.

    Args:
        paths: list of paths. They are kept as bytes: a data set of a million images has a million of them.
        size: `(height, width)` to which every image is resized, or `None`.
    """

    def __init__(self, paths, size):
        self.paths = np.array([os.fsencode(path) for path in paths])
        self.size = size

    def name(self, number):
        """Return the path of an image."""
        return os.fsdecode(self.paths[number])

    def read(self, number):
        """Return an image as uint8 `(h, w, c)`, with as many channels as the file has: 1 for gray, 3 for RGB."""
        content = tf.io.read_file(self.paths[number])
        _check_palette(content.numpy()[:BMP_HEADERS])
        image = tf.io.decode_image(content, expand_animations=False).numpy()
        if image.shape[-1] not in (1, 3):
            raise ValueError(f"expected gray (1 channel) or RGB (3). Received: {image.shape[-1]} channels")
        return resized(image, self.size)


def _check_palette(start):
    """Raise `ValueError` for a BMP file with a palette of colors, whose numbers TensorFlow takes for pixels."""
    if start[:2] != b"BM" or start[28:30] != b"\x08\0":  # 8 bits for each pixel
        return
    first = 14 + int.from_bytes(start[14:18], "little")
    colors = start[first : first + 4 * (int.from_bytes(start[46:50], "little") or 256)]
    if any(colors[4 * number : 4 * number + 3] != bytes([number] * 3) for number in range(len(colors) // 4)):
        raise ValueError(f"expected a BMP without a palette of colors. Received: {len(colors) // 4} colors")


def load(directory, *, test=0.2, resize=None, cache="auto"):
    """Load images from a folder with a subfolder for each class, or with `train`, `test` and perhaps `validation`.

    Args:
        directory: path of the folder. The folders `train`, `validation` and `test` have the same class folders; class
            folders without them are split: the same share of each class is for the test, whatever the seed of a run.
        test: number in (0, 1), share of each class for the test; not used if there is a folder `test`. Defaults to 0.2.
        resize: `(height, width)` for every image, see `rsr_tf.data.stored.resized`. Defaults to `None`: all images must
            have one size.
        cache: `"memory"` decodes all images now, `"stream"` each one whenever it is needed, `"auto"` chooses by the
            size, see `rsr_tf.data.stored.is_kept`. Defaults to `"auto"`.

    Returns:
        A `DataSet` of uint8 images: the title is the name of the folder, classes are sorted by name.

    Raises:
        FileNotFoundError: if `directory` is not a folder.
        ValueError: if a class has no images, splits differ in their classes, or an image cannot be read.
    """
    path = expanded(directory or "")
    if not directory or not path.is_dir():
        found = str(directory or "")
        raise FileNotFoundError(f"`directory` must be a folder with a subfolder for each class. Received: {found!r}")
    if not 0 < test < 1:
        raise ValueError(f"`test` must be in (0, 1). Received: test={test}")
    names = _subfolders(path)
    if SPLITS.issuperset(names) and {"train", "test"}.issubset(names):
        files = {split: _class_files(path / split) for split in names}
        _check_same_classes(files, path)
    else:
        files = _with_test_images(_class_files(path), test)
    store = ImageFiles([file for split in files.values() for found in split.values() for file in found], resize)
    splits = _splits(store, files, cache)
    return DataSet(path.name, splits["train"], splits.get("validation"), splits["test"], tuple(files["train"]))


def _visible(path):
    """Return the entries of a folder whose names do not begin with a dot."""
    return [entry for entry in os.scandir(path) if not entry.name.startswith(".")]


def _subfolders(path):
    return sorted(entry.name for entry in _visible(path) if entry.is_dir())


def _class_files(path):
    """Return the sorted paths of the images of each class as a dict."""
    files = {}
    for name in _subfolders(path):
        if not is_utf8(name):
            raise ValueError(f"the class folders of {path} must have names in UTF-8. Received: {os.fsencode(name)}")
        entries = sorted(entry.name for entry in _visible(path / name) if entry.is_file())
        files[name] = [str(path / name / entry) for entry in entries if entry.lower().endswith(SUFFIXES)]
        if not files[name]:
            raise ValueError(f"the class folder {path / name} must hold PNG, JPEG or BMP files. Received: none")
    if len(files) < 2:
        raise ValueError(
            f"the folder {path} must hold a subfolder for each of two classes or more. Received: {[*files]}"
        )
    return files


def _check_same_classes(files, path):
    for split, found in files.items():
        differing = sorted(found.keys() ^ files["train"].keys())
        if differing:
            where = "train" if differing[0] in files["train"] else split
            raise ValueError(
                f"{path}: `train` and `{split}` must have the same class folders. Received: `{differing[0]}` in "
                f"`{where}` alone"
            )


def _with_test_images(files, share):
    """Take the same share of each class for the test, at least one image.

    Which ones depends on their names alone: runs of several seeds can be compared, and a file that comes or goes moves
    at most one other between training and test, so that a network is not tested on what it was trained on.
    """
    splits = {"train": {}, "test": {}}
    for name, found in files.items():
        if len(found) < 2:
            raise ValueError(f"{os.path.dirname(found[0])} must hold two images, to train and to test. Received: 1")
        count = min(len(found) - 1, max(1, round(share * len(found))))
        taken = set(sorted(found, key=_hash_of_name)[:count])
        splits["train"][name] = [file for file in found if file not in taken]
        splits["test"][name] = [file for file in found if file in taken]
    return splits


def _hash_of_name(path):
    return hashlib.sha256(os.fsencode(os.path.basename(path))).digest()


def _splits(store, files, cache):
    """Return a dict of `Split`s; `files` has the order of the store."""
    everything = StoredImages(store, np.arange(len(store.paths)))
    keep = is_kept(everything.shape, cache)
    splits, start = {}, 0
    for split, found in files.items():
        labels = np.repeat(np.arange(len(found), dtype=np.int32), [len(each) for each in found.values()])
        images = everything[start : start + len(labels)]
        splits[split] = Split(np.asarray(images) if keep else images, labels)
        start += len(labels)
    return splits
