"""Choose the test images of an evaluation."""

import numpy as np


def draw_test_images(total, count=200, *, seed=0, ascending=True):
    """Draw which test images are attacked (Section 4.2).

    Args:
        total: number of test images.
        count: number of images to draw, without repetition. Defaults to 200, as in the paper.
        seed: integer. Defaults to 0.
        ascending: sort the indices. Otherwise they are in the order of the draw, in which a smaller `count` with the
            same seed is the beginning of a larger one. Defaults to `True`.

    Returns:
        An integer array `(count,)`; all indices if `total` is not larger.

    Example:
        >>> len(rsr_tf.evaluation.draw_test_images(10_000))
        200
        >>> rsr_tf.evaluation.draw_test_images(3)
        array([0, 1, 2])
    """
    drawn = np.random.default_rng(seed).permutation(total)[:count]
    return np.sort(drawn) if ascending else drawn


def draw_by_class(labels, count, *, seed=0):
    """Draw test images such that the classes have the shares that they have among all.

    Args:
        labels: class numbers `(n,)`, in any order, sorted ones included.
        count: number of images to draw, without repetition.
        seed: integer. Defaults to 0.

    Returns:
        An ascending integer array `(count,)`; all indices if there are not more.

    Example:
        >>> labels = np.repeat([0, 1], [300, 100])
        >>> np.bincount(labels[rsr_tf.evaluation.draw_by_class(labels, 40)])
        array([30, 10])
    """
    labels = np.asarray(labels).reshape(-1)
    random = np.random.default_rng(seed)
    places = np.empty(len(labels))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        places[random.permutation(own)] = (np.arange(len(own)) + random.uniform()) / len(own)
    return np.sort(np.argsort(places, kind="stable")[:count])
