"""ZOO: an attack that knows scores alone and estimates the gradient from them (Table 3; Chen et al. 2017).

`zoo_path` is the attack on one image, a generator that asks for the scores of its probes; here several run side by
side and are answered from one call. So an image's path does not depend on its neighbours, as long as its scores do not:
of a network that draws noise once a call, images side by side share the draws. No TensorFlow is imported:
what is attacked is a function from images to scores, and there is no gradient to peep at.
"""

import dataclasses
import itertools
import math
import statistics
from dataclasses import dataclass

import numpy as np

from rsr_tf.attacks.zoo_single_image import Nearest, zoo_path
from rsr_tf.validation import checked

NOISES = ("shared", "per_image", "averaged")


@dataclass(frozen=True, kw_only=True)
class ZOOSettings:
    """What a ZOO attack is made of. The defaults are tier 2; `TIERS` holds both tiers.

    Args:
        initial_c: weight of the hinge against the squared L2 distance, to begin with. Defaults to 0.01.
        binary_steps: values of c that are tried, by binary search. Defaults to 9.
        iterations: ADAM steps for each c. Defaults to 1000.
        coordinates: pixels whose derivative is estimated in an iteration; all of them where the image has fewer.
            Defaults to 128.
        learning_rate: of ADAM, in tanh space. Defaults to 0.01.
        difference: h of the symmetric difference, in tanh space. Defaults to 1e-4.
        patience: a c is given up when the mean loss of so many iterations is not below that of as many before, by a
            ten-thousandth at least. Means, because under noise the lowest loss so far is a lucky draw that nothing
            after it beats. 0 never gives up. Defaults to 100.
        noise: `"shared"`: one call scores all probes of an iteration, so a noisy network that draws once a call
            shows them one draw; `"per_image"`: every probe is a call of its own, with its own draw, and slow;
            `"averaged"`: the logits are averaged over `draws` calls. Defaults to `"shared"`.
        draws: calls for `"averaged"`. Defaults to 8.
        confirmations: further calls in which a changed class must be seen in more than half before the image counts
            as adversarial. 0 takes the first sight of another class, as Chen et al. do, which against a random network
            also counts images that are merely asked often enough. Defaults to 0.
        seed: of the coordinates; every image has a stream of its own, made of the seed and its index. Defaults to 0.

    Raises:
        ValueError: for an unknown `noise`, or a number out of its range.
    """

    initial_c: float = 0.01
    binary_steps: int = 9
    iterations: int = 1000
    coordinates: int = 128
    learning_rate: float = 0.01
    difference: float = 1e-4
    patience: int = 100
    noise: str = "shared"
    draws: int = 8
    confirmations: int = 0
    seed: int = 0

    def __post_init__(self):
        if self.noise not in NOISES:
            raise ValueError(f"`noise` must be one of {NOISES}. Received: noise={self.noise!r}")
        for name in ("initial_c", "learning_rate", "difference"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0. Received: {name}={getattr(self, name)}")
        least = {"binary_steps": 1, "iterations": 1, "coordinates": 1, "draws": 1, "patience": 0, "confirmations": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= smallest):
                raise ValueError(f"`{name}` must be an integer of at least {smallest}. Received: {name}={value}")

    def get_config(self):
        return dataclasses.asdict(self)


TIERS = {1: ZOOSettings(initial_c=0.5, binary_steps=1), 2: ZOOSettings()}
"""Tier 1 tries c = 0.5 and nothing else; tier 2 searches for c in nine steps."""


def expected_queries(images, pixels, settings):
    """How many classifications an attack needs at worst, when no c is given up early and none need confirming.

    Args:
        images: number of images that are attacked.
        pixels: number of values of an image, `h * w * c`.
        settings: a `ZOOSettings`.

    Returns:
        An integer: 257,001 for one CIFAR-10 image at tier 1, the last one to see whether it is right at all.
    """
    probes = 2 * min(settings.coordinates, pixels) + 1
    draws = settings.draws if settings.noise == "averaged" else 1
    return images * draws * (1 + settings.binary_steps * settings.iterations * probes)


def draw_test_images(total, count=200, *, seed=0, ascending=True):
    """Which test images are attacked (Section 4.2).

    Args:
        total: number of test images.
        count: how many of them to draw, without repetition. Defaults to 200, as in the paper.
        seed: integer. Defaults to 0.
        ascending: whether to sort them. Otherwise they are in the order in which they were drawn, where fewer of the
            same seed are the first of more. Defaults to `True`.

    Returns:
        An integer array `(count,)`; all indices where there are not more.
    """
    drawn = np.random.default_rng(seed).permutation(total)[:count]
    return np.sort(drawn) if ascending else drawn


@dataclass(frozen=True)
class ZOOResult:
    """What became of each image.

    Args:
        attacked: boolean `(n,)`: was the image right before, and thus attacked.
        success: boolean `(n,)`: did its class change.
        adversarial: float32 `(n, h, w, c)`: the nearest image of another class; the image itself where there is none.
        l2, linf: float `(n,)`: distance of it; not a number where there is none.
        queries: integers `(n,)`: classifications spent on it, the draws of an average counted one by one.
    """

    attacked: np.ndarray
    success: np.ndarray
    adversarial: np.ndarray
    l2: np.ndarray
    linf: np.ndarray
    queries: np.ndarray

    def within(self, *, l2=math.inf, linf=math.inf):
        """Which images were broken within a distance. The attack lowers L2; what it keeps is not of least linf."""
        return self.success & (self.l2 <= l2) & (self.linf <= linf + 1e-6)

    @property
    def median_l2(self):
        """Median L2 distance of the successes; `None` where there is none."""
        return statistics.median(self.l2[self.success].tolist()) if self.success.any() else None


def zoo_attack(scores, images, labels, *, settings=TIERS[2], group=8, indices=None):
    """Attack images by ZOO, untargeted, knowing the scores alone (Table 3; Chen et al. 2017, Section 3).

    Args:
        scores: function from float32 `(m, h, w, c)` in [0,1] to logits or log-probabilities `(m, classes)`, which
            are the same to the attack; `as_model_fn(model)` will do, and so will any NumPy function.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: integers `(n,)`, the true ones. Images that are wrong already are not attacked.
        settings: a `ZOOSettings`. Defaults to tier 2.
        group: images attacked side by side; `group` times 257 images go into a call. Defaults to 8.
        indices: integers `(n,)`, the number of each image for its random stream, so that an attack may be split into
            calls and give the same. Defaults to its place in `images`.

    Returns:
        A `ZOOResult`.

    Raises:
        ValueError: for pixels outside [0,1], labels that are wrong or of another number, or a `group` below 1.

    Example:
        >>> result = zoo_attack(as_model_fn(model), images, labels, settings=TIERS[1])
        >>> result.success[result.attacked].mean()
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
    draws = settings.draws if settings.noise == "averaged" else 1
    return ZOOResult(
        attacked=attacked,
        success=success,
        adversarial=adversarial,
        l2=np.linalg.norm(distance, axis=1),
        linf=np.abs(distance).max(axis=1),
        queries=draws * queries,
    )


def _run(paths, scores, group):
    """Run generators that yield images and are sent scores, `group` of them at a time, one call for all.

    Returns:
        What each of them returned, and how many images it had scored.
    """
    ends, queries = [None] * len(paths), np.zeros(len(paths), np.int64)
    waiting, asking = iter(enumerate(paths)), {}
    while True:
        for number, path in itertools.islice(waiting, group - len(asking)):
            asking[number] = next(path)
        if not asking:
            return ends, queries
        answers = scores(np.concatenate(list(asking.values())))
        for number, probes in list(asking.items()):
            answer, answers = answers[: len(probes)], answers[len(probes) :]
            queries[number] += len(probes)
            try:
                asking[number] = paths[number].send(answer)
            except StopIteration as end:
                ends[number] = end.value
                del asking[number]


def _with_noise(scores, settings):
    """`scores` as float64, under the draws that the settings ask for."""

    def once(images):
        return np.asarray(scores(images), np.float64)

    def each(images):
        return np.concatenate([once(image[np.newaxis]) for image in images])

    def mean(images):
        return np.mean([once(images) for _ in range(settings.draws)], axis=0)

    return {"shared": once, "per_image": each, "averaged": mean}[settings.noise]
