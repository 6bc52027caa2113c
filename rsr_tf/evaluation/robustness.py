"""A whole evaluation: every attack of a suite, with noise on and off, the checks, and the verdict."""

import hashlib
import logging
import time
from dataclasses import dataclass

import numpy as np

from rsr_tf.evaluation import probes, runtime
from rsr_tf.evaluation.checks import Evidence, run_checks
from rsr_tf.evaluation.checks.attack_checks import accuracy_by_epsilon
from rsr_tf.evaluation.frozen import attack_frozen
from rsr_tf.evaluation.inputs import draw_test_images
from rsr_tf.evaluation.measurements import Measured, check_fingerprint, measure
from rsr_tf.evaluation.model_fn import rescaled, with_gradient_path
from rsr_tf.evaluation.radii import check_radius
from rsr_tf.evaluation.runner import AttackRunner
from rsr_tf.evaluation.state import State, derived_seed
from rsr_tf.evaluation.substitute import MOST_IMAGES, train_substitute
from rsr_tf.evaluation.suites import (
    ALL_IMAGES,
    CHECK_IMAGES,
    NOISE_OFF,
    NOISE_ON,
    RESCALED,
    RESERVED,
    SUBSTITUTE,
    SUITES,
    Suite,
    further_plan,
    plan,
    stored_name,
    twin_plan,
)
from rsr_tf.evaluation.verdict import make_verdict, worst_case
from rsr_tf.validation import check_integers, checked, renamed_argument

log = logging.getLogger(__name__)


@renamed_argument("draws", "predictions")
@renamed_argument("n", "num_images")
def run_suite(
    model_fn,
    images,
    labels,
    *,
    suite="quick",
    epsilon=8 / 255,
    norm="linf",
    stripped_fn=None,
    twins=None,
    num_images=None,
    predictions=20,
    ensemble=1,
    batch_size=50,
    seed=0,
    state=None,
    identity=None,
    reseed=None,
):
    """Attack a network with all attacks of a suite, check the evaluation itself, and return the verdict.

    Every attack is crafted on the network and, if given, on the same network without its noise; both are scored on all
    adversarial images. An image that any attack breaks within epsilon counts as broken. A stopped evaluation resumes
    after its last finished batch when it is called again with the same `state`.

    Args:
        model_fn: function from float32 `(n, h, w, c)` in [0,1] to logits; see `rsr_tf.evaluation.as_model_fn`.
        images: float32 `(total, h, w, c)` in [0,1].
        labels: integers `(total,)`, the true labels.
        suite: one of `rsr_tf.choices.SUITES`. Defaults to `"quick"`.
        epsilon: radius of the ball, in units of pixels in [0,1]. Defaults to 8/255.
        norm: `"linf"` (default) or `"l2"`, the norm of the ball.
        stripped_fn: the network without its noise, or `None`. Defaults to `None`.
        twins: dict from name to `model_fn`: networks like this one, but with gradients that can be trusted, such as
            `rsr_tf.layers.float_twin` of a quantized one. After the other attacks, those by gradients are crafted on
            each twin too, and scored on `model_fn` and `stripped_fn`. Defaults to `None`, for no twins.
        num_images: number of test images, drawn by `seed`. Defaults to that of the suite, or all if there are fewer.
        predictions: predictions of a random network per image, K. Defaults to 20.
        ensemble: draws that each prediction is the mean of, see `rsr_tf.attacks.ensemble` and `Suite.for_ensemble`.
            Defaults to 1.
        batch_size: images attacked at once. Defaults to 50.
        seed: integer, for the choice of images and the attacks. Defaults to 0.
        state: path of a folder where finished steps are kept, or `None` (default).
        identity: JSON-serializable value stored with the state, such as a hash of the weights. Raises if it differs
            from the stored one, or if the outputs of the network have changed by more than its noise.
        reseed: function of an integer that restarts the noise of the networks, so that a resumed evaluation gives
            exactly the numbers of an uninterrupted one, and the noise can be frozen to one draw. `None` (default) does
            not restart it.

    Returns:
        The verdict as a JSON-serializable dict; see `rsr_tf.evaluation.make_verdict`.

    Raises:
        ValueError: for an unknown suite or norm; an `epsilon` that is not positive or above the largest distance of two
            images (1 in linf, the root of h w c in l2); a `num_images`, `predictions`, `ensemble` or `batch_size` below
            1; images outside [0,1]; images and labels of unequal number; the state of another evaluation; a twin with
            the name of another network.

    Example:
        >>> stripped_fn = rsr_tf.as_model_fn(rsr_tf.strip(model))
        >>> verdict = rsr_tf.evaluation.run_suite(model_fn, images, labels, stripped_fn=stripped_fn)  # doctest: +SKIP
        >>> print(verdict["sentence"])  # doctest: +SKIP
    """
    started = time.monotonic()
    twins = twins or {}
    counts = {"num_images": num_images, "predictions": predictions, "ensemble": ensemble, "batch_size": batch_size}
    _check(suite=suite, twins=twins, **counts)
    images, labels = checked(images, labels)
    if images.ndim != 4:
        raise ValueError(
            "`images` must be of shape (n, h, w, c), as attacks of a suite paint squares. For other inputs, use "
            f"`evaluate_whitebox`. Received: shape {images.shape}"
        )
    largest = check_radius(epsilon, norm, images.shape[1:])
    chosen = draw_test_images(len(images), num_images or SUITES[suite].num_images, seed=seed)
    parameters = {
        **{"suite": suite, "epsilon": float(epsilon), "norm": norm, "num_images": len(chosen)},
        **{"predictions": int(predictions), "seed": seed, "batch_size": int(min(batch_size, len(chosen)))},
        **({"twins": list(twins)} if twins else {}),
        **({"ensemble": int(ensemble)} if ensemble > 1 else {}),
    }
    networks = {NOISE_ON: model_fn} | ({} if stripped_fn is None else {NOISE_OFF: stripped_fn})
    networks = {name: with_gradient_path(network) for name, network in networks.items()}
    evaluation = _prepare(
        *(networks, images[chosen], labels[chosen], parameters),
        twins={name: with_gradient_path(twin) for name, twin in twins.items()},
        largest=largest,
        others=images[np.append(np.setdiff1d(np.arange(len(images)), chosen), chosen)[:MOST_IMAGES]],
        state=state,
        identity=identity,
        reseed=reseed or (lambda seed: None),
    )
    _attack(evaluation)
    frozen = attack_frozen(evaluation.runner, parameters) if reseed and evaluation.measured.random[NOISE_ON] else None
    return _summarize(evaluation, chosen=chosen, frozen=frozen, started=started)


@dataclass(frozen=True)
class _Evaluation:
    """An evaluation that is ready to attack.

    Args:
        parameters: the arguments that go into the verdict.
        suite: the `Suite`, with the calls of an ensemble.
        largest: largest distance of two images in the norm.
        measured: a `Measured`.
        steps: list of `Step`.
        sizes: dict from `ALL_IMAGES` and `CHECK_IMAGES` to the number of images.
        expected_seconds: shortest and longest expected duration: if the first attacks break every image, and if none
            breaks any.
        runner: an `AttackRunner`.
        others: float32 `(m, h, w, c)`, images that are not attacked, followed by those that are.
    """

    parameters: dict
    suite: Suite
    largest: float
    measured: Measured
    steps: list
    sizes: dict
    expected_seconds: list
    runner: AttackRunner
    others: np.ndarray


def _prepare(networks, images, labels, parameters, *, twins, largest, others, state, identity, reseed):
    """Measure the networks, plan the attacks and report how long they take."""
    suite = SUITES[parameters["suite"]].for_ensemble(parameters.get("ensemble", 1))
    batch_size, seed = parameters["batch_size"], parameters["seed"]
    ball = {name: parameters[name] for name in ("epsilon", "norm")}
    longest = _steps(suite, ball, largest, dict.fromkeys(networks, True), twins)
    kept = State(state, {**parameters, "network": identity, **_fixed(longest, images, labels)})
    kept.before_step = lambda name: reseed(derived_seed(seed, name))  # whoever does it, and whatever was done before
    measured = measure(kept, networks, images, labels, batch_size=batch_size, seed=seed, **ball)
    for name, twin in twins.items():
        check_fingerprint(kept, name, twin, images)
    scale = probes.logit_scale(measured.logits)
    runner = AttackRunner(
        networks | {RESCALED: rescaled(networks[NOISE_ON], scale)} | twins,
        networks,
        images,
        labels,
        predictions={name: parameters["predictions"] if is_noisy else 1 for name, is_noisy in measured.random.items()},
        state=kept,
        batch_size=batch_size,
        seed=seed,
        reseed=reseed,
        **ball,
    )
    steps = _steps(suite, ball, largest, measured.averaged, twins)
    sizes = {ALL_IMAGES: len(images), CHECK_IMAGES: min(suite.num_check_images, len(images))}
    speed = runtime.measure_speed(networks[NOISE_ON], images, labels, batch_size=batch_size)
    expected = runtime.shortest_and_longest(steps, sizes, speed, runner)
    log.info(
        "suite %s, %d images, %d attacks: %s to %s, by how many images break early",
        *(parameters["suite"], len(images), len(steps), *map(runtime.duration, expected)),
    )
    return _Evaluation(parameters, suite, largest, measured, steps, sizes, expected, runner, others)


def _steps(suite, ball, largest, random, twins):
    """List the steps of an evaluation, those on twins last; `random` is a dict from each network."""
    return plan(suite, random=random, largest=largest, **ball) + twin_plan(
        suite, random=random[NOISE_ON], twins=twins, **ball
    )


def _attack(evaluation):
    """Run every step of an evaluation and, if attacks by scores are blind or a check fails, attacks that need less."""
    evaluation.runner.run_steps(evaluation.steps, evaluation.sizes)
    failed = [check.name for check in run_checks(_evidence(evaluation)) if not check.passed]
    if failed or evaluation.measured.queries.blind:
        reasons = "; ".join(failed) or "none, but attacks by scores are blind"
        log.info("failed checks: %s. Attacking by decisions and from a substitute too", reasons)
        _attack_further(evaluation)


def _attack_further(evaluation):
    """Run the attacks that use neither gradients nor scores of the network."""
    runner, parameters = evaluation.runner, evaluation.parameters
    network, seed = runner.sources[NOISE_ON], derived_seed(parameters["seed"], SUBSTITUTE)
    if len(runner.still_robust):
        runner.reseed(seed)
        noise = probes.largest_change(runner.epsilon, runner.norm, evaluation.others)
        substitute = train_substitute(network, evaluation.others, epsilon=noise, seed=seed)
        runner.add_source(SUBSTITUTE, substitute)
    options = {"epsilon": runner.epsilon, "norm": runner.norm, "random": evaluation.measured.random[NOISE_ON]}
    steps = further_plan(evaluation.suite, **options)
    runner.run_steps(steps, evaluation.sizes, "further attacks")


def _evidence(evaluation):
    measured = evaluation.measured
    return Evidence(
        noise=measured.noise,
        along_path=measured.along_path,
        logits=measured.logits,
        zero_gradients=measured.zero_gradients,
        queries=measured.queries,
        twins=tuple(evaluation.parameters.get("twins", ())),
        results=evaluation.runner.results,
        epsilon=evaluation.parameters["epsilon"],
        num_check_images=evaluation.sizes[CHECK_IMAGES],
        norm=evaluation.parameters["norm"],
        largest=evaluation.largest,
    )


def _summarize(evaluation, *, chosen, frozen, started):
    """Run the checks and return the verdict.

    Args:
        evaluation: an `_Evaluation` whose attacks have run.
        chosen: indices of the test images.
        frozen: dict of `attack_frozen`, or `None`.
        started: time at which the evaluation started, of `time.monotonic`.
    """
    runner, measured, parameters = evaluation.runner, evaluation.measured, evaluation.parameters
    evidence = _evidence(evaluation)
    parameters = {
        **parameters,
        "images": chosen.tolist(),
        "random": measured.random,
        "random_gradients": measured.random_gradients,
        "noise": {name: max(measured.answers(name).values()) for name in measured.noise},
        "expected_seconds": evaluation.expected_seconds,
        "seconds": time.monotonic() - started,
    }
    verdict = make_verdict(
        runner.results,
        run_checks(evidence),
        {name: worst_case(runner.robust_accuracy(name), runner.fresh_score(name)) for name in measured.noise},
        curve=accuracy_by_epsilon(evidence),
        parameters=parameters,
        frozen=frozen,
    )
    log.info("%s", verdict["sentence"])
    return verdict


def _check(*, suite, twins, num_images, **counts):
    if suite not in SUITES:
        raise ValueError(f"`suite` must be one of {tuple(SUITES)}. Received: suite={suite!r}")
    if not set(twins).isdisjoint(RESERVED):
        raise ValueError(f"`twins` must have names other than {RESERVED}. Received: {tuple(twins)}")
    check_integers(1, num_images=1 if num_images is None else num_images, **counts)


def _fixed(steps, images, labels):
    """Return what identifies an evaluation besides its parameters: all attacks with their settings, images, labels."""
    digests = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in (("x", images), ("y", labels))}
    return {
        "table": {f"{step.name}, {stored_name(step.source)}": step.attack.get_config() for step in steps},
        "test_images": digests["x"],
        "test_labels": digests["y"],
    }
