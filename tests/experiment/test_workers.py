"""Two processes that train one run by the command, on this machine."""

import time

import pytest
from worker_processes import start, wait_for

from rsr_tf.experiment.run_folder import RunFolder

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_run_whose_worker_was_killed_is_resumed_by_both(tmp_path):
    """The variables of the optimizer, which the checkpoint needs, are created by both at once."""
    changes = ["training.devices=all", "training.epochs=2", "training.batch_size=256", "attack.steps=1"]
    changes += ["model.width=0.125", "undefended.epochs=0"]
    command = ["-m", "rsr_tf.cli", "train", "quickstart", *(word for each in changes for word in ("--set", each))]
    chief, worker = start(*command, "--output", tmp_path)
    while chief.poll() is None and not (tmp_path / "checkpoints" / "train-0001.keras").exists():
        time.sleep(0.01)
    worker.kill()
    codes, errors = wait_for([chief, worker])
    assert codes[0] == 75, errors[0]
    codes, errors = wait_for(start(*command, "--output", tmp_path))
    assert codes == [0, 0], errors[0]
    assert [row["epoch"] for row in RunFolder(tmp_path).read_history()] == ["0", "1"]
