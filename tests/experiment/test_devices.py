"""What a run refuses on several devices."""

import re

import pytest
from helpers import parse

from rsr_tf.errors import UserError
from rsr_tf.experiment import devices


@pytest.fixture
def three_devices(monkeypatch):
    class Strategy:
        num_replicas_in_sync = 3

    monkeypatch.setattr(devices, "choose_strategy", lambda name: Strategy())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.batch_size=128", "`training.batch_size` must be a multiple of the 3 devices"),
        ('training.precision="mixed_float16"', "`training.precision` must be float32 on 3 devices"),
        ('attack.overfitting_watch="warn"', "`attack.overfitting_watch` must be off on 3 devices"),
    ],
)
def test_what_was_not_tested_is_refused_in_one_line(three_devices, override, message):
    config = parse("", "training.batch_size=96", override)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        devices.build_strategy(config)
    assert "\n" not in str(caught.value)


def test_batch_that_the_devices_can_share_is_taken(three_devices):
    assert devices.build_strategy(parse("", "training.batch_size=96")).num_replicas_in_sync == 3
