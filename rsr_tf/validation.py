"""What every evaluation asks of its test images, so that a mistake is told before it looks like robustness."""

import zlib

import numpy as np


def checked(images, labels):
    """Test images and labels, looked at.

    Args:
        images: numbers `(n, h, w, c)` in [0,1], n at least 1.
        labels: integers `(n,)`, or `(n, 1)` as `keras.datasets` has them.

    Returns:
        Images as float32, and labels as int32 `(n,)`.

    Raises:
        ValueError: for pixels outside [0,1], labels that are no class numbers, or images and labels of unequal number.
    """
    images, labels = np.asarray(images, np.float32), np.asarray(labels)
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(
            f"Images and labels must be equal in number, at least one. Received: {len(images)} and {len(labels)}"
        )
    if images.ndim != 4:
        raise ValueError(f"Images must be of shape (n, h, w, c). Received: shape {images.shape}")
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"Pixels must be in [0, 1]. Received: {images.min()} to {images.max()}")
    if labels.shape not in ((len(labels),), (len(labels), 1)) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(
            f"Labels must be class numbers from 0 on, of shape (n,). Received: {labels.dtype} of shape {labels.shape}"
        )
    return images, labels.reshape(-1).astype(np.int32)


def fingerprint(images, labels):
    """A checksum by which the state of an evaluation tells its images and labels from others.

    Args:
        images, labels: as `checked` returns them.

    Returns:
        An integer.
    """
    return zlib.crc32(np.ascontiguousarray(labels), zlib.crc32(np.ascontiguousarray(images)))
