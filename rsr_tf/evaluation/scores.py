"""Accuracy over repeated draws of noise and attack, with what a reader needs to judge it."""

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
    """

    accuracies: tuple
    n: int

    @property
    def mean(self):
        return statistics.fmean(self.accuracies)

    @property
    def std(self):
        """Standard deviation over the draws; zero for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    @property
    def interval(self):
        """Wilson's 95 % interval of the mean accuracy, for `n` images."""
        return wilson_interval(self.mean, self.n)

    def __str__(self):
        return f"{self.mean:.1%} ± {self.std:.1%} (n={self.n}, {len(self.accuracies)} draws)"

    def as_dict(self):
        """Everything as plain numbers, for JSON."""
        return {
            "mean": self.mean,
            "std": self.std,
            "interval": list(self.interval),
            "n": self.n,
            "draws": len(self.accuracies),
            "accuracies": list(self.accuracies),
        }


@dataclass(frozen=True)
class RepeatedScore:
    """What a random network makes of images that it classifies several times, each time with fresh noise.

    Args:
        hits: integers `(n,)`: how many of the draws were right, for each image.
        draws: number of draws, K.
    """

    hits: np.ndarray
    draws: int

    @property
    def n(self):
        return len(self.hits)

    @property
    def robust(self):
        """Which images are right in a majority of the draws, boolean `(n,)`; half of them is not enough."""
        return 2 * np.asarray(self.hits) > self.draws

    @property
    def accuracy(self):
        """Share of the images that are right in a majority of the draws."""
        return float(np.mean(self.robust))

    @property
    def mean(self):
        """Mean accuracy over the draws."""
        return float(np.mean(self.hits)) / self.draws

    def as_dict(self):
        """Everything as plain numbers, for JSON; both intervals are Wilson's at 95 %, for n images."""
        return {
            "accuracy": self.accuracy,
            "interval": list(wilson_interval(self.accuracy, self.n)),
            "mean": self.mean,
            "mean_interval": list(wilson_interval(self.mean, self.n)),
            "n": self.n,
            "draws": self.draws,
        }


def wilson_interval(share, n, z=1.959964):
    """Interval for a share seen in `n` trials (Wilson 1927), 95 % by default.

    Args:
        share: number in [0, 1].
        n: number of trials, at least 1.
        z: quantile of the normal distribution.

    Returns:
        `(low, high)` in [0, 1].
    """
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
