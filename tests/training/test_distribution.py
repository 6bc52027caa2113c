"""Which strategy a training gets, and what is refused."""

import json

import pytest
import tensorflow as tf

from rsr_tf.training.distribution import choose_strategy


@pytest.mark.parametrize("devices", ["one", "all"])
def test_one_device_needs_no_strategy(devices):
    assert choose_strategy(devices) is tf.distribute.get_strategy()


def test_unknown_devices_are_refused():
    with pytest.raises(ValueError, match=r"`devices` must be one of \('one', 'all'\). Received: devices='two'"):
        choose_strategy("two")


def test_several_hosts_are_refused(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}}))
    with pytest.raises(ValueError, match=r"on one host only. Received: a cluster of 3 processes in TF_CONFIG"):
        choose_strategy("all")
    assert choose_strategy("one") is tf.distribute.get_strategy()


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": {"worker": 1}}'])
def test_unreadable_cluster_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG must be a JSON object"):
        choose_strategy("all")
