"""Folders of image files, written on the spot."""

import numpy as np
import tensorflow as tf


def write_image(path, image):
    """Write a uint8 image `(h, w, c)` in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = tf.io.encode_jpeg if path.suffix.lower() in (".jpg", ".jpeg") else tf.io.encode_png
    path.write_bytes(encode(image).numpy())


def random_images(count, shape=(8, 8, 1), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype("uint8")


def write_classes(folder, counts, shape=(8, 8, 1), seed=0):
    """Write a folder of PNG files for each class; `counts` is a dict from class to number of images."""
    images = iter(random_images(sum(counts.values()), shape, seed))
    for name, count in counts.items():
        for number in range(count):
            write_image(folder / name / f"{number:03d}.png", next(images))
    return folder
