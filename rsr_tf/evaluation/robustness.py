"""A whole evaluation: every attack of a suite, noise on and off, the checks, and the verdict."""

import hashlib
import logging
import time
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from rsr_tf.attacks.baselines import NoAttack
from rsr_tf.evaluation import probes
from rsr_tf.evaluation.checks import attack_checks as checks
from rsr_tf.evaluation.checks.comparisons import accuracy_by_epsilon, attack_checks, network_checks
from rsr_tf.evaluation.inputs import draw_test_images
from rsr_tf.evaluation.runner import Bench
from rsr_tf.evaluation.state import State
from rsr_tf.evaluation.suites import (
    SUITES,
    basic_attacks,
    check_attacks,
    claim_attacks,
    papers_attack,
)
from rsr_tf.evaluation.verdict import make_verdict, worst_case
from rsr_tf.validation import checked

log = logging.getLogger(__name__)

FINGERPRINT_IMAGES, FINGERPRINT_DRAWS, FINGERPRINT_SIGMAS = 8, 20, 8.0


@dataclass(frozen=True)
class Step:
    """One attack of an evaluation: on which network, and on which images: `"all"`, `"checks"` or those `"left"`."""

    name: str
    attack: object
    source: str
    on: str


def run_suite(
    model_fn,
    images,
    labels,
    *,
    suite="quick",
    epsilon=8 / 255,
    stripped_fn=None,
    n=None,
    draws=20,
    batch_size=50,
    seed=0,
    state=None,
    identity=None,
    reseed=None,
):
    """Attack a network by everything a suite has, check the evaluation itself, and say what may be claimed.

    Every attack is crafted on the network and, if there is one, on the same network without its noise; all adversarial
    images are shown to both. What any attack breaks within epsilon is broken. A long evaluation can be stopped: with
    the same `state` the same call goes on after the last finished batch.

    Args:
        model_fn: function from float32 `(n, h, w, c)` in [0,1] to logits; see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(total, h, w, c)` in [0,1].
        labels: integers `(total,)`, the true ones.
        suite: one of `rsr_tf.choices.SUITES`. Defaults to `"quick"`.
        epsilon: radius of the linf ball, in units of pixels in [0,1]. Defaults to 8/255.
        stripped_fn: the network without its noise, or `None`. Defaults to `None`.
        n: number of test images, drawn by `seed`. Defaults to that of the suite, or all if there are fewer.
        draws: how often a random network classifies each image, K. Defaults to 20.
        batch_size: images attacked at once. Defaults to 50.
        seed: integer, for the choice of images and the attacks. Defaults to 0.
        state: path of a folder where finished steps are kept; `None` keeps nothing.
        identity: plain value that goes with the state, such as a hash of the weights: a changed one is refused. A
            network that answers otherwise than it did is refused anyway, as far as its noise lets it be told.
        reseed: function of an integer that restarts the noise of the networks; with it a stopped evaluation ends with
            the very numbers of an unstopped one. `None` leaves the noise alone.

    Returns:
        The verdict as a dict of plain values; see `rsr_tf.evaluation.make_verdict`.

    Raises:
        ValueError: for an unknown suite, an `epsilon` outside (0, 1], `draws`, `n` or `batch_size` below 1, images
            outside [0,1] or not as many as labels, or a state of another evaluation.

    Example:
        >>> verdict = run_suite(as_model_fn(model), images, labels, stripped_fn=as_model_fn(rsr_tf.strip(model)))
        >>> print(verdict["sentence"])
    """
    _check(suite=suite, epsilon=epsilon, n=n, draws=draws, batch_size=batch_size)
    images, labels = checked(images, labels)
    started, reseed = time.monotonic(), reseed or _leave_alone
    chosen = draw_test_images(len(images), n or SUITES[suite].images, seed=seed)
    images, labels, count = images[chosen], labels[chosen], len(chosen)
    batch_size = min(batch_size, count)
    networks = {"network": model_fn} | ({} if stripped_fn is None else {"stripped": stripped_fn})
    networks = {name: probes.with_gradient_path(network) for name, network in networks.items()}
    parameters = {"suite": suite, "epsilon": epsilon, "norm": "linf", "n": count, "draws": draws, "seed": seed}
    parameters["batch_size"] = batch_size
    table = plan(suite, epsilon=epsilon, random=dict.fromkeys(networks, True))
    kept = State(state, {**parameters, "network": identity, **_fixed(table, images, labels)})

    reseed(seed)
    for name, network in networks.items():
        _check_fingerprint(kept, name, network, images)
    noise = {name: _noise(kept, name, network, images, batch_size) for name, network in networks.items()}
    random = {name: checks.is_random(spreads) for name, spreads in noise.items()}
    seen = kept.once("logits and gradients", lambda: _look(networks["network"], images[:100], labels[:100]))

    steps = plan(suite, epsilon=epsilon, random=random)
    sizes = {"all": count, "checks": min(SUITES[suite].check_images, count)}
    draws_of = {name: draws if is_random else 1 for name, is_random in random.items()}
    speed = probes.speed(networks["network"], images, labels, batch_size=batch_size)
    expected = [
        expected_seconds(steps, sizes | {"left": left}, speed, batch_size=batch_size, scorings=sum(draws_of.values()))
        for left in (0, count)
    ]
    log.info(
        "suite %s, %d images, %d attacks: about %s if the first ones break every image, %s if none breaks any",
        *(suite, count, len(steps), *map(_duration, expected)),
    )
    bench = Bench(
        networks | {"rescaled": probes.rescaled(networks["network"], probes.logit_scale(seen["logits"]))},
        networks,
        images,
        labels,
        epsilon=epsilon,
        draws=draws_of,
        state=kept,
        batch_size=batch_size,
        seed=seed,
        reseed=reseed,
    )
    for step in steps:
        index = bench.left if step.on == "left" else np.arange(sizes[step.on])
        bench.run(step.name, step.attack, source=step.source, index=index, on=step.on)

    parameters |= {
        "images": chosen.tolist(),
        "random": random,
        "noise": {name: spreads[batch_size] for name, spreads in noise.items()},
        "expected_seconds": expected,
        "seconds": time.monotonic() - started,
    }
    verdict = make_verdict(
        bench.trials,
        network_checks(noise, seen) + attack_checks(bench.trials, epsilon, sizes["checks"]),
        {name: worst_case(bench.withstood(name), bench.fresh_score(name)) for name in networks},
        curve=accuracy_by_epsilon(bench.trials, epsilon, sizes["checks"]),
        parameters=parameters,
    )
    log.info("%s", verdict["sentence"])
    return verdict


def plan(suite, *, epsilon, random):
    """The attacks of an evaluation in their order: the paper's on all images, and those of the checks, since what they
    break needs no other attack; then those of the claim on what is left.

    Args:
        suite, epsilon: as for `run_suite`.
        random: dict from each network to whether it is random.

    Returns:
        A list of `Step`.
    """
    steps = [Step("clean", NoAttack(), "network", "all")]
    steps += [Step("PGD-7, as in the paper", papers_attack(epsilon), source, "all") for source in random]
    for source, is_random in random.items():
        attacks = basic_attacks(suite, epsilon=epsilon, random=is_random)
        steps += [Step(name, attack, source, "checks") for name, attack in attacks.items()]
    compared = check_attacks(suite, epsilon=epsilon, random=random["network"])
    steps += [Step(name, attack, "network", "checks") for name, attack in compared.items()]
    steps.append(Step("PGD, one draw", compared["PGD, one draw"], "rescaled", "checks"))
    for source, is_random in random.items():
        attacks = claim_attacks(suite, epsilon=epsilon, random=is_random)
        steps += [Step(name, attack, source, "left") for name, attack in attacks.items()]
    return steps


def expected_seconds(steps, sizes, speed, *, batch_size, scorings):
    """How long an evaluation takes.

    Args:
        steps: list of `Step`.
        sizes: dict from what a step is on to the number of images.
        speed: of `rsr_tf.evaluation.probes.speed`.
        batch_size: images attacked at once; a short batch costs as much as a full one.
        scorings: how often an adversarial image is classified, over all networks.

    Returns:
        Seconds.
    """
    total = 0.0
    for step in (step for step in steps if sizes[step.on]):
        gradients, classifications = step.attack.cost()
        per_image = gradients * speed["gradient"] + (classifications + scorings) * speed["classification"]
        filled = -(-sizes[step.on] // batch_size) * batch_size
        total += speed["trace"] + filled * per_image
    return total


def _check(*, suite, epsilon, n, draws, batch_size):
    if suite not in SUITES:
        raise ValueError(f"`suite` must be one of {tuple(SUITES)}. Received: suite={suite!r}")
    if not 0 < epsilon <= 1:
        raise ValueError(f"`epsilon` must be in (0, 1]. Received: epsilon={epsilon}")
    for name, value in (("n", 1 if n is None else n), ("draws", draws), ("batch_size", batch_size)):
        if not (isinstance(value, int) and value >= 1):
            raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value}")


def _leave_alone(seed):
    """The noise of a network that cannot be restarted, or need not."""


def _fixed(steps, images, labels):
    """What else makes two evaluations the same: the attacks with all their parameters, the images and the labels."""
    digests = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in (("x", images), ("y", labels))}
    return {
        "table": {f"{step.name}, {step.source}": step.attack.get_config() for step in steps},
        "test_images": digests["x"],
        "test_labels": digests["y"],
    }


def _noise(state, name, network, images, batch_size):
    """The noise by batch size; the evaluation's own size first, which TensorFlow then keeps a graph of its own for."""
    sizes = dict.fromkeys((batch_size, 2 * batch_size, *probes.CALL_SIZES))  # Square asks about two batches at once
    found = state.once(
        f"noise, {name}",
        lambda: {"spreads": list(probes.noise_by_batch_size(network, images, sizes).values())},
    )
    return dict(zip(sizes, found["spreads"].tolist(), strict=True))


def _look(model_fn, images, labels):
    return {
        "logits": np.nan_to_num(model_fn(tf.constant(images))),
        "zeros": probes.zero_gradients(model_fn, images, labels),
    }


def _check_fingerprint(state, name, network, images):
    """Refuse a state whose network answered otherwise than this one: further off than the noise of both explains."""
    step = f"answers, {name}"
    again = state.has(step)

    def look():
        mean, variance = probes.mean_logits(network, images[:FINGERPRINT_IMAGES], draws=FINGERPRINT_DRAWS)
        return {"mean": mean, "variance": variance}

    then = state.once(step, look)
    if again:
        now = look()
        chance = np.sqrt((then["variance"] + now["variance"]) / FINGERPRINT_DRAWS) + 1e-3 * now["mean"].std()
        if not np.all(np.abs(now["mean"] - then["mean"]) <= FINGERPRINT_SIGMAS * chance):
            raise ValueError(
                f"the state in {state.folder} belongs to another network: its logits were others. "
                "Choose another folder, or remove it"
            )


def _duration(seconds):
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
