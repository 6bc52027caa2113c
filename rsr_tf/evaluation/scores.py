"""Accuracy over repeats of an attack, or over several predictions per image, with confidence intervals."""

import math
import statistics
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """Accuracy of a network over repeats of a whole attack, on one set of images.

    Args:
        accuracies: accuracy in each repeat, in [0, 1].
        num_images: number of images.
        by_class: dict from a label as string to the accuracy on the images of this class, a mean over the repeats, or
            `None`, the default, if it was not measured.

    Example:
        >>> rsr_tf.evaluation.Score((0.5, 0.75), num_images=100).mean
        0.625
    """

    accuracies: tuple
    num_images: int
    by_class: dict | None = None

    @property
    def mean(self):
        """Mean accuracy over the repeats."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self):
        """Sample standard deviation over the repeats; 0 for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    @property
    def interval(self):
        """Wilson 95 % interval of the mean accuracy, for `num_images` images."""
        return wilson_interval(self.mean, self.num_images)

    def __str__(self):
        return f"{self.mean:.1%} ± {self.std:.1%} (n={self.num_images}, {len(self.accuracies)} repeats)"

    def as_dict(self):
        """Return all numbers as a JSON-serializable dict."""
        by_class = {} if self.by_class is None else {"by_class": self.by_class}
        return {
            "mean": self.mean,
            "std": self.std,
            "interval": list(self.interval),
            "num_images": self.num_images,
            "repeats": len(self.accuracies),
            "accuracies": list(self.accuracies),
            **by_class,
        }


@dataclass(frozen=True)
class MajorityScore:
    """Accuracy of a random network that classifies each image several times, each time with new noise.

    Args:
        hits: integers `(n,)`: the number of correct predictions of each image.
        predictions: number of predictions per image, K.

    Example:
        >>> score = rsr_tf.evaluation.MajorityScore(np.array([20, 15, 4, 1]), predictions=20)
        >>> score.accuracy, score.mean
        (0.5, 0.5)
    """

    hits: np.ndarray
    predictions: int

    @property
    def num_images(self):
        """Number of images."""
        return len(self.hits)

    @property
    def robust(self):
        """Which images are correct in a majority of the predictions, boolean `(n,)`; exactly half is not enough."""
        return 2 * np.asarray(self.hits) > self.predictions

    @property
    def accuracy(self):
        """Share of the images that are correct in a majority of the predictions."""
        return float(np.mean(self.robust))

    @property
    def mean(self):
        """Mean accuracy over the predictions."""
        return float(np.mean(self.hits)) / self.predictions

    def as_dict(self):
        """Return all numbers as a JSON-serializable dict; both intervals are Wilson 95 % intervals for n images."""
        return {
            "accuracy": self.accuracy,
            "interval": list(wilson_interval(self.accuracy, self.num_images)),
            "mean": self.mean,
            "mean_interval": list(wilson_interval(self.mean, self.num_images)),
            "num_images": self.num_images,
            "predictions": self.predictions,
        }


def wilson_interval(share, n, z=1.959964):
    """Return the confidence interval of a share observed in `n` trials (Wilson 1927), 95 % by default.

    Args:
        share: number in [0, 1].
        n: number of trials, at least 1.
        z: quantile of the normal distribution. Defaults to 1.959964, for 95 %.

    Returns:
        `(low, high)` in [0, 1].
    """
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
