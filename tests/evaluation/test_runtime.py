import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.attacks.base import Cost
from rsr_tf.attacks.baselines import NoAttack
from rsr_tf.evaluation import TIERS, runtime
from rsr_tf.evaluation.suites import SUITES, Step, plan


def logits(x):
    return tf.stack([tf.reduce_sum(x, (1, 2, 3)), tf.reduce_max(x, (1, 2, 3))], axis=1)


def test_expected_seconds_count_gradients_classifications_and_graphs():
    class Attack(NoAttack):
        def cost(self):
            return Cost(gradients=88, classifications=0)

    steps = plan(SUITES["quick"], epsilon=0.1, random={"noise_on": True})[:1]
    steps.append(Step("attack", Attack(), "noise_on", "still_robust"))
    seconds = runtime.expected_seconds(
        steps,
        {"all": 200, "still_robust": 130},
        {"trace": 5.0, "gradient": 0.1, "classification": 0.01},
        batch_size=100,
        scorings=21,
    )
    assert seconds == pytest.approx(2 * 5.0 + 200 * 21 * 0.01 + 200 * (88 * 0.1 + 21 * 0.01))


def test_attack_on_nothing_takes_no_time_and_a_shared_graph_is_traced_once():
    steps = plan(SUITES["quick"], epsilon=0.1, random={"noise_on": True})
    speed = {"trace": 1.0, "gradient": 0.0, "classification": 0.0}
    sizes = {"all": 1, "checks": 1, "still_robust": 0}
    graphs = ["clean", "PGD-7", "FGSM", "short PGD", "noise", "short Square", "PGD, one draw", "restarts", "rescaled"]
    assert runtime.expected_seconds(steps, sizes, speed, batch_size=1, scorings=1) == len(graphs) < len(steps)


class Clock:
    """A clock that shows one more second, two more, and so on, each time that it is read."""

    def __init__(self):
        self.time, self.step = 0.0, 0.0

    def __call__(self):
        self.step += 1.0
        self.time += self.step
        return self.time


def test_speed_is_the_fastest_of_three_per_image_in_a_batch(monkeypatch, images):
    monkeypatch.setattr(runtime.time, "perf_counter", Clock())
    speed = runtime.measure_speed(logits, images, np.zeros(16, "int32"), batch_size=4)
    # durations: 2 s of the first attack, 4, 6 and 8 s of the next ones; 10, 12 and 14 s of the classifications
    assert speed == {"trace": 0.0, "gradient": 4 / 2 / 4, "classification": 10 / 4}


def test_speed_of_fewer_images_than_a_batch_is_that_of_all(monkeypatch, images):
    monkeypatch.setattr(runtime.time, "perf_counter", Clock())
    speed = runtime.measure_speed(logits, images[:2], np.zeros(2, "int32"), batch_size=50)
    assert speed["classification"] == 10 / 2


def test_trace_is_what_the_first_attack_takes_longer(monkeypatch, images):
    times = iter([0.0, 9.0, *(10.0 + second for second in range(12))])
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: next(times))
    speed = runtime.measure_speed(logits, images, np.zeros(16, "int32"), batch_size=1)
    assert speed == {"trace": 8.0, "gradient": 0.5, "classification": 1.0}


@pytest.mark.parametrize(("noise", "call_size"), [("shared", 26), ("per_image", 1)])
def test_expected_time_of_zoo_is_that_of_all_queries(monkeypatch, noise, call_size):
    """The clock advances by one second for each image that the network classifies."""
    seen = []
    monkeypatch.setattr(runtime.time, "monotonic", lambda: float(sum(seen)))

    def model_fn(x):
        seen.append(len(x))
        return logits(x)

    images = np.zeros((7, 2, 3, 1), "float32")
    settings = dataclasses.replace(TIERS[1], noise=noise)
    found = runtime.expected_zoo_seconds(model_fn, images, settings, call_size=26)
    assert found == pytest.approx(7 * (1 + 1000 * 13))
    assert set(seen) == {call_size}


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (5400, "90 min")])
def test_duration_is_in_seconds_or_minutes(seconds, text):
    assert runtime.duration(seconds) == text
