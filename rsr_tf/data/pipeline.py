"""`tf.data` pipelines of float32 pixels in [0,1] and int32 labels.

A training batch is a pure function of the seed and the step number, so a resumed run gets the same batches as an
uninterrupted one.
"""

import numpy as np
import tensorflow as tf

from rsr_tf.data.augmentation import Augmentation
from rsr_tf.data.augmentation import crop_and_flip as crop_and_flipped
from rsr_tf.data.base import as_pixels
from rsr_tf.data.reading import image_reader

IN_ORDER = {"num_parallel_calls": 2, "deterministic": True}
"""Two batches are read at a time, and used in the order of their numbers."""


def training_batches(split, *, batch_size, seed, crop_and_flip=False, augment=(), class_weights=None, start_step=0):
    """Create an infinite stream of training batches of a fixed shape; every epoch is a new permutation of the images.

    An epoch has `steps_per_epoch(split, batch_size)` steps. Images that do not fill a last batch are skipped; they
    differ from epoch to epoch.

    Args:
        split: `Split` to draw from.
        batch_size: integer, number of images in a batch.
        seed: integer; batch t is a function of `seed` and t only.
        crop_and_flip: bool, whether to crop the zero-padded images at random and mirror each with probability 1/2
            (He et al. 2016). Defaults to `False`.
        augment: names of further augmentations, see `rsr_tf.data.Augmentation`. Defaults to none.
        class_weights: array `(classes,)` of the weight of an image of each class, such as that of `balanced_weights`.
            Defaults to `None`, for batches without weights.
        start_step: integer, the number t of the first batch. Defaults to 0.

    Returns:
        A `tf.data.Dataset` of tuples: float32 pixels `(batch_size, h, w, c)` in [0,1], int32 labels `(batch_size,)`
        and, with `class_weights`, float32 weights `(batch_size,)`.

    Raises:
        ValueError: if `batch_size` is larger than the split, or an augmentation is unknown or cannot take the images.

    Example:
        >>> train = rsr_tf.data.load("digits").train
        >>> x, y = next(iter(rsr_tf.data.training_batches(train, batch_size=4, seed=0)))
        >>> tuple(x.shape), tuple(y.shape)
        ((4, 8, 8, 1), (4,))
    """
    steps = steps_per_epoch(split, batch_size)
    read, labels = image_reader(split.images), tf.constant(split.labels, tf.int32)
    change = Augmentation(augment, split.images.shape[1:])
    weights = () if class_weights is None else (tf.constant(class_weights, tf.float32),)

    def batch(step):
        epoch, position = step // steps, step % steps
        places = tf.range(batch_size, dtype=tf.int64) + position * batch_size
        shuffle_seed = tf.cast([seed, epoch], tf.int64)
        chosen = tf.random.experimental.index_shuffle(places, shuffle_seed, tf.constant(len(split) - 1, tf.int64))
        key = tf.cast([seed, step], tf.int64)
        x, y = read(chosen), tf.gather(labels, chosen)
        x = change(as_pixels(crop_and_flipped(x, key) if crop_and_flip else x), key)
        return x, y, *(tf.gather(each, y) for each in weights)

    numbers = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    return numbers.map(batch, **IN_ORDER).prefetch(4)


def balanced_weights(labels, classes):
    """Compute weights that give every class the same share of the loss; their mean over the images is 1.

    Args:
        labels: integers `(n,)`.
        classes: number of classes K.

    Returns:
        A float32 array `(classes,)`: n / (K n_k) for a class with n_k images, as in scikit-learn; 0 for one without.

    Example:
        >>> rsr_tf.data.balanced_weights([0, 0, 0, 0, 0, 1], 2).tolist()
        [0.6..., 3.0]
    """
    counts = np.bincount(labels, minlength=classes)
    return np.where(counts > 0, len(labels) / (classes * np.maximum(counts, 1)), 0).astype(np.float32)


def steps_per_epoch(split, batch_size):
    """Return the number of full batches in an epoch.

    Args:
        split: a `Split`.
        batch_size: integer, number of images in a batch.

    Returns:
        A positive integer.

    Raises:
        ValueError: if `batch_size` is larger than the split.

    Example:
        >>> rsr_tf.data.steps_per_epoch(rsr_tf.data.load("digits").train, 128)
        9
    """
    if batch_size > len(split):
        raise ValueError(f"`batch_size` must be at most the {len(split)} training images. Received: {batch_size}")
    return len(split) // batch_size


def batches(split, *, batch_size):
    """Create batches of a split in order, for validation.

    Args:
        split: a `Split`.
        batch_size: integer, number of images in a batch; the last batch may have fewer.

    Returns:
        A `tf.data.Dataset` of tuples: float32 pixels `(n, h, w, c)` in [0,1] and int32 labels `(n,)`.

    Example:
        >>> len(rsr_tf.data.batches(rsr_tf.data.load("digits").validation, batch_size=50))
        3
    """
    read, labels = image_reader(split.images), tf.constant(split.labels, tf.int32)
    numbers = tf.data.Dataset.range(len(split)).batch(batch_size)
    return numbers.map(lambda chosen: (as_pixels(read(chosen)), tf.gather(labels, chosen)), **IN_ORDER).prefetch(2)
