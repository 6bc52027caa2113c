"""Which strategy a training gets, and what is refused."""

import json

import pytest
import tensorflow as tf

from rsr_tf.training import distribution
from rsr_tf.training.cluster import Cluster
from rsr_tf.training.distribution import choose_strategy, peers
from rsr_tf.training.peers import Peers


@pytest.mark.parametrize("devices", ["one", "all"])
def test_one_device_needs_no_strategy(devices):
    assert choose_strategy(devices) is tf.distribute.get_strategy()


def test_unknown_devices_are_refused():
    with pytest.raises(ValueError, match=r"`devices` must be one of \('one', 'all'\). Received: devices='two'"):
        choose_strategy("two")


def test_cluster_of_one_process_needs_no_strategy(monkeypatch):
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}})
    )
    assert choose_strategy("all") is tf.distribute.get_strategy()


def test_process_of_a_cluster_has_one_device_if_it_asks_for_one(monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    assert choose_strategy("one") is tf.distribute.get_strategy()
    assert peers().cluster.count == 1


def test_cluster_has_to_be_joined_before_anything_else(monkeypatch):
    """TensorFlow has been used by this process."""
    tf.constant(1)
    monkeypatch.setattr(distribution, "Peers", lambda cluster: Peers(Cluster()))
    monkeypatch.setattr(distribution, "_joined", [])
    distribution._of_workers.cache_clear()
    with pytest.raises(ValueError, match="call `choose_strategy` before anything else of TensorFlow"):
        distribution._of_workers(Cluster(("localhost:1", "localhost:2"), 0))


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": {"worker": 1}}'])
def test_unreadable_cluster_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG must be a JSON object"):
        choose_strategy("all")
