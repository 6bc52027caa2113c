"""Square attack in the linf ball: random search by squares, from scores alone (Andriushchenko et al. 2020).

Nothing is differentiated, so a network whose gradients are zero, saturated or wrong gains nothing by them.
"""

import keras
import tensorflow as tf

from rsr_tf.attacks.margin import logit_margin

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after each of which the share of changed pixels is halved (the authors' schedule)."""


class Square:
    """Square attack in the linf ball, with the noise of a random network taken into account.

    The images start as vertical stripes of plus and minus epsilon. A query sets one square at a random place, in every
    colour channel, to plus or minus epsilon, and keeps it if the margin of the label falls.

    Under noise a remembered margin is a trap: the luckiest draw so far is what every later image would have to beat,
    and the search stands still. So the kept image is scored anew beside each candidate, in one call and thus under one
    draw where a draw is shared by the batch: what decides is the difference that the square makes. And one draw that
    is wrong ends nothing: an image is left alone only when `confirmations` draws in a row were wrong.

    Args:
        epsilon: radius of the ball, in units of pixels in [0,1]. Defaults to 8/255.
        queries: candidates scored for an image, the stripes among them. Each costs `draws` classifications, and as
            many again with `rescore`. Defaults to 5000.
        p_init: share of the pixels in the first squares; AutoAttack's value. Defaults to 0.8.
        draws: calls of the network over which a margin is averaged. Defaults to 1, which suffices for a network
            without noise; a random network may deserve more.
        rescore: score the kept image anew beside each candidate. `False` halves the work for a network without noise
            and changes nothing there; it makes the attack weak against a random one. Defaults to `True`.
        confirmations: wrong draws in a row after which an image counts as broken. Defaults to 20.

    Raises:
        ValueError: for an `epsilon` or a `p_init` outside (0, 1], or a number below 1.

    Example:
        >>> attack = Square(epsilon=8 / 255, queries=1000)
        >>> x_adv = attack(model_fn, x, y, seed=0)
    """

    def __init__(self, *, epsilon=8 / 255, queries=5000, p_init=0.8, draws=1, rescore=True, confirmations=20):
        for name, value in (("epsilon", epsilon), ("p_init", p_init)):
            if not 0 < value <= 1:
                raise ValueError(f"`{name}` must be in (0, 1]. Received: {name}={value}")
        for name, value in (("queries", queries), ("draws", draws), ("confirmations", confirmations)):
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value}")
        self.epsilon = float(epsilon)
        self.queries = queries
        self.p_init = float(p_init)
        self.draws = draws
        self.rescore = bool(rescore)
        self.confirmations = confirmations

    def __call__(self, model_fn, x, labels, *, seed=None):
        """Adversarial images for a batch.

        Args:
            model_fn: function from images to logits; never differentiated.
            x: float32 `(n, h, w, c)` in [0,1].
            labels: integers `(n,)`, the true labels.
            seed: integer, `keras.random.SeedGenerator` or `None`, for stripes and squares.

        Returns:
            float32 `(n, h, w, c)` within `epsilon` of `x` and within [0,1]. Images that are wrong in `confirmations`
            draws to begin with are returned as they came.
        """
        x, labels = tf.convert_to_tensor(x, tf.float32), tf.convert_to_tensor(labels)
        key = keras.random.randint((2,), 0, 2**31 - 1, dtype="int32", seed=seed)
        _, wrong = _score(model_fn, x, labels, self.confirmations)
        streak = tf.where(wrong, self.confirmations, 0)
        kept = tf.where(_per_image(wrong), x, stripes(x, self.epsilon, key))

        def unbroken(query, kept, margin, wrong, streak):
            return (query < self.queries) & tf.reduce_any(streak < self.confirmations)

        def step(query, kept, margin, wrong, streak):
            side = square_side(query, self.queries, self.p_init, x.shape)
            candidate = paint_square(kept, x, self.epsilon, side, tf.random.experimental.stateless_fold_in(key, query))
            if self.rescore:
                margins, wrongs = _score(model_fn, *_twice(kept, candidate, labels), self.draws)
                (margin, new_margin), (wrong, new_wrong) = tf.split(margins, 2), tf.split(wrongs, 2)
            else:
                new_margin, new_wrong = _score(model_fn, candidate, labels, self.draws)
            better = (new_margin < margin) & (streak < self.confirmations)
            wrong = tf.where(better, new_wrong, wrong)
            streak = tf.where(streak < self.confirmations, tf.where(wrong, streak + self.draws, 0), streak)
            kept = tf.where(_per_image(better), candidate, kept)
            return query + 1, kept, tf.where(better, new_margin, margin), wrong, streak

        start = (1, kept, *_score(model_fn, kept, labels, self.draws), streak)
        _, x_adv, *_ = tf.while_loop(unbroken, step, start)
        return tf.stop_gradient(x_adv)

    def get_config(self):
        return {
            "epsilon": self.epsilon,
            "queries": self.queries,
            "p_init": self.p_init,
            "draws": self.draws,
            "rescore": self.rescore,
            "confirmations": self.confirmations,
        }


def changed_share(query, queries, p_init):
    """Share of the pixels that a query changes: `p_init`, halved at `HALVINGS` (Section 3.2 of the paper).

    Args:
        query: number of the query, an integer tensor.
        queries: how many there will be; the schedule is stretched to it.
        p_init: share at the beginning, in (0, 1].

    Returns:
        float32 scalar.
    """
    of_10000 = tf.cast(query, tf.int64) * 10_000 // queries
    halvings = tf.reduce_sum(tf.cast(of_10000 > tf.constant(HALVINGS, tf.int64), tf.float32))
    return p_init / 2.0**halvings


def square_side(query, queries, p_init, shape):
    """Side of the square of a query in images of shape `(n, h, w, c)`, in pixels; at least 1, at most the image."""
    _, height, width, _ = shape
    side = tf.round(tf.sqrt(changed_share(query, queries, p_init) * height * width))
    return tf.clip_by_value(tf.cast(side, tf.int32), 1, min(height, width))


def stripes(x, epsilon, key):
    """`x` plus vertical stripes of plus or minus epsilon, one sign for each image, column and channel, cut to [0,1]."""
    n, _, width, channels = x.shape
    return tf.clip_by_value(x + epsilon * _signs((n, 1, width, channels), key), 0.0, 1.0)


def paint_square(kept, x, epsilon, side, key):
    """Images with one square of theirs set to `x` plus or minus epsilon, cut to [0,1].

    Args:
        kept: float32 `(n, h, w, c)`.
        x: the clean images, of the same shape.
        epsilon: what is added to `x` in the square, with one random sign for each image and channel.
        side: side of the square, an integer scalar; its place is drawn evenly among those inside the image.
        key: int32 `(2,)`, seed of the draw.

    Returns:
        float32 `(n, h, w, c)`.
    """
    n, height, width, channels = x.shape
    top, left, sign = tf.unstack(tf.random.split(key, 3))
    in_rows = _interval(n, height, side, top)[:, :, tf.newaxis, tf.newaxis]
    in_columns = _interval(n, width, side, left)[:, tf.newaxis, :, tf.newaxis]
    painted = tf.clip_by_value(x + epsilon * _signs((n, 1, 1, channels), sign), 0.0, 1.0)
    return tf.where(in_rows & in_columns, painted, kept)


def _interval(n, length, side, key):
    """Boolean `(n, length)`: `side` neighbours in each row, their place drawn evenly."""
    start = tf.random.stateless_uniform((n, 1), key, maxval=length - side + 1, dtype=tf.int32)
    place = tf.range(length)[tf.newaxis]
    return (place >= start) & (place < start + side)


def _signs(shape, key):
    return 2 * tf.cast(tf.random.stateless_uniform(shape, key, maxval=2, dtype=tf.int32), tf.float32) - 1


def _score(model_fn, x, labels, draws):
    """Margin of the label averaged over draws, and whether every draw is wrong; float32 and boolean `(n,)`."""

    def draw(index, total, wrong):
        margin = tf.ensure_shape(logit_margin(model_fn(x), labels), labels.shape)
        return index + 1, total + margin, wrong & (margin < 0)

    start = (0, tf.zeros(labels.shape), tf.ones(labels.shape, tf.bool))
    _, total, wrong = tf.while_loop(lambda index, *_: index < draws, draw, start)
    return total / draws, wrong


def _twice(first, second, labels):
    return tf.concat([first, second], axis=0), tf.concat([labels, labels], axis=0)


def _per_image(flags):
    """`(n,)` as `(n, 1, 1, 1)`."""
    return flags[:, tf.newaxis, tf.newaxis, tf.newaxis]
