import subprocess
import sys
import threading

import pytest
import tensorflow as tf

from rsr_tf.data import reading_errors
from rsr_tf.data.reading import Calls
from rsr_tf.data.stored import ImageError

LIVE_AT_THE_END = """
import time
import numpy as np
from rsr_tf.data import Split, StoredImages, training_batches

class Slow:
    def read(self, number):
        time.sleep(0.01)
        return np.zeros((8, 8, 3), "uint8")

split = Split(StoredImages(Slow(), np.arange(100)), np.arange(100))
stream = iter(training_batches(split, batch_size=50, seed=0))
next(stream)
print("done")
"""


def test_error_of_a_graph_that_is_not_of_an_image_passes():
    with pytest.raises(tf.errors.InvalidArgumentError, match="other"), reading_errors():
        raise tf.errors.InvalidArgumentError(None, None, "other")


def test_calls_are_refused_after_the_end_which_waits_for_those_that_run():
    calls, go = Calls(), threading.Event()
    function = calls.counted(lambda number: go.wait(5) and number)
    results = []
    thread = threading.Thread(target=lambda: results.append(function(3)))
    thread.start()
    ending = threading.Thread(target=calls.end)
    ending.start()
    ending.join(0.5)
    assert ending.is_alive()
    go.set()
    ending.join(5)
    thread.join(5)
    assert (results, ending.is_alive()) == ([3], False)
    with pytest.raises(ImageError, match="while the process ends"):
        function(4)


@pytest.mark.slow
@pytest.mark.integration
def test_process_ends_while_images_are_being_read():
    found = subprocess.run([sys.executable, "-c", LIVE_AT_THE_END], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout) == (0, "done\n")
