import pytest

from rsr_tf.evaluation.measurements import Measured
from rsr_tf.evaluation.probes import Spread


def measured(sizes=0.0, answers=0.0, gradients=0.0):
    path = {"clean images": Spread(0.0, 0.0, 0.0), "the end": Spread(answers, answers, gradients)}
    return Measured({"noise_on": {1: 0.0, 50: sizes}}, {"noise_on": path}, None, None, None)


@pytest.mark.parametrize(
    ("spreads", "random", "averaged"),
    [
        ({}, False, False),
        ({"sizes": 0.1}, True, True),
        ({"answers": 0.1}, True, True),  # noisy on the path alone
        ({"gradients": 0.1}, False, True),  # the answers repeat, so one prediction is enough
        ({"answers": 1e-6, "gradients": 1e-6}, False, False),
    ],
)
def test_network_is_random_by_its_answers_and_averaged_by_its_gradients_too(spreads, random, averaged):
    found = measured(**spreads)
    assert found.random == {"noise_on": random}
    assert found.averaged == {"noise_on": averaged}


def test_noise_of_answers_is_that_of_every_size_and_point():
    assert measured(sizes=0.1, answers=0.2).answers("noise_on") == {
        1: 0.0,
        50: 0.1,
        "clean images": 0.0,
        "the end": 0.2,
    }
