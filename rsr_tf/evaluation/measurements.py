"""What a suite measures before it attacks. Every measurement is a step of the state, so it is made once."""

from dataclasses import asdict, astuple, dataclass, replace

import numpy as np
import tensorflow as tf

from rsr_tf.evaluation import probes
from rsr_tf.evaluation.checks.network_checks import is_random
from rsr_tf.evaluation.suites import NOISE_ON, stored_name

FINGERPRINT_IMAGES, FINGERPRINT_CALLS, FINGERPRINT_SIGMAS = 8, 20, 8.0


@dataclass(frozen=True)
class Measured:
    """The measurements of an evaluation.

    Args:
        noise: dict from each network to its noise by batch size, see `probes.noise_by_batch_size`.
        along_path: dict from each network to its `probes.Spread` by point, see `probes.POINTS`.
        logits: float `(m, classes)`, outputs of the network for some clean images.
        zero_gradients: float `(m,)`, the share of zeros in the gradient of each of these images.
        queries: the `probes.Queries` of the network.
    """

    noise: dict
    along_path: dict
    logits: np.ndarray
    zero_gradients: np.ndarray
    queries: probes.Queries

    def answers(self, name):
        """Return the noise of a network wherever it was measured, as a dict from batch size or point to the noise."""
        return self.noise[name] | {point: spread.answers for point, spread in self.along_path[name].items()}

    @property
    def random(self):
        """Dict from each network to whether its answers are random."""
        return {name: is_random(self.answers(name)) for name in self.noise}

    @property
    def random_gradients(self):
        """Dict from each network to whether its gradients are random."""
        return {
            name: is_random({point: spread.gradients for point, spread in spreads.items()})
            for name, spreads in self.along_path.items()
        }

    @property
    def averaged(self):
        """Dict from each network to whether attacks must average over calls: its answers or gradients are random."""
        gradients = self.random_gradients
        return {name: is_noisy or gradients[name] for name, is_noisy in self.random.items()}


def measure(state, networks, images, labels, *, epsilon, batch_size, seed, norm="linf"):
    """Measure networks, or read what an earlier process measured.

    Args:
        state: a `rsr_tf.evaluation.State`.
        networks: dict from name to `model_fn`, see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(n, h, w, c)` in [0,1].
        labels: integers `(n,)`.
        epsilon: radius of the ball, in units of pixels in [0,1].
        batch_size: images in a call of the attacks.
        seed: integer.
        norm: norm of the ball. Defaults to `"linf"`.

    Returns:
        A `Measured`.

    Raises:
        ValueError: if the state belongs to another network.
    """
    for name, network in networks.items():
        check_fingerprint(state, name, network, images)
    noise = {name: _noise(state, name, network, images, batch_size) for name, network in networks.items()}
    count = len(images[:100])
    first = state.once(
        "logits and gradients",
        lambda: _outputs(networks[NOISE_ON], images[:100], labels[:100]),
        {"logits": ("f", (count, None)), "zeros": ("f", (count,))},
    )
    options = {"epsilon": epsilon, "norm": norm, "seed": seed}
    along_path = {
        name: _along_path(state, name, network, images, labels, batch_size=batch_size, **options)
        for name, network in networks.items()
    }
    measured = Measured(noise, along_path, first["logits"], first["zeros"], queries=None)
    options["random"] = measured.random[NOISE_ON]
    found = state.once("queries", lambda: asdict(probes.ask_queries(networks[NOISE_ON], images, labels, **options)))
    return replace(measured, queries=probes.Queries(**found))


def _noise(state, name, network, images, batch_size):
    """Return the noise by batch size.

    The size of the evaluation is measured first, because TensorFlow then keeps a separate graph for it.
    """
    sizes = dict.fromkeys((batch_size, 2 * batch_size, *probes.CALL_SIZES))  # a call of Square has two batches
    found = state.once(
        f"noise, {stored_name(name)}",
        lambda: {"spreads": list(probes.noise_by_batch_size(network, images, sizes).values())},
        {"spreads": ("f", (len(sizes),))},
    )
    return dict(zip(sizes, found["spreads"].tolist(), strict=True))


def _outputs(model_fn, images, labels):
    return {
        "logits": np.nan_to_num(model_fn(tf.constant(images))),
        "zeros": probes.zero_gradients(model_fn, images, labels),
    }


def _along_path(state, name, network, images, labels, **options):
    found = state.once(
        f"noise along the path, {stored_name(name)}",
        lambda: {
            "spreads": [astuple(spread) for spread in probes.spread_along_path(network, images, labels, **options)]
        },
        {"spreads": ("f", (len(probes.POINTS), 3))},
    )
    spreads = [probes.Spread(*row) for row in found["spreads"].tolist()]
    return dict(zip(probes.POINTS, spreads, strict=True))


def check_fingerprint(state, name, network, images):
    """Check that the logits of a network differ from the stored ones by no more than the noise of both explains.

    Args:
        state: a `rsr_tf.evaluation.State`.
        name: name of the network.
        network: `model_fn`, see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(n, h, w, c)` in [0,1].

    Raises:
        ValueError: if the state belongs to another network.
    """
    step = f"answers, {stored_name(name)}"
    resumed = state.has(step)

    def answers():
        mean, variance = probes.mean_logits(network, images[:FINGERPRINT_IMAGES], calls=FINGERPRINT_CALLS)
        return {"mean": mean, "variance": variance}

    stored = state.once(step, answers, dict.fromkeys(("mean", "variance"), ("f", (None, None))))
    if resumed:
        now = answers()
        if any(stored[name].shape != now[name].shape for name in now):
            raise ValueError(f"cannot read {state.path(step)}: it holds the logits of another network. Remove it")
        if not _agree(stored, now):
            raise ValueError(
                f"the state in {state.folder} belongs to another network: its logits differ. "
                "Choose another folder, or remove it"
            )


def _agree(stored, now):
    """Return whether noise explains the difference of two fingerprints. A masked class has a logit of -inf in both."""
    mean, before = now["mean"], stored["mean"]
    rounding = 1e-3 * probes.unmasked(np.nan_to_num(mean), ()).std()
    chance = np.sqrt((stored["variance"] + now["variance"]) / FINGERPRINT_CALLS) + rounding
    with np.errstate(invalid="ignore"):  # inf - inf
        near = np.abs(mean - before) <= FINGERPRINT_SIGMAS * chance
    return np.all(near | np.isclose(mean, before, rtol=0, atol=0, equal_nan=True))


def check_fingerprints(state, networks, images):
    """Check the networks of an evaluation that is kept in a folder, which a state without one needs no check for.

    Args:
        state, images: as for `check_fingerprint`.
        networks: dict from name to `model_fn`.

    Raises:
        ValueError: if the state belongs to another network.
    """
    for name, network in networks.items() if state.folder is not None else ():
        check_fingerprint(state, name, network, images)
