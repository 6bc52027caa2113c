"""One attack after the other against a network: crafted on one, scored on several, each image's worst one kept.

A random network is scored by several draws of its noise. An image counts as broken once a majority of them is wrong
under any attack; whoever asks for `left` attacks only the others further. That counts luck for the attacker: an image
that is right in six draws of ten has as many chances to lose as there are attacks. `fresh_score` takes that back.
"""

import functools
import logging
import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from rsr_tf.attacks.losses import is_correct
from rsr_tf.evaluation.model_fn import in_batches
from rsr_tf.evaluation.scores import RepeatedScore
from rsr_tf.evaluation.state import derived_seed

log = logging.getLogger(__name__)

ROUNDING = 1e-6
"""What float32 may add to a distance or a pixel without breaking the rules."""


@dataclass(frozen=True)
class Trial:
    """What came of one attack.

    Args:
        name: of the attack.
        source: the network that it was crafted on.
        parameters: of the attack, as plain values.
        index: integers `(m,)`, the images that were attacked.
        scores: dict from each network to its `RepeatedScore` on the m adversarial images.
        withstood: dict from each network to the share of all images that were right in a majority of draws under this
            attack and every one before it.
        distance: float32 `(m,)`, linf distance of each image from the clean one.
        low, high: float32 `(m,)`, smallest and largest pixel of each image.
        seconds: what it took.
        on: which images these are: `"all"`, those of the `"checks"`, or those that were `"left"`. Defaults to `"all"`.
    """

    name: str
    source: str
    parameters: dict
    index: np.ndarray
    scores: dict
    withstood: dict
    distance: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seconds: float
    on: str = "all"


class Bench:
    """Where attacks are tried on a network and its variants.

    Args:
        sources: dict from name to `model_fn`: the networks that can be attacked.
        targets: dict from name to `model_fn`: the networks that every adversarial image is scored on.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: integers `(n,)`.
        epsilon: linf radius, in units of pixels in [0,1]. Images further away, or outside [0,1], are scored, but break
            nothing.
        draws: dict from each target to the number of times it classifies an image.
        state: a `rsr_tf.evaluation.state.State`; every batch of every attack is a step of it.
        batch_size: images attacked at once.
        seed: integer; attack, batch and seed together make the random numbers of the attack.
        reseed: function of an integer that restarts the noise of the networks, called before every batch, so that a
            stopped evaluation gives the very numbers of an unstopped one. One that does nothing leaves it alone.

    Attributes:
        trials: list of `Trial`, in their order.
        lowest: dict from each target to float `(n,)`: the smallest share of right draws of each image under any attack.
        worst: dict from each target to float32 `(n, h, w, c)`: the images that this was seen on.
    """

    def __init__(self, sources, targets, images, labels, *, epsilon, draws, state, batch_size, seed, reseed):
        self.sources = {name: _graph(model_fn) for name, model_fn in sources.items()}
        self.images, self.labels = np.asarray(images, np.float32), np.asarray(labels, np.int32)
        self.epsilon, self.draws, self.state, self.seed = epsilon, draws, state, seed
        self.batch_size = min(batch_size, len(images))
        self.reseed = reseed
        self.trials = []
        self.lowest = {target: np.full(len(images), np.inf) for target in targets}
        self.worst = {target: self.images.copy() for target in targets}
        self._count = {
            target: in_batches(count_right(_graph(model_fn), draws=draws[target]), batch_size=self.batch_size)
            for target, model_fn in targets.items()
        }

    @property
    def left(self):
        """The images that are still robust on any of the targets, as integers."""
        return np.flatnonzero(np.any([lowest > 0.5 for lowest in self.lowest.values()], axis=0))

    def withstood(self, target):
        """The share of all images that one target classified right, in a majority of draws, under every attack."""
        return float(np.mean(self.lowest[target] > 0.5))

    def run(self, name, attack, *, source, index, on="all"):
        """Attack some images, score them on every target, and remember it.

        Args:
            name: of the attack; no two of the same source may share it.
            attack: callable `(model_fn, x, labels, *, seed) -> x_adv` with a `get_config`.
            source: name of the network to attack.
            index: integers `(m,)`, the images to attack.
            on: which images these are, for the `Trial`. Defaults to `"all"`.

        Returns:
            A `Trial`, or `None` where there is nothing to attack.
        """
        if not len(index):
            return None
        craft = self._crafter(attack, self.sources[source])
        batches = [index[start : start + self.batch_size] for start in range(0, len(index), self.batch_size)]
        parts = []
        for number, batch in enumerate(batches):
            step = f"{name}, {source}, {number}"
            parts.append(self.state.once(step, lambda batch=batch, step=step: self._attack(craft, batch, step)))
            self._keep_worst(batch, parts[-1])
        found = {key: np.concatenate([part[key] for part in parts]) for key in ("distance", "low", "high")}
        hits = {target: np.concatenate([part[f"hits {target}"] for part in parts]) for target in self.lowest}
        trial = Trial(
            name=name,
            source=source,
            parameters={"attack": type(attack).__name__, **attack.get_config()},
            index=index,
            scores={target: RepeatedScore(hits[target], self.draws[target]) for target in self.lowest},
            withstood={target: self.withstood(target) for target in self.lowest},
            seconds=float(sum(part["seconds"] for part in parts)),
            on=on,
            **found,
        )
        self.trials.append(trial)
        log.info("%s", _progress(trial))
        return trial

    def fresh_score(self, target):
        """A `RepeatedScore` of each image's worst adversarial image, with noise that had no part in choosing it."""

        def compute():
            self.reseed(derived_seed(self.seed, f"fresh {target}"))
            return {"hits": self._count[target](self.worst[target], self.labels)}

        return RepeatedScore(self.state.once(f"fresh draws, {target}", compute)["hits"], self.draws[target])

    def _crafter(self, attack, model_fn):
        generator = keras.random.SeedGenerator(0)
        shape = (self.batch_size, *self.images.shape[1:])

        @functools.cache  # traced when first called: an attack whose batches are all in the state needs no graph
        def graph():
            attack_batch = tf.function(lambda x, y: attack(model_fn, x, y, seed=generator), autograph=False)
            return attack_batch.get_concrete_function(tf.TensorSpec(shape), tf.TensorSpec(shape[:1], tf.int32))

        def craft(x, y, seed):
            generator.state.assign([seed, 0])
            return in_batches(graph(), batch_size=self.batch_size)(x, y)

        return craft

    def _attack(self, craft, batch, step):
        """Adversarial images of one batch and what each target makes of them: all that the state has to know."""
        started, seed = time.monotonic(), derived_seed(self.seed, step)
        x, y = self.images[batch], self.labels[batch]
        self.reseed(seed)
        x_adv = craft(x, y, seed)
        x_adv = np.where(np.isfinite(x_adv), x_adv, x)  # a NaN in the gradient saves no pixel but its own
        hits = {target: count(x_adv, y) for target, count in self._count.items()}
        pixels = (1, 2, 3)
        distance, low, high = np.abs(x_adv - x).max(pixels), x_adv.min(pixels), x_adv.max(pixels)
        allowed = (distance <= self.epsilon + ROUNDING) & (low >= -ROUNDING) & (high <= 1 + ROUNDING)
        lowered = [hits[target] / self.draws[target] < lowest[batch] for target, lowest in self.lowest.items()]
        kept = allowed & (distance > 0) & np.any(lowered, axis=0)
        return {
            **{f"hits {target}": count for target, count in hits.items()},
            **{"distance": distance, "low": low, "high": high, "allowed": allowed},
            **{"kept": kept, "x_adv": x_adv[kept], "seconds": time.monotonic() - started},
        }

    def _keep_worst(self, batch, found):
        kept_images = self.images[batch].copy()
        kept_images[found["kept"]] = found["x_adv"]
        for target, lowest in self.lowest.items():
            share = found[f"hits {target}"] / self.draws[target]
            lower = found["allowed"] & (share < lowest[batch])
            lowest[batch[lower]] = share[lower]
            self.worst[target][batch[lower]] = kept_images[lower]


def count_right(model_fn, *, draws):
    """In how many of several calls a network is right, as one graph.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`; a random one draws new noise at every call.
        draws: number of calls.

    Returns:
        A function `(x, y) -> int32 (n,)`.
    """

    @tf.function
    def count(x, y):
        def draw(index, hits):
            return index + 1, hits + tf.cast(is_correct(model_fn(x), y), tf.int32)

        _, hits = tf.while_loop(lambda index, _: index < draws, draw, (0, tf.zeros_like(y)))
        return hits

    return count


def _graph(model_fn):
    """A network as a graph of its own, made once for all attacks; its Python may branch on tensors, an attack's not."""
    return tf.function(lambda x: model_fn(x))


def _progress(trial):
    shares = ", ".join(
        f"{target}: {score.accuracy:.1%} of {score.n} right, {trial.withstood[target]:.1%} of all withstood so far"
        for target, score in trial.scores.items()
    )
    return f"{trial.name} on {trial.source}; {shares}; {trial.seconds:.0f} s"
