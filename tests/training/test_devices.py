"""Training on several devices equals training on one: two virtual CPUs, in a process of their own (`devices.py`)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from helpers import compiled, tiny_network

import rsr_tf

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TESTS = Path(__file__).parent.parent


def measure(devices, folder):
    """Run the script, and return what it measured as a dict by name."""
    command = [sys.executable, TESTS / "devices.py", str(devices), str(folder), "quick"]
    output = subprocess.run(command, capture_output=True, text=True)
    assert output.returncode == 0, output.stderr[-2000:]
    lines = [json.loads(line) for line in output.stdout.splitlines() if line.startswith('{"name"')]
    return {line.pop("name"): line for line in lines}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """With two devices and noise; `python tests/devices.py 4 FOLDER` does the same with four, see docs/scale.md."""
    return measure(2, tmp_path_factory.mktemp("two"))


def test_weights_metrics_and_masks_are_those_of_one_device(measured):
    """Without batch normalization; the last batches of an epoch are small."""
    found = measured["channel"]
    assert found["weights"] <= 1e-6
    assert {"adversarial_accuracy", "val_adversarial_loss", "lasso"} <= set(found["metrics"])
    assert max(found["metrics"].values()) <= 1e-6
    assert found["masks"]
    assert found["sparsity"] == pytest.approx(0.7, abs=0.001)


@pytest.mark.parametrize("case", ["channel", "per replica"])
def test_all_devices_hold_the_same_network_and_zeros_stay(measured, case):
    """Moving statistics, masks and states of random numbers included; "per replica" has batch normalization."""
    assert measured[case]["replicas"]
    assert measured[case]["zeros stay"]


def test_random_starts_differ_between_devices_and_noise_of_weights_does_not(measured):
    assert measured["random"]["starts"] > 0.05  # two uniform numbers in [-0.1, 0.1]: 0.2 / sqrt(6) = 0.082
    assert measured["random"]["kernels"] == 0


def test_synchronized_batch_statistics_are_those_of_one_device(measured):
    """Within rounding, which the sums and squares of Keras' synchronized statistics have more of."""
    assert measured["synchronized"]["weights"] <= 1e-4
    assert measured["per replica"]["weights"] > 1e-3


def test_training_resumes_as_if_it_had_not_been_stopped(measured):
    assert measured["resumed"] == {"epochs": 2, "weights": 0}


def test_file_holds_the_network_of_all_devices(measured):
    assert measured["loaded"]["weights"] == 0


def test_run_trains_and_prunes_on_all_devices(measured):
    assert measured["run"]["replicas"] == 2
    assert measured["run"]["sparsity"] == pytest.approx(0.6, abs=0.01)
    assert measured["run"]["zeros stay"]


def test_warmup_with_synchronized_statistics_is_refused_on_several_devices(images, labels, monkeypatch):
    network = tiny_network(noise="none")
    network.layers[1].normalization.synchronized = True
    model = compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=rsr_tf.attacks.FGSM(), warmup_steps=3))
    strategy = tf.distribute.get_strategy()
    monkeypatch.setattr(type(strategy), "num_replicas_in_sync", 2)
    with pytest.raises(ValueError, match=r"`warmup_steps` must be 0 .* Received: warmup_steps=3"):
        model.train_step((images, labels))
