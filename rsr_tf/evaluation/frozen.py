"""The network with its noise frozen to one draw that the attacker knows: what is left if the noise is foretold."""

import logging

import tensorflow as tf

from rsr_tf.evaluation import probes
from rsr_tf.evaluation.checks.network_checks import is_random
from rsr_tf.evaluation.runner import AttackRunner
from rsr_tf.evaluation.state import derived_seed
from rsr_tf.evaluation.suites import ALL_IMAGES, NOISE_FROZEN, NOISE_ON, SUITES, frozen_plan
from rsr_tf.evaluation.verdict import attack_rows, worst_case

log = logging.getLogger(__name__)


def freeze_noise(model_fn, reseed, seed):
    """Return a random network that repeats one draw of its noise at every call.

    Args:
        model_fn: see `rsr_tf.evaluation.as_model_fn`.
        reseed: function of an integer that restarts the noise of the network, also within a graph.
        seed: integer, which determines the draw.

    Returns:
        A `model_fn`; still random if `reseed` has no effect within a graph.
    """

    @tf.function
    def frozen(x):
        reseed(seed)
        return model_fn(x)

    return frozen


def attack_frozen(runner, parameters):
    """Attack a random network whose noise is frozen to one draw, the same for attack and answer.

    Args:
        runner: the `AttackRunner` of the random network.
        parameters: dict with `"suite"` and `"seed"`.

    Returns:
        A JSON-serializable dict: `"clean"` and `"worst_case"` as in the verdict, `"attacks"`, its rows, and `"seed"`,
        that of the draw; `None` if the noise cannot be frozen.
    """
    seed = derived_seed(parameters["seed"], NOISE_FROZEN)
    network = freeze_noise(runner.sources[NOISE_ON], runner.reseed, seed)
    if is_random(probes.noise_by_batch_size(network, runner.images, (runner.batch_size,))):
        log.info("the noise cannot be frozen: `reseed` does not restart it within a graph")
        return None
    alone = AttackRunner(
        {NOISE_FROZEN: network},
        {NOISE_FROZEN: network},
        runner.images,
        runner.labels,
        epsilon=runner.epsilon,
        norm=runner.norm,
        predictions={NOISE_FROZEN: 1},
        state=runner.state,
        batch_size=runner.batch_size,
        seed=runner.seed,
        reseed=runner.reseed,
    )
    steps = frozen_plan(SUITES[parameters["suite"]], epsilon=runner.epsilon, norm=runner.norm)
    alone.run_steps(steps, {ALL_IMAGES: len(runner.images)}, "frozen noise")
    clean = alone.results[0].scores[NOISE_FROZEN]
    return {
        "clean": clean.as_dict(),
        "worst_case": worst_case(alone.robust_accuracy(NOISE_FROZEN), alone.fresh_score(NOISE_FROZEN)),
        "attacks": [row for result in alone.results for row in attack_rows(result, len(runner.images))],
        "seed": seed,
    }
