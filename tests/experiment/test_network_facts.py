"""What a network weighs and costs."""

import numpy as np
import pytest
from helpers import tiny_network

import rsr_tf
from rsr_tf.experiment import network_facts as module
from rsr_tf.experiment.network_facts import network_facts


def test_parameters_are_those_without_noise_and_masks():
    model = tiny_network()
    stripped = rsr_tf.strip(model)
    found = network_facts(model)
    assert found["parameters"] == sum(int(np.prod(weight.shape)) for weight in stripped.weights)
    assert 4 * found["parameters"] == found["bytes"]["dense_bytes"]
    assert found["macs"] == 8 * 8 * 4 * 9 + 3 * 3 * 4 * 36 + 36 * 10


def test_noise_scale_is_the_mean_of_its_absolute_values():
    model = tiny_network()
    kernels = rsr_tf.layers.prunable_kernels(model)
    first = next(iter(kernels))
    kernels[first].alpha.assign([-0.4, 0.2, 0.0, 0.2])
    found = network_facts(model)["alpha"]
    assert [row["path"] for row in found] == list(kernels)
    assert found[0]["mean"] == pytest.approx(0.2)
    assert network_facts(tiny_network(noise="none"))["alpha"] == []


def test_network_that_fits_into_no_archive_has_no_bytes(monkeypatch):
    def refuse(model):
        raise ValueError("a Lambda layer")

    monkeypatch.setattr(module, "sizes", refuse)
    assert network_facts(tiny_network())["bytes"] is None
