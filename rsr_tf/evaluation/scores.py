"""Accuracy over repeated draws of noise and attack, with confidence intervals."""

import math
import statistics
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """Accuracy of a network over repeated draws, on one set of images.

    Args:
        accuracies: accuracy of each draw, in [0, 1].
        n: number of images.

    Example:
        >>> rsr_tf.evaluation.Score((0.5, 0.75), n=100).mean
        0.625
    """

    accuracies: tuple
    n: int

    @property
    def mean(self):
        """Mean accuracy over the draws."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self):
        """Sample standard deviation over the draws; 0 for a single draw."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    @property
    def interval(self):
        """Wilson 95 % interval of the mean accuracy, for `n` images."""
        return wilson_interval(self.mean, self.n)

    def __str__(self):
        return f"{self.mean:.1%} ± {self.std:.1%} (n={self.n}, {len(self.accuracies)} draws)"

    def as_dict(self):
        """Return all numbers as a JSON-serializable dict."""
        return {
            "mean": self.mean,
            "std": self.std,
            "interval": list(self.interval),
            "n": self.n,
            "draws": len(self.accuracies),
            "accuracies": list(self.accuracies),
        }


@dataclass(frozen=True)
class MajorityScore:
    """Accuracy of a random network that classifies each image several times, each time with new noise.

    Args:
        hits: integers `(n,)`: the number of correct draws of each image.
        draws: number of draws, K.

    Example:
        >>> score = rsr_tf.evaluation.MajorityScore(np.array([20, 15, 4, 1]), draws=20)
        >>> score.accuracy, score.mean
        (0.5, 0.5)
    """

    hits: np.ndarray
    draws: int

    @property
    def n(self):
        """Number of images."""
        return len(self.hits)

    @property
    def robust(self):
        """Which images are correct in a majority of the draws, boolean `(n,)`; exactly half is not enough."""
        return 2 * np.asarray(self.hits) > self.draws

    @property
    def accuracy(self):
        """Share of the images that are correct in a majority of the draws."""
        return float(np.mean(self.robust))

    @property
    def mean(self):
        """Mean accuracy over the draws."""
        return float(np.mean(self.hits)) / self.draws

    def as_dict(self):
        """Return all numbers as a JSON-serializable dict; both intervals are Wilson 95 % intervals for n images."""
        return {
            "accuracy": self.accuracy,
            "interval": list(wilson_interval(self.accuracy, self.n)),
            "mean": self.mean,
            "mean_interval": list(wilson_interval(self.mean, self.n)),
            "n": self.n,
            "draws": self.draws,
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
