"""ZOO: an attack that estimates the gradient from scores alone (Table 3; Chen et al. 2017).

`zoo_path` is the attack on one image: a generator that yields probes and is sent their scores. Here several
such generators run side by side and share calls of the network. The result for an image does not depend on the others
as long as its scores do not; a network that draws its noise once per call shows the same noise to all of them.
No TensorFlow is imported: the attacked network is a function from images to scores, so gradients cannot be used.
"""

import dataclasses
import itertools
import math
import statistics
from dataclasses import dataclass

import numpy as np

from rsr_tf.attacks.zoo_single_image import Nearest, zoo_path
from rsr_tf.validation import check_integers, checked, renamed_argument

NOISES = ("shared", "per_image", "averaged")


@renamed_argument("draws", "eot_samples")
@dataclass(frozen=True, kw_only=True)
class ZOOSettings:
    """Settings of a ZOO attack. The defaults are those of tier 2; see `TIERS`.

    Args:
        initial_c: first weight c of the hinge relative to the squared L2 distance. Defaults to 0.01.
        binary_steps: number of values of c, found by binary search. Defaults to 9.
        iterations: ADAM steps for each c. Defaults to 1000.
        coordinates: pixels whose derivative is estimated in an iteration; all pixels if the image has fewer.
            Defaults to 128.
        learning_rate: learning rate of ADAM, in tanh space. Defaults to 0.01.
        difference: h of the symmetric difference, in tanh space. Defaults to 1e-4.
        patience: a c is abandoned when the mean loss of this many iterations is not lower, by at least 1/10,000, than
            that of as many before. Means, because under noise the lowest loss so far may be a lucky sample. 0 never
            abandons a c. Defaults to 100.
        noise: `"shared"` scores all probes of an iteration in one call, so that a network that draws its noise once per
            call shows them the same noise. `"per_image"` makes a separate call for each probe and is slow.
            `"averaged"` averages the logits over `eot_samples` calls. Defaults to `"shared"`.
        eot_samples: number of calls for `"averaged"`. Defaults to 8.
        confirmations: further calls; the image counts as adversarial if more than half of them give a wrong class. 0
            accepts the first wrong class, as Chen et al. do, which for a random network also counts images that were
            only classified often enough. Defaults to 0.
        seed: seed of the coordinates; each image has a separate stream, made of the seed and its index. Defaults to 0.

    Raises:
        ValueError: for an unknown `noise`, or a number out of its range.

    Example:
        >>> rsr_tf.attacks.ZOOSettings(initial_c=0.5, binary_steps=1) == rsr_tf.attacks.TIERS[1]
        True
    """

    initial_c: float = 0.01
    binary_steps: int = 9
    iterations: int = 1000
    coordinates: int = 128
    learning_rate: float = 0.01
    difference: float = 1e-4
    patience: int = 100
    noise: str = "shared"
    eot_samples: int = 8
    confirmations: int = 0
    seed: int = 0

    def __post_init__(self):
        if self.noise not in NOISES:
            raise ValueError(f"`noise` must be one of {NOISES}. Received: noise={self.noise!r}")
        for name in ("initial_c", "learning_rate", "difference"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0. Received: {name}={getattr(self, name)}")
        check_integers(
            1,
            binary_steps=self.binary_steps,
            iterations=self.iterations,
            coordinates=self.coordinates,
            eot_samples=self.eot_samples,
        )
        check_integers(0, patience=self.patience, confirmations=self.confirmations)

    def get_config(self):
        """Return the settings as a JSON-serializable dict."""
        config = dataclasses.asdict(self)
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in config.items()}


TIERS = {1: ZOOSettings(initial_c=0.5, binary_steps=1), 2: ZOOSettings()}
"""Tier 1 tries only c = 0.5; tier 2 searches for c in nine steps."""


def expected_queries(images, pixels, settings):
    """Compute how many classifications an attack needs at most, without confirmations and early ends.

    Args:
        images: number of attacked images.
        pixels: number of values of an image, `h * w * c`.
        settings: a `ZOOSettings`.

    Returns:
        An integer: 257,001 for one CIFAR-10 image at tier 1, of which one tests whether it is classified correctly.

    Example:
        >>> rsr_tf.attacks.expected_queries(1, 32 * 32 * 3, rsr_tf.attacks.TIERS[1])
        257001
    """
    probes = 2 * min(settings.coordinates, pixels) + 1
    return images * _calls_per_score(settings) * (1 + settings.binary_steps * settings.iterations * probes)


@dataclass(frozen=True)
class ZOOResult:
    """Result of ZOO for each image.

    Args:
        attacked: boolean `(n,)`: whether the clean image was classified correctly, and therefore attacked.
        success: boolean `(n,)`: whether an image of another class was found.
        adversarial: float32 `(n, h, w, c)`: the nearest image of another class, or the clean image without success.
        l2, linf: float `(n,)`: its distance; NaN without success.
        queries: integers `(n,)`: classifications spent on the image, counting each sample of an average.

    Example:
        >>> settings = rsr_tf.attacks.ZOOSettings(binary_steps=1, iterations=2)
        >>> result = rsr_tf.attacks.zoo_attack(model_fn, images[:2], labels[:2], settings=settings)
        >>> bool(np.all(result.within(l2=0.5) <= result.success))
        True
    """

    attacked: np.ndarray
    success: np.ndarray
    adversarial: np.ndarray
    l2: np.ndarray
    linf: np.ndarray
    queries: np.ndarray

    def within(self, *, l2=math.inf, linf=math.inf):
        """Return which images were broken within a distance; the attack minimizes L2, not linf.

        Args:
            l2, linf: largest distances. Default to infinity.

        Returns:
            Boolean `(n,)`.
        """
        return self.success & (self.l2 <= l2) & (self.linf <= linf + 1e-6)

    @property
    def median_l2(self):
        """Median L2 distance of the successes, `None` without a success."""
        return statistics.median(self.l2[self.success].tolist()) if self.success.any() else None


def zoo_attack(scores, images, labels, *, settings=TIERS[2], group=8, indices=None):
    """Attack images by ZOO, untargeted, from scores alone (Table 3; Chen et al. 2017, Section 3).

    Args:
        scores: function from float32 `(m, h, w, c)` in [0,1] to logits or log-probabilities `(m, classes)`, which are
            equivalent here; for example `rsr_tf.as_model_fn(model)` or any NumPy function.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: integers `(n,)`, the true labels. Misclassified images are not attacked.
        settings: a `ZOOSettings`. Defaults to tier 2.
        group: number of images attacked at once; a call holds `group` times 257 images. Defaults to 8.
        indices: integers `(n,)`, the number of each image for its random stream, so that an attack can be split into
            several calls with the same result. Defaults to the position in `images`.

    Returns:
        A `ZOOResult`.

    Raises:
        ValueError: for pixels outside [0,1], wrong labels, unequal numbers of images and labels, or a `group` below 1.

    Example:
        >>> settings = rsr_tf.attacks.ZOOSettings(binary_steps=1, iterations=2)
        >>> result = rsr_tf.attacks.zoo_attack(model_fn, images[:2], labels[:2], settings=settings)
        >>> result.success.shape, result.adversarial.shape
        ((2,), (2, 8, 8, 1))
    """
    images, labels = checked(images, labels)
    if group < 1:
        raise ValueError(f"`group` must be at least 1. Received: group={group}")
    indices = range(len(images)) if indices is None else indices
    paths = [
        zoo_path(image, int(label), settings, np.random.default_rng([settings.seed, int(index)]))
        for image, label, index in zip(images, labels, indices, strict=True)
    ]
    ends, queries = _run(paths, _with_noise(scores, settings), group)
    attacked = np.array([end is not None for end in ends])
    found = [end if end is not None else Nearest() for end in ends]
    success = np.array([nearest.image is not None for nearest in found])
    adversarial = np.array(
        [clean if end.image is None else end.image for clean, end in zip(images, found, strict=True)]
    )
    distance = np.where(success[:, np.newaxis], (adversarial - images).reshape(len(images), -1), np.nan)
    return ZOOResult(
        attacked=attacked,
        success=success,
        adversarial=adversarial,
        l2=np.linalg.norm(distance, axis=1),
        linf=np.abs(distance).max(axis=1),
        queries=_calls_per_score(settings) * queries,
    )


def _run(paths, scores, group):
    """Run generators that yield images and are sent scores: `group` of them at a time, with one call for all.

    Returns:
        A list of their return values, and the number of images that each had scored, `(n,)`.
    """
    results, queries = [None] * len(paths), np.zeros(len(paths), np.int64)
    waiting, pending = iter(enumerate(paths)), {}
    while True:
        for number, path in itertools.islice(waiting, group - len(pending)):
            pending[number] = next(path)
        if not pending:
            return results, queries
        answers = scores(np.concatenate(list(pending.values())))
        for number, probes in list(pending.items()):
            answer, answers = answers[: len(probes)], answers[len(probes) :]
            queries[number] += len(probes)
            try:
                pending[number] = paths[number].send(answer)
            except StopIteration as stop:
                results[number] = stop.value
                del pending[number]


def _calls_per_score(settings):
    return settings.eot_samples if settings.noise == "averaged" else 1


def _with_noise(scores, settings):
    """Return `scores` as float64, with the noise sampled as the settings say."""

    def once(images):
        return np.asarray(scores(images), np.float64)

    def each(images):
        return np.concatenate([once(image[np.newaxis]) for image in images])

    def mean(images):
        return np.mean([once(images) for _ in range(settings.eot_samples)], axis=0)

    return {"shared": once, "per_image": each, "averaged": mean}[settings.noise]
