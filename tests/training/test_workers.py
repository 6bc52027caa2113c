"""Two processes that train together are one that trains alone: on this machine, by `workers.py`."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rsr_tf.experiment.run_folder import RunFolder

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TESTS = Path(__file__).parent.parent


def start(*arguments, count=2):
    """Start Python in several processes that know each other."""
    port = random.SystemRandom().randrange(20000, 50000)
    workers = [f"localhost:{port + index}" for index in range(count)]
    processes = []
    for index in range(count):
        config = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        environment = {**os.environ, **({"TF_CONFIG": config} if count > 1 else {})}
        command = [sys.executable, *map(str, arguments)]
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, env=environment, **options))
    return processes


def wait_for(processes):
    """Wait for processes, and return the code and the last lines of each."""
    try:
        lines = [process.communicate(timeout=300)[1][-2000:] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], lines


def run_workers(folder, *cases, count=2):
    """Run the script in several processes, and return what each case ended with, by process."""
    processes = start(TESTS / "workers.py", folder, *cases, count=count)
    codes, errors = wait_for(processes)
    assert codes == [0] * count, errors[0]
    names = range(count) if count > 1 else ["alone"]
    return {case: [dict(np.load(folder / f"{case}-{name}.npz")) for name in names] for case in cases}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    two, alone = run_workers(folder, "none"), run_workers(folder, "none", count=1)
    return {case: [*two[case], *alone[case]] for case in two}


def test_workers_end_with_the_same_bits(ended):
    chief, worker, _ = ended["none"]
    assert chief.keys() == worker.keys()
    for name in chief:
        np.testing.assert_array_equal(chief[name], worker[name], err_msg=name)


def test_workers_end_with_the_weights_of_one_process_with_the_same_batches(ended):
    """After 40 steps with pruning, a last batch of 24 images in each epoch, and one of 1 image in validation."""
    chief, _, alone = ended["none"]
    assert chief.keys() == alone.keys()
    for name in chief:
        np.testing.assert_allclose(chief[name].astype(float), alone[name].astype(float), atol=1e-6, err_msg=name)


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
