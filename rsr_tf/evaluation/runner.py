"""Run attacks in sequence, score each on several networks, and keep the worst adversarial example per image.

A random network is scored by several predictions. An image counts as broken once any attack makes a majority of them
wrong. Selecting the worst of several noisy results is biased low: an image that is correct in six predictions of ten
can lose by chance under each attack. `fresh_score` re-evaluates with new noise, which removes the bias.
"""

import functools
import logging
import time
from dataclasses import dataclass

import numpy as np

from rsr_tf import progress
from rsr_tf.evaluation.attack_graphs import AttackGraphs
from rsr_tf.evaluation.attack_lines import attack_line, heading
from rsr_tf.evaluation.distances import ROUNDING, distances, rounding
from rsr_tf.evaluation.model_fn import as_graph, count_correct, in_batches, with_finite_pixels
from rsr_tf.evaluation.scores import MajorityScore
from rsr_tf.evaluation.state import derived_seed
from rsr_tf.evaluation.suites import ALL_IMAGES, STILL_ROBUST, stored_name

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AttackResult:
    """The result of one attack.

    Args:
        name: identifier of the attack.
        source: the network that the attack was crafted on.
        parameters: class and settings of the attack, JSON-serializable.
        index: integers `(m,)`, the images that were attacked.
        scores: dict from each network to its `MajorityScore` on the m adversarial images.
        robust_accuracy: dict from each network to the share of all images that were correct in a majority of
            predictions under this attack and every earlier one.
        distance: float `(m,)`, distance of each image from the clean one in the norm of the evaluation.
        low, high: float32 `(m,)`, smallest and largest pixel of each image.
        seconds: duration of the attack.
        subset: which images were attacked, one of `rsr_tf.evaluation.suites.ALL_IMAGES` (default), `CHECK_IMAGES` and
            `STILL_ROBUST`.
        uses_gradients: whether the attack uses gradients of the network. Defaults to `True`.
        kind: name and description of the attack, for the reader of a report. Defaults to empty strings.
    """

    name: str
    source: str
    parameters: dict
    index: np.ndarray
    scores: dict
    robust_accuracy: dict
    distance: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seconds: float
    subset: str = ALL_IMAGES
    uses_gradients: bool = True
    kind: tuple = ("", "")


class AttackRunner:
    """Runs and scores attacks on a network and its variants.

    Args:
        sources: dict from name to `model_fn`, see `rsr_tf.evaluation.as_model_fn`: the networks that can be attacked.
        targets: dict from name to `model_fn`: the networks that every adversarial image is scored on.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: integers `(n,)`.
        epsilon: radius, in units of pixels in [0,1]. Images further away, or outside [0,1], are scored but do not
            count as successful.
        predictions: dict from each target to its number of predictions per image.
        state: a `rsr_tf.evaluation.State`; every batch of every attack is one step of it.
        batch_size: images attacked at once.
        seed: integer; attack, batch and seed together determine the random numbers of the attack.
        reseed: function of an integer that restarts the noise of the networks. It is called before every batch, so that
            a resumed evaluation gives exactly the numbers of an uninterrupted one; it may do nothing.
        norm: `"linf"` (default) or `"l2"`.

    Attributes:
        results: list of `AttackResult`, in the order of the attacks.
        lowest: dict from each target to float `(n,)`: the smallest share of correct predictions of each image under
            any attack.
        worst: dict from each target to float32 `(n, h, w, c)`: the images that had this share.

    Example:
        >>> networks = {"noise_on": model_fn}
        >>> options = {"epsilon": 8 / 255, "predictions": {"noise_on": 20}, "batch_size": 8, "seed": 0}
        >>> state = rsr_tf.evaluation.State(None, {})
        >>> runner = rsr_tf.evaluation.AttackRunner(
        ...     networks, networks, images, labels, state=state, reseed=lambda seed: None, **options
        ... )
        >>> result = runner.run("FGSM", rsr_tf.attacks.FGSM(), source="noise_on", index=runner.still_robust)
        >>> result.name, len(result.index), 0 <= result.robust_accuracy["noise_on"] <= 1
        ('FGSM', 16, True)
    """

    def __init__(
        self,
        sources,
        targets,
        images,
        labels,
        *,
        epsilon,
        predictions,
        state,
        batch_size,
        seed,
        reseed,
        norm="linf",
    ):
        self.sources = {name: as_graph(model_fn) for name, model_fn in sources.items()}
        self.images, self.labels = np.asarray(images, np.float32), np.asarray(labels, np.int32)
        self.epsilon, self.norm = epsilon, norm
        self.predictions, self.state, self.seed = predictions, state, seed
        self.batch_size = min(batch_size, len(images))
        self.reseed = reseed
        self._graphs = AttackGraphs((self.batch_size, *self.images.shape[1:]))
        self.results = []
        self.lowest = {target: np.full(len(images), np.inf) for target in targets}
        self.worst = {target: self.images.copy() for target in targets}
        self._count = {
            target: in_batches(
                count_correct(as_graph(model_fn), predictions=predictions[target]), batch_size=self.batch_size
            )
            for target, model_fn in targets.items()
        }

    @property
    def still_robust(self):
        """Indices of the images that are still robust on any of the targets, integers."""
        return np.flatnonzero(np.any([lowest > 0.5 for lowest in self.lowest.values()], axis=0))

    def robust_accuracy(self, target):
        """Return the share of all images that a target classified correctly, by majority, under every attack."""
        return float(np.mean(self.lowest[target] > 0.5))

    def run(self, name, attack, *, source, index, subset=ALL_IMAGES, task=None):
        """Attack some images, score them on every target, and store the result.

        Args:
            name: identifier of the attack, unique for each source.
            attack: callable `(model_fn, x, labels, *, seed) -> x_adv` with a `get_config`.
            source: name of the network to attack.
            index: integers `(m,)`, the images to attack.
            subset: which images these are, for the `AttackResult`. Defaults to all.
            task: a `rsr_tf.progress.Task` that is told of every batch. Defaults to `None`.

        Returns:
            An `AttackResult`, or `None` if there is no image to attack.
        """
        if not len(index):
            return None
        craft = self._graphs.crafter(attack, source, self.sources[source])
        batches = [index[start : start + self.batch_size] for start in range(0, len(index), self.batch_size)]
        steps = [f"{name}, {stored_name(source)}, {number}" for number in range(len(batches))]

        def attack_batch(number):
            if task:
                task.within(number / len(batches), f"{name} on {source}")
            return self._attack(craft, batches[number], steps[number])

        work = {step: functools.partial(attack_batch, number) for number, step in enumerate(steps)}
        self.state.share(work)
        parts = []
        for step, batch in zip(steps, batches, strict=True):
            waiting = functools.partial(_tell_of_another, task, step)
            parts.append(self.state.once(step, work[step], self._expected(len(batch)), waiting))
            self._keep_worst(batch, parts[-1], step)
        found = {key: np.concatenate([part[key] for part in parts]) for key in ("distance", "low", "high")}
        hits = {
            target: np.concatenate([part[f"hits {stored_name(target)}"] for part in parts]) for target in self.lowest
        }
        result = AttackResult(
            name=name,
            source=source,
            parameters={"attack": type(attack).__name__, **attack.get_config()},
            index=index,
            scores={target: MajorityScore(hits[target], self.predictions[target]) for target in self.lowest},
            robust_accuracy={target: self.robust_accuracy(target) for target in self.lowest},
            seconds=float(sum(part["seconds"] for part in parts)),
            subset=subset,
            uses_gradients=getattr(attack, "uses_gradients", True),
            kind=(getattr(attack, "name", type(attack).__name__), getattr(attack, "description", "")),
            **found,
        )
        self.results.append(result)
        log.info("%s", attack_line(result))
        return result

    def run_steps(self, steps, sizes, title="suite"):
        """Run attacks in order.

        Args:
            steps: list of `rsr_tf.evaluation.suites.Step`.
            sizes: dict from `ALL_IMAGES` and `CHECK_IMAGES` to the number of images.
            title: what the attacks are, for whoever shows the progress. Defaults to `"suite"`.
        """
        costs = [1 + sum(step.attack.cost()) * sizes.get(step.subset, len(self.images)) for step in steps]
        log.info("%s", heading(self.lowest))
        with progress.task("attack", len(steps), title=title, weights=costs) as task:
            for step in steps:
                index = self.still_robust if step.subset == STILL_ROBUST else np.arange(sizes[step.subset])
                started, options = time.monotonic(), {"source": step.source, "subset": step.subset}
                result = self.run(step.name, step.attack, index=index, task=task, **options)
                read = result is None or time.monotonic() - started < result.seconds / 2  # by an earlier process
                task.advance(new=not read)

    def add_source(self, name, model_fn):
        """Add a network that can be attacked."""
        self.sources[name] = as_graph(model_fn)

    def fresh_score(self, target):
        """Return the `MajorityScore` of the worst adversarial images under new noise, which did not select them."""

        def compute():
            self.reseed(derived_seed(self.seed, f"fresh {stored_name(target)}"))
            return {"hits": self._count[target](self.worst[target], self.labels)}

        expected = {"hits": ("iu", self.labels.shape)}
        found = self.state.once(f"fresh draws, {stored_name(target)}", compute, expected)
        return MajorityScore(found["hits"], self.predictions[target])

    def _attack(self, craft, batch, step):
        """Return the adversarial images of one batch and their scores on each target, to be stored in the state."""
        started, seed = time.monotonic(), derived_seed(self.seed, step)
        x, y = self.images[batch], self.labels[batch]
        self.reseed(seed)
        x_adv = with_finite_pixels(craft(x, y, seed), x).numpy()
        hits = {target: count(x_adv, y) for target, count in self._count.items()}
        pixels = (1, 2, 3)
        distance, low, high = distances(x_adv, x, self.norm), x_adv.min(pixels), x_adv.max(pixels)
        allowed = (distance <= self.epsilon + rounding(self.epsilon)) & (low >= -ROUNDING) & (high <= 1 + ROUNDING)
        lowered = [hits[target] / self.predictions[target] < lowest[batch] for target, lowest in self.lowest.items()]
        kept = allowed & (distance > 0) & np.any(lowered, axis=0)
        return {
            **{f"hits {stored_name(target)}": count for target, count in hits.items()},
            **{"distance": distance, "low": low, "high": high, "allowed": allowed},
            **{"kept": kept, "x_adv": x_adv[kept], "seconds": time.monotonic() - started},
        }

    def _expected(self, count):
        """Return what `_attack` stores of a batch of `count` images."""
        hits = {f"hits {stored_name(target)}": ("iu", (count,)) for target in self.lowest}
        distances = dict.fromkeys(("distance", "low", "high"), ("f", (count,)))
        flags = dict.fromkeys(("allowed", "kept"), ("b", (count,)))
        return {**hits, **distances, **flags, "x_adv": ("f", (None, *self.images.shape[1:])), "seconds": ("f", ())}

    def _keep_worst(self, batch, found, step):
        if len(found["x_adv"]) != found["kept"].sum():
            raise ValueError(f"cannot read {self.state.path(step)}: its arrays x_adv and kept do not fit")
        kept_images = self.images[batch].copy()
        kept_images[found["kept"]] = found["x_adv"]
        for target, lowest in self.lowest.items():
            share = found[f"hits {stored_name(target)}"] / self.predictions[target]
            lower = found["allowed"] & (share < lowest[batch])
            lowest[batch[lower]] = share[lower]
            self.worst[target][batch[lower]] = kept_images[lower]


def _tell_of_another(task, step):
    log.info("%sanother process has %s", f"{task.position}: " if task else "", step)
