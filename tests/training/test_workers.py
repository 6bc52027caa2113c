"""Two processes that train together are one that trains alone: on this machine, by `workers.py`."""

from pathlib import Path

import numpy as np
import pytest
from worker_processes import start, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TESTS = Path(__file__).parent.parent


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
