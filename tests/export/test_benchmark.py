"""Size, latency and accuracy of exported networks."""

import keras
import numpy as np
import pytest
from helpers import tiny_network

import rsr_tf
from rsr_tf.export import benchmark


def test_file_and_folder_have_their_bytes(tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "zeros").write_bytes(bytes(100_000))
    (tmp_path / "folder" / "inner" / "noise").write_bytes(np.random.default_rng(0).bytes(50_000))
    zeros = benchmark.file_sizes(tmp_path / "folder" / "zeros")
    assert zeros["bytes"] == 100_000
    assert zeros["gzip_bytes"] < 1000
    folder = benchmark.file_sizes(tmp_path / "folder")
    assert folder["bytes"] == 150_000
    assert 50_000 < folder["gzip_bytes"] < 52_000


class FakeClock:
    """Stand-in for the module `time`: functions take as long as they say, by this clock."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(benchmark, "time", clock)
    return clock


def test_latency_is_that_of_the_second_call_in_a_row(clock):
    calls = []

    def function(name, pause):
        def call(images):
            first = calls[-1:] != [name]
            calls.append(name)
            clock.sleep(64 if first else pause)
            return images

        return call

    functions = {"fast": function("fast", 0.25), "slow": function("slow", 2)}
    found = benchmark.latencies(functions, np.zeros((7, 2, 2, 1), np.float32), seconds=0, least=4)
    assert list(found) == ["fast", "slow"]
    assert calls[-16:] == ["fast", "fast", "slow", "slow"] * 4
    np.testing.assert_array_equal(found["fast"], [0.25] * 4)
    np.testing.assert_array_equal(found["slow"], [2] * 4)


def test_latency_is_measured_for_as_many_seconds_as_requested(clock):
    """By hand: a round of two functions takes 2 + 6 seconds, and 2 * 10 seconds are requested."""
    functions = {name: lambda images, pause=pause: clock.sleep(pause) or images for name, pause in (("a", 2), ("b", 6))}
    found = benchmark.latencies(functions, np.zeros((1, 2)), seconds=10, least=1)
    assert {name: times.tolist() for name, times in found.items()} == {"a": [2] * 3, "b": [6] * 3}


def test_spread_is_median_and_quartiles():
    assert benchmark.spread([5.0, 1.0, 3.0, 2.0, 4.0]) == {"median": 3.0, "quartiles": [2.0, 4.0]}


def test_accuracy_counts_what_is_right_on_every_set():
    """Class 1 for bright images; an answer that is no number is wrong."""

    def function(images):
        bright = np.array(images).mean(axis=(1, 2, 3))
        return np.stack([np.full_like(bright, 0.5), bright], axis=-1)

    labels = np.array([1, 1, 0, 0, 0])
    right = np.array([0.9, 0.8, 0.1, 0.2, 0.3], np.float32).reshape(-1, 1, 1, 1)
    half_wrong = np.array([0.9, 0.1, 0.1, np.nan, 0.9], np.float32).reshape(-1, 1, 1, 1)
    score = benchmark.accuracy(function, [right, half_wrong], labels, batch_size=2)
    assert score.accuracies == (1.0, 0.4)
    assert score.num_images == 5


def test_dense_bytes_are_those_of_the_weights():
    """By hand: 3x3x1x4 kernel, then 4x(2 trained, 2 counted), then 4x10 kernel and 10 biases; noise does not count."""
    block = rsr_tf.NoisyConvBlock(4, 3)
    model = keras.Sequential([keras.Input((8, 8, 1)), block, keras.layers.Flatten(), rsr_tf.NoisyDense(10)])
    assert benchmark.dense_bytes(model) == 4 * (36 + 16 + 8 * 8 * 4 * 10 + 10)


def test_transferred_images_stay_in_the_ball_and_mislead(images, labels):
    model = tiny_network()
    right = np.argmax(rsr_tf.strip(model)(images), axis=-1).astype("int32")
    options = {"epsilon": 0.3, "step_size": 0.1, "steps": 5, "repeats": 2, "batch_size": 6}
    sets = benchmark.transferred_images(model, images, right, **options)
    for x_adv in sets:
        assert np.abs(x_adv - images).max() <= 0.3 + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
    assert np.abs(sets[0] - sets[1]).max() > 0
    ask = rsr_tf.as_model_fn(rsr_tf.strip(model))
    assert benchmark.accuracy(ask, [images], right, batch_size=6).mean == 1
    assert benchmark.accuracy(ask, sets, right, batch_size=6).mean < 0.7
