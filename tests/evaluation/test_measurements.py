import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.evaluation import State
from rsr_tf.evaluation.measurements import Measured, check_fingerprint, check_fingerprints
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


WEIGHTS = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")


def linear(noise=0.0, scale=1.0, last=None):
    """Return a linear network of four classes, with noise, and the last class masked by a constant."""

    def model_fn(x):
        logits = scale * tf.reshape(x, (-1, 64)) @ WEIGHTS
        logits += noise * tf.random.normal(tf.shape(logits))
        return logits if last is None else tf.where([True, True, True, False], logits, last)

    return model_fn


def check_twice(folder, first, second, images):
    """Check two networks in turn, as two processes do, and return whether the first is in the folder."""
    for network in (first, second):
        check_fingerprint(State(folder, {}), "net", network, images)
    return State(folder, {}).has("answers, net")


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("last", [None, -1e9, -np.inf, np.nan])
def test_network_with_a_masked_class_has_the_fingerprint_that_it_had(noise, last, tmp_path, images):
    network = linear(noise=noise, last=last)
    assert check_twice(tmp_path / "state", network, network, images)


@pytest.mark.parametrize("last", [-1e9, -np.inf])
@pytest.mark.parametrize("change", [{"scale": 1.1}, {"last": 0.0}, {"last": None}])
def test_network_other_than_the_masked_one_has_another_fingerprint(change, last, tmp_path, images):
    with pytest.raises(ValueError, match="belongs to another network: its logits differ"):
        check_twice(tmp_path / "state", linear(last=last), linear(**{"last": last, **change}), images)


def test_networks_without_a_folder_are_not_called(images):
    """A call would advance the random generator of a network's noise."""
    calls = []
    check_fingerprints(State(None, {}), {"net": lambda x: calls.append(x)}, images)
    assert calls == []
