"""Images read by Python when a graph of `tf.data` runs."""

import atexit
import contextlib
import re
import threading
import time

import numpy as np
import tensorflow as tf

from rsr_tf.data.stored import ImageError

QUIET_SECONDS, LONGEST_WAIT = 0.2, 10.0
"""How long no call must have come before the process may end, and how long it waits for that."""


class Calls:
    """The calls of Python by the threads of `tf.data`, which must rest when the process ends.

    A thread that calls Python while the interpreter shuts down never returns, and TensorFlow waits for it for ever.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.ended, self.running, self.last = False, 0, 0.0

    def counted(self, function):
        """Return a function that does the same, but raises `ImageError` once the process ends."""

        def call(*arguments):
            self._count(1)
            try:
                if self.ended:
                    raise ImageError("no image is read while the process ends")
                return function(*arguments)
            finally:
                self._count(-1)

        return call

    def end(self):
        """Refuse further calls, and wait until none is running and none has come for a while."""
        self.ended, started = True, time.monotonic()
        while (self.running or time.monotonic() - self.last < QUIET_SECONDS) and (
            time.monotonic() - started < LONGEST_WAIT
        ):
            time.sleep(QUIET_SECONDS / 10)

    def _count(self, change):
        with self.lock:
            self.running += change
            self.last = time.monotonic()


_calls = Calls()
atexit.register(_calls.end)


def image_reader(images):
    """Return a function that reads images within a graph.

    Args:
        images: array, or `StoredImages`, which are read and checked by Python when the graph runs.

    Returns:
        A function of an integer tensor `(k,)` of positions that returns a tensor `(k, h, w, c)`.
    """
    if isinstance(images, np.ndarray):
        constant = tf.constant(images)
        return lambda chosen: tf.gather(constant, chosen)

    def read(chosen):
        return tf.ensure_shape(
            tf.numpy_function(_calls.counted(images.gather), [chosen], images.dtype), (*chosen.shape, *images.shape[1:])
        )

    return read


@contextlib.contextmanager
def reading_errors():
    """Convert the error of a graph that could not read an image back to the `ImageError` of the image.

    Raises:
        ImageError: if an image could not be read within a graph.

    Example:
        >>> with rsr_tf.data.reading_errors():
        ...     x, y = next(iter(rsr_tf.data.batches(rsr_tf.data.load("digits").test, batch_size=4)))
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(rf"{ImageError.__name__}: (.*)", str(error))
        if found is None:
            raise
        raise ImageError(found[1]) from error
