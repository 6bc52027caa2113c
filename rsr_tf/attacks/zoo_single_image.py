"""ZOO on one image (Chen et al. 2017, Section 3): a generator that yields probes and is sent their scores."""

import math
from dataclasses import dataclass

import numpy as np

BETA_1, BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-8
LARGEST_TANH = 0.999999  # black and white are at infinity in tanh space; the value is that of Carlini & Wagner


@dataclass
class Nearest:
    """The nearest adversarial image so far: float32 `(h, w, c)` or `None`, and its squared L2 distance."""

    image: np.ndarray = None
    squared_l2: float = math.inf


def zoo_path(image, label, settings, random):
    """Attack one image: for each c, descend again from the clean image.

    Args:
        image: float32 `(h, w, c)` in [0,1].
        label: integer, the true label.
        settings: a `rsr_tf.attacks.ZOOSettings`.
        random: a NumPy generator, for the coordinates.

    Yields:
        Probes, float32 `(m, h, w, c)`; the caller sends their scores `(m, classes)`.

    Returns:
        The `Nearest` adversarial image; `None` if the image is misclassified, and was not attacked.
    """
    (scores,) = yield image[np.newaxis]
    if not is_correct(scores, label):
        return None
    nearest, search = Nearest(), BinarySearch(settings.initial_c)
    for _ in range(settings.binary_steps):
        success = yield from _descend(image, label, search.c, nearest, settings, random)
        search = search.after(success)
    return nearest


def _descend(image, label, c, nearest, settings, random):
    """Minimize the squared L2 distance plus c times the hinge, and keep the nearest image of another class.

    Returns:
        Whether an image of another class was found, nearer than `nearest` or not.
    """
    w = to_tanh_space(image.astype(np.float64).ravel())
    origin = to_pixels(w)
    adam, success, losses = Adam(w.size), False, []
    for _ in range(settings.iterations):
        chosen = random.choice(w.size, min(settings.coordinates, w.size), replace=False)
        pixels, squared_l2 = probes_round(w, chosen, origin, settings.difference)
        pixels = pixels.astype(np.float32).reshape(-1, *image.shape)
        scores = yield pixels
        if not is_correct(scores[0], label) and (not success or squared_l2[0] < nearest.squared_l2):
            confirmed = yield from _confirm(pixels[0], label, settings.confirmations)
            success |= confirmed
            if confirmed and squared_l2[0] < nearest.squared_l2:
                nearest.image, nearest.squared_l2 = pixels[0].copy(), squared_l2[0]
        loss = squared_l2 + c * hinge(scores, label)
        losses.append(loss[0])
        if has_stalled(losses, settings.patience):
            break
        gradient = symmetric_difference(loss, settings.difference)
        w[chosen] -= adam.step(chosen, gradient, settings.learning_rate)
    return success


def _confirm(image, label, times):
    """Return whether the class is wrong in more than half of a number of further calls; `True` for no call."""
    wrong = 0
    for _ in range(times):
        (scores,) = yield image[np.newaxis]
        wrong += not is_correct(scores, label)
    return 2 * wrong > times or times == 0


def is_correct(scores, label):
    """Return whether the largest of the scores `(classes,)` is that of the label; never if one is NaN."""
    return scores.argmax() == label and not np.isnan(scores).any()


def to_tanh_space(pixels):
    """Map pixels in [0,1] to unbounded numbers w, with `pixels = (tanh(w) + 1) / 2`."""
    return np.arctanh((2 * pixels - 1) * LARGEST_TANH)


def to_pixels(w):
    """Map unbounded numbers to pixels in [0,1], the inverse of `to_tanh_space`."""
    return (np.tanh(w) + 1) / 2


def probes_round(w, chosen, origin, difference):
    """Return a point of tanh space and its neighbours along some coordinates, as pixels.

    Args:
        w: float `(d,)`, the point.
        chosen: integers `(k,)`, coordinates.
        origin: float `(d,)`, pixels from which distance is measured.
        difference: distance of the neighbours, in tanh space.

    Returns:
        Pixels `(1 + 2 k, d)`: the point, the `k` neighbours above, the `k` below; and their squared L2 distances from
        `origin`, `(1 + 2 k,)`.
    """
    k = len(chosen)
    pixels = np.tile(to_pixels(w), (1 + 2 * k, 1))
    neighbours = to_pixels(np.concatenate([w[chosen] + difference, w[chosen] - difference]))
    moved, here = np.tile(chosen, 2), (pixels[0] - origin) ** 2
    pixels[np.arange(1, 1 + 2 * k), moved] = neighbours
    there = here.sum() - here[moved] + (neighbours - origin[moved]) ** 2  # only one pixel differs
    return pixels, np.concatenate([[here.sum()], there])


def symmetric_difference(values, difference):
    """Compute derivatives `(k,)` along the coordinates of `probes_round` from the values `(1 + 2 k,)` of its probes."""
    above, below = np.split(values[1:], 2)
    return (above - below) / (2 * difference)


def hinge(scores, label):
    """Compute the margin of the label, at least 0 (Eq. 5 of Chen et al., untargeted, with confidence 0).

    A difference of logits equals the difference of log-probabilities: the normalizer of the softmax cancels.

    Args:
        scores: logits or log-probabilities `(m, classes)`.
        label: integer.

    Returns:
        float `(m,)`.
    """
    return np.maximum(scores[:, label] - np.delete(scores, label, axis=1).max(axis=1), 0)


class Adam:
    """ADAM with separate moments and step counts for each of `size` coordinates (Algorithm 2 of Chen et al.)."""

    def __init__(self, size):
        self.mean, self.variance, self.steps = np.zeros(size), np.zeros(size), np.zeros(size)

    def step(self, chosen, gradient, learning_rate):
        """Update the moments and counts of the chosen coordinates, and return what to subtract from them."""
        self.steps[chosen] += 1
        self.mean[chosen] = BETA_1 * self.mean[chosen] + (1 - BETA_1) * gradient
        self.variance[chosen] = BETA_2 * self.variance[chosen] + (1 - BETA_2) * gradient**2
        mean = self.mean[chosen] / (1 - BETA_1 ** self.steps[chosen])
        variance = self.variance[chosen] / (1 - BETA_2 ** self.steps[chosen])
        return learning_rate * mean / (np.sqrt(variance) + ADAM_EPSILON)


@dataclass(frozen=True)
class BinarySearch:
    """The next c: the mean of the largest one that failed and the smallest that succeeded, or ten times the last."""

    c: float
    failed: float = 0.0
    succeeded: float = math.inf

    def after(self, success):
        """Return the search updated with one outcome."""
        failed, succeeded = (self.failed, self.c) if success else (self.c, self.succeeded)
        c = 10 * self.c if succeeded == math.inf else (failed + succeeded) / 2
        return BinarySearch(c, failed, succeeded)


def has_stalled(losses, patience):
    """Return whether the mean loss of the last `patience` iterations is not lower, by 1/10,000, than that before.

    Means, because under noise the lowest loss so far may be a lucky sample that no later one beats. Only `True` at
    multiples of `patience`, as for Chen et al.; never for a `patience` of 0.
    """
    if not patience or len(losses) % patience or len(losses) < 2 * patience:
        return False
    before, last = np.mean(losses[-2 * patience : -patience]), np.mean(losses[-patience:])
    return bool(last >= 0.9999 * before)
