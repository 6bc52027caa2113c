"""HopSkipJump: walks along the decision boundary, from decisions alone (Chen et al. 2020).

The network is never differentiated and its scores are never read, so neither wrong gradients nor scores that hide
something protect it.
"""

import math

import keras
import tensorflow as tf

from rsr_tf.attacks.base import Attack, Cost
from rsr_tf.attacks.losses import is_correct
from rsr_tf.attacks.norms import NORMS, check_norm, l2_norm, per_image
from rsr_tf.attacks.selection import select
from rsr_tf.validation import check_integers

HALVINGS = 10
"""Step sizes that are tried in an iteration, each half of the one before."""
TOLERANCES = {"linf": 2.0, "l2": 1.5}
"""Bisection ends at a relative tolerance of d to minus this power, with d values in an image (Section IV-A)."""
MOST_BISECTIONS = 20
"""Bisections between an image and an adversarial one, at most: float32 has 24 bits."""


class HopSkipJump(Attack):
    """HopSkipJump (Chen et al. 2020, Algorithm 2), adapted to random networks.

    The search starts from images of another class: uniform noise, or other images of the batch. Each iteration pulls
    the image to the decision boundary by bisection, estimates the direction in which the boundary is crossed from the
    decisions at random points nearby, and takes the longest step in this direction that is still adversarial. It ends
    early once every image has an adversarial one within `epsilon`.

    Args:
        epsilon: radius of the ball; in linf in units of pixels in [0,1]. Defaults to 8/255.
        norm: `"linf"` (default) or `"l2"`.
        iterations: number of iterations. Defaults to 40.
        initial_samples: decisions from which the first direction is estimated; in iteration t there are `sqrt(t)` times
            as many (Section III-C). Defaults to 100.
        starts: images from which the search may start; the nearest one is taken. Defaults to 10.
        eot_samples: calls of the network whose majority is a decision. Defaults to 1, which is enough for a network
            without noise; use more for a random network.

    Raises:
        ValueError: for an unknown `norm`, an `epsilon` that is not positive or, in linf, above 1, or an integer
            argument below 1.

    Example:
        >>> attack = rsr_tf.attacks.HopSkipJump(epsilon=8 / 255, iterations=2, initial_samples=4, starts=2)
        >>> x_adv = attack(model_fn, x, y, seed=0)
        >>> bool(tf.reduce_max(tf.abs(x_adv - x)) <= 8 / 255 + 1e-6)
        True
    """

    name = "HopSkipJump"
    description = (
        "Black-box: sees which class is predicted and neither scores nor gradient; follows the border between classes "
        "towards the image."
    )
    uses_gradients = False

    def __init__(self, *, epsilon=8 / 255, norm="linf", iterations=40, initial_samples=100, starts=10, eot_samples=1):
        check_norm(norm, epsilon=epsilon)
        check_integers(
            1, iterations=iterations, initial_samples=initial_samples, starts=starts, eot_samples=eot_samples
        )
        self.epsilon = float(epsilon)
        self.norm = norm
        self.iterations = int(iterations)
        self.initial_samples = int(initial_samples)
        self.starts = int(starts)
        self.eot_samples = int(eot_samples)

    def __call__(self, model_fn, x, labels, *, seed=None):
        """Return adversarial images for a batch.

        Args:
            model_fn: function from images to logits; only the class of the largest one is used.
            x: float32 `(n, h, w, c)` in [0,1], or `(n, ...)` of any rank.
            labels: integers `(n,)`, the true labels.
            seed: integer, `keras.random.SeedGenerator` or `None`, for starts and directions.

        Returns:
            float32 of the shape of `x` within `epsilon` of `x` and within [0,1]: the nearest adversarial image found,
            moved into the ball if it is further away. Misclassified images are returned unchanged.
        """
        x, labels = tf.convert_to_tensor(x, tf.float32), tf.cast(labels, tf.int32)
        key = keras.random.randint((2,), 0, 2**31 - 1, dtype="int32", seed=seed)
        norm = NORMS[self.norm]

        def is_adversarial(images):
            return majority_wrong(model_fn, images, labels, self.eot_samples)

        found, distance = nearest_start(is_adversarial, x, key, self.starts, self.norm)

        def unfinished(iteration, place, found, distance):
            return (iteration <= self.iterations) & tf.reduce_any(distance > self.epsilon)

        def iterate(iteration, place, found, distance):
            from_key = tf.random.experimental.stateless_fold_in(key, self.starts + iteration)
            share = tf.sqrt(tf.cast(iteration, tf.float32))
            samples = tf.cast(share * self.initial_samples, tf.int32)
            length = norm.distance(place, x)
            direction = boundary_direction(is_adversarial, place, length, samples, from_key, self.norm)
            direction = norm.step(tf.zeros_like(x), direction, 1.0)
            moved = longest_step(is_adversarial, place, direction, length / share)
            moved = to_boundary(is_adversarial, x, moved, self.norm)
            nearer = norm.distance(moved, x) < distance
            found, distance = select(nearer, moved, found), tf.where(nearer, norm.distance(moved, x), distance)
            return iteration + 1, moved, found, distance

        _, _, found, _ = tf.while_loop(unfinished, iterate, (1, found, found, distance))
        return tf.stop_gradient(norm.project(found, x, self.epsilon))

    def cost(self):
        directions = sum(int(math.sqrt(t) * self.initial_samples) for t in range(1, self.iterations + 1))
        calls = (self.starts + self.iterations) * (1 + MOST_BISECTIONS) + self.iterations * HALVINGS + directions
        return Cost(gradients=0, classifications=self.eot_samples * (1 + calls))

    def get_config(self):
        names = ("epsilon", "norm", "iterations", "initial_samples", "starts", "eot_samples")
        return {name: getattr(self, name) for name in names}


def majority_wrong(model_fn, x, labels, samples):
    """Return where more than half of several decisions are wrong, boolean `(n, 1, 1, 1)`."""

    def add_sample(index, wrong):
        return index + 1, wrong + tf.ensure_shape(tf.cast(~is_correct(model_fn(x), labels), tf.int32), labels.shape)

    _, wrong = tf.while_loop(lambda index, _: index < samples, add_sample, (0, tf.zeros_like(labels)))
    return per_image(2 * wrong > samples, x)


def nearest_start(is_adversarial, x, key, starts, norm="linf"):
    """Return an adversarial image on the decision boundary for each image, and its distance.

    Args:
        is_adversarial: function from images to boolean `(n, 1, 1, 1)`.
        x: float32 `(n, h, w, c)` in [0,1], the clean images.
        key: int32 `(2,)`, the random seed.
        starts: number of images that are tried: uniform noise, and other images of the batch, in turn.
        norm: key of `NORMS`. Defaults to `"linf"`.

    Returns:
        `(found, distance)`; the clean image and 0 where it is misclassified, the clean image and infinity where every
        start has the right class.
    """

    distance_to = NORMS[norm].distance

    def attempt(index, found, distance):
        noise_key, shift_key = tf.unstack(tf.random.split(tf.random.experimental.stateless_fold_in(key, index)))
        shift = tf.random.stateless_uniform((), shift_key, maxval=tf.shape(x)[0], dtype=tf.int32)
        start = tf.where(index % 2 == 0, tf.random.stateless_uniform(tf.shape(x), noise_key), tf.roll(x, shift, 0))
        wrong = is_adversarial(start)
        start = to_boundary(is_adversarial, x, select(wrong, start, x), norm)
        nearer = wrong & (distance_to(start, x) < distance)
        return index + 1, select(nearer, start, found), tf.where(nearer, distance_to(start, x), distance)

    distance = tf.where(is_adversarial(x), 0.0, float("inf"))
    _, found, distance = tf.while_loop(lambda index, *_: index < starts, attempt, (0, x, distance))
    return found, distance


def to_boundary(is_adversarial, x, far, norm="linf"):
    """Pull adversarial images towards the clean ones, as near as bisection finds them still adversarial.

    Args:
        is_adversarial: function from images to boolean `(n, 1, 1, 1)`.
        x: float32 `(n, h, w, c)`, the clean images.
        far: the adversarial images, of the same shape.

    Returns:
        float32 of the same shape: the projection of `far` onto the smallest adversarial ball that was found.
    """
    power, project, distance_to = TOLERANCES[norm], NORMS[norm].project, NORMS[norm].distance
    bisections = min(MOST_BISECTIONS, math.ceil(power * math.log2(max(2, math.prod(x.shape[1:])))))

    def bisect(index, low, high):
        middle = (low + high) / 2
        wrong = is_adversarial(project(far, x, middle))
        return index + 1, tf.where(wrong, low, middle), tf.where(wrong, middle, high)

    distance = distance_to(far, x)
    start = (0, tf.zeros_like(distance), distance)
    _, _, radius = tf.while_loop(lambda index, *_: index < bisections, bisect, start)
    return project(far, x, radius)


def boundary_direction(is_adversarial, place, distance, samples, key, norm="linf"):
    """Estimate the direction in which images on the boundary become adversarial (Eq. 9 and 16).

    Args:
        is_adversarial: function from images to boolean `(n, 1, 1, 1)`.
        place: float32 `(n, h, w, c)` in [0,1], images on the boundary.
        distance: float32 `(n, 1, 1, 1)`, their distance from the clean images.
        samples: number of random points nearby, an integer tensor.
        key: int32 `(2,)`, the random seed.

    Returns:
        float32 `(n, h, w, c)`, of any length.
    """
    size = distance / math.prod(place.shape[1:])

    def add_sample(index, signs, moves, signed_moves):
        drawn = drawn_direction(tf.shape(place), tf.random.experimental.stateless_fold_in(key, index), norm)
        nearby = tf.clip_by_value(place + size * drawn, 0.0, 1.0)
        move, sign = nearby - place, tf.where(is_adversarial(nearby), 1.0, -1.0)
        return index + 1, signs + sign, moves + move, signed_moves + sign * move

    zeros = tf.zeros_like(place)
    start = (0, tf.zeros_like(distance), zeros, zeros)
    _, signs, moves, signed_moves = tf.while_loop(lambda index, *_: index < samples, add_sample, start)
    mean = signs / tf.cast(samples, tf.float32)
    # the mean sign as a baseline reduces the variance; where all signs agree it would leave nothing
    return select(tf.abs(mean) < 1, signed_moves - mean * moves, signed_moves)


def drawn_direction(shape, key, norm):
    """Draw random directions: uniform in the cube for linf, uniform on the unit sphere for l2."""
    if norm == "linf":
        return tf.random.stateless_uniform(shape, key, -1.0, 1.0)
    drawn = tf.random.stateless_normal(shape, key)
    return drawn / l2_norm(drawn)


def longest_step(is_adversarial, place, direction, length):
    """Step along a direction by the first of `length`, half of it and so on that is adversarial, or not at all.

    Args:
        is_adversarial: function from images to boolean `(n, 1, 1, 1)`.
        place, direction: float32 `(n, h, w, c)`.
        length: float32 `(n, 1, 1, 1)`.

    Returns:
        float32 `(n, h, w, c)` in [0,1].
    """

    def attempt(index, moved, done):
        step = length / 2.0 ** tf.cast(index, tf.float32)
        candidate = tf.clip_by_value(place + step * direction, 0.0, 1.0)
        works = is_adversarial(candidate) & ~done
        return index + 1, select(works, candidate, moved), done | works

    def unfinished(index, moved, done):
        return (index < HALVINGS) & ~tf.reduce_all(done)

    _, moved, _ = tf.while_loop(unfinished, attempt, (0, place, tf.zeros_like(length, tf.bool)))
    return moved
