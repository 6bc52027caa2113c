"""Square attack: random search with squares, from scores alone (Andriushchenko et al. 2020).

The network is never differentiated, so zero, saturated or wrong gradients do not protect it.
"""

import keras
import tensorflow as tf

from rsr_tf.attacks.base import Attack, Cost
from rsr_tf.attacks.losses import logit_margin
from rsr_tf.attacks.norms import check_norm, per_image
from rsr_tf.attacks.selection import select
from rsr_tf.attacks.square_l2 import SMALLEST_SIDE, move_window, random_signs, tiled_start
from rsr_tf.validation import check_integers, renamed_argument

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after each of which the share of changed pixels is halved (the authors' schedule)."""


@renamed_argument("draws", "eot_samples")
class Square(Attack):
    """Square attack, adapted to random networks.

    In linf, the images start as vertical stripes of plus and minus epsilon. A query sets one square at a random place,
    in every colour channel, to plus or minus epsilon, and keeps the change if the margin of the label falls. In l2,
    they start as tiles, and a query moves the change of one square into another, see `rsr_tf.attacks.square_l2`.

    Two changes make it work under noise. A remembered margin would be the luckiest sample so far, which later
    candidates could hardly beat, so the kept image is scored again together with each candidate, in one call: if the
    network draws its noise once per call, both see the same noise. And one wrong sample does not end the search:
    an image is finished only after `confirmations` wrong samples in a row.

    Args:
        epsilon: radius of the ball; in linf in units of pixels in [0,1]. Defaults to 8/255.
        norm: `"linf"` (default) or `"l2"`.
        queries: candidates scored for an image, including the stripes. Each costs `eot_samples` classifications, twice
            as many with `rescore`. Defaults to 5000.
        p_init: share of the pixels in the first squares; AutoAttack's value. Defaults to 0.8.
        eot_samples: calls of the network over which a margin is averaged. Defaults to 1, which is enough for a
            network without noise; use more for a random network.
        rescore: score the kept image again with each candidate. `False` halves the cost and gives the same result for
            a network without noise; against a random one it makes the attack weak. Defaults to `True`.
        confirmations: wrong samples in a row after which an image counts as broken. Defaults to 20.

    Raises:
        ValueError: for an unknown `norm`, an `epsilon` that is not positive or, in linf, above 1, a `p_init` outside
            (0, 1], or an integer argument below 1.

    Example:
        >>> attack = rsr_tf.attacks.Square(epsilon=8 / 255, queries=20)
        >>> x_adv = attack(model_fn, x, y, seed=0)
        >>> bool(tf.reduce_max(tf.abs(x_adv - x)) <= 8 / 255 + 1e-6)
        True
    """

    name = "Square"
    description = "Black-box: sees class scores and no gradient; keeps the random squares that lower the accuracy."
    uses_gradients = False

    def __init__(
        self,
        *,
        epsilon=8 / 255,
        norm="linf",
        queries=5000,
        p_init=0.8,
        eot_samples=1,
        rescore=True,
        confirmations=20,
    ):
        check_norm(norm, epsilon=epsilon)
        if not 0 < p_init <= 1:
            raise ValueError(f"`p_init` must be in (0, 1]. Received: p_init={p_init}")
        check_integers(1, queries=queries, eot_samples=eot_samples, confirmations=confirmations)
        self.epsilon = float(epsilon)
        self.norm = norm
        self.queries = int(queries)
        self.p_init = float(p_init)
        self.eot_samples = int(eot_samples)
        self.rescore = bool(rescore)
        self.confirmations = int(confirmations)

    def __call__(self, model_fn, x, labels, *, seed=None):
        """Return adversarial images for a batch.

        Args:
            model_fn: function from images to logits; never differentiated.
            x: float32 `(n, h, w, c)` in [0,1].
            labels: integers `(n,)`, the true labels.
            seed: integer, `keras.random.SeedGenerator` or `None`, for stripes and squares.

        Returns:
            float32 `(n, h, w, c)` within `epsilon` of `x` and within [0,1]. Images that are misclassified in all of the
            first `confirmations` samples are returned unchanged.

        Raises:
            ValueError: for inputs of another rank, in which there are no squares.
        """
        x, labels = tf.convert_to_tensor(x, tf.float32), tf.convert_to_tensor(labels)
        if x.shape.rank != 4:
            raise ValueError(f"`x` must be of shape (n, h, w, c), as squares are painted. Received: shape {x.shape}")
        key = keras.random.randint((2,), 0, 2**31 - 1, dtype="int32", seed=seed)
        start, move = MOVES[self.norm]
        _, wrong = _score(model_fn, x, labels, self.confirmations)
        streak = tf.where(wrong, self.confirmations, 0)
        kept = select(per_image(wrong, x), x, start(x, self.epsilon, key))

        def unbroken(query, kept, margin, wrong, streak):
            return (query < self.queries) & tf.reduce_any(streak < self.confirmations)

        def step(query, kept, margin, wrong, streak):
            side = square_side(query, self.queries, self.p_init, x.shape, self.norm)
            candidate = move(kept, x, self.epsilon, side, tf.random.experimental.stateless_fold_in(key, query))
            if self.rescore:
                margins, wrongs = _score(model_fn, *_twice(kept, candidate, labels), self.eot_samples)
                (margin, new_margin), (wrong, new_wrong) = tf.split(margins, 2), tf.split(wrongs, 2)
            else:
                new_margin, new_wrong = _score(model_fn, candidate, labels, self.eot_samples)
            better = (new_margin < margin) & (streak < self.confirmations)
            wrong = tf.where(better, new_wrong, wrong)
            streak = tf.where(streak < self.confirmations, tf.where(wrong, streak + self.eot_samples, 0), streak)
            kept = select(per_image(better, x), candidate, kept)
            return query + 1, kept, tf.where(better, new_margin, margin), wrong, streak

        begin = (1, kept, *_score(model_fn, kept, labels, self.eot_samples), streak)
        _, x_adv, *_ = tf.while_loop(unbroken, step, begin)
        return tf.stop_gradient(x_adv)

    def cost(self):
        per_query = self.eot_samples * (2 if self.rescore else 1)
        return Cost(gradients=0, classifications=self.queries * per_query + self.confirmations)

    def get_config(self):
        return {
            "epsilon": self.epsilon,
            "norm": self.norm,
            "queries": self.queries,
            "p_init": self.p_init,
            "eot_samples": self.eot_samples,
            "rescore": self.rescore,
            "confirmations": self.confirmations,
        }


def changed_share(query, queries, p_init):
    """Compute the share of the pixels that a query changes: `p_init`, halved at `HALVINGS` (Section 3.2).

    Args:
        query: number of the query, an integer tensor.
        queries: total number of queries; the schedule is stretched to it.
        p_init: initial share, in (0, 1].

    Returns:
        float32 scalar.
    """
    of_10000 = tf.cast(query, tf.int64) * 10_000 // queries
    halvings = tf.reduce_sum(tf.cast(of_10000 > tf.constant(HALVINGS, tf.int64), tf.float32))
    return p_init / 2.0**halvings


def square_side(query, queries, p_init, shape, norm="linf"):
    """Compute the side of a query's square in images of shape `(n, h, w, c)`: pixels, from 1 to the image's side.

    In l2 it is odd, so that the square has a centre, and at least three, as far as the image allows.
    """
    _, height, width, _ = shape
    side = tf.cast(tf.round(tf.sqrt(changed_share(query, queries, p_init) * height * width)), tf.int32)
    if norm == "l2":
        side = tf.maximum(side, SMALLEST_SIDE) // 2 * 2 + 1
    return tf.clip_by_value(side, 1, min(height, width))


def stripes(x, epsilon, key):
    """Add stripes of plus or minus epsilon, one random sign for each image, column and channel; clip to [0,1]."""
    n, _, width, channels = x.shape
    return tf.clip_by_value(x + epsilon * random_signs((n, 1, width, channels), key), 0.0, 1.0)


def paint_square(kept, x, epsilon, side, key):
    """Set one square of each image to `x` plus or minus epsilon, clipped to [0,1].

    Args:
        kept: float32 `(n, h, w, c)`.
        x: the clean images, of the same shape.
        epsilon: change in the square, with one random sign for each image and channel.
        side: side of the square, an integer scalar; its place is uniform among those inside the image.
        key: int32 `(2,)`, the random seed.

    Returns:
        float32 `(n, h, w, c)`.
    """
    n, height, width, channels = x.shape
    top, left, sign = tf.unstack(tf.random.split(key, 3))
    in_rows = _interval(n, height, side, top)[:, :, tf.newaxis, tf.newaxis]
    in_columns = _interval(n, width, side, left)[:, tf.newaxis, :, tf.newaxis]
    painted = tf.clip_by_value(x + epsilon * random_signs((n, 1, 1, channels), sign), 0.0, 1.0)
    return select(in_rows & in_columns, painted, kept)


def _interval(n, length, side, key):
    """Return a mask `(n, length)` with `side` neighbouring `True`s in each row, at a uniform random place."""
    start = tf.random.stateless_uniform((n, 1), key, maxval=length - side + 1, dtype=tf.int32)
    place = tf.range(length)[tf.newaxis]
    return (place >= start) & (place < start + side)


MOVES = {"linf": (stripes, paint_square), "l2": (tiled_start, move_window)}
"""Start `(x, epsilon, key)` and move `(kept, x, epsilon, side, key)` of the search, by norm."""


def _score(model_fn, x, labels, eot_samples):
    """Return the margin of the label averaged over samples, and whether every sample is wrong; `(n,)` each."""

    def add_sample(index, total, wrong):
        margin = tf.ensure_shape(logit_margin(model_fn(x), labels), labels.shape)
        return index + 1, total + margin, wrong & (margin < 0)

    start = (0, tf.zeros(labels.shape), tf.ones(labels.shape, tf.bool))
    _, total, wrong = tf.while_loop(lambda index, *_: index < eot_samples, add_sample, start)
    return total / eot_samples, wrong


def _twice(first, second, labels):
    return tf.concat([first, second], axis=0), tf.concat([labels, labels], axis=0)
