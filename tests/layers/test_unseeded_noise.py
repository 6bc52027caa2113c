"""Noise of exported networks under the attack that finds the generator of TensorFlow's own random operations."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from noise_attack import foretold, generators_of, mersenne_outputs, mersenne_state, mersenne_state_behind, normals

from rsr_tf.layers import noise

SIZE, DRAWS = 6, 20
PINNED = 4178348745
PIN = f"unsigned _ZNSt13random_device9_M_getvalEv(void *device) {{ return {PINNED}u; }}"
"""`std::random_device::operator()` of libstdc++, from which TensorFlow takes the seed of the process."""

LOAD = """
import json, sys
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
draws = {name: [getattr(loaded, name)().numpy().tolist() for _ in range(20)] for name in ("old", "new")}
interpreter = tf.lite.Interpreter(sys.argv[1] + ".tflite")
interpreter.allocate_tensors()
draws["tflite"] = []
for _ in range(20):
    interpreter.invoke()
    draws["tflite"].append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist())
print(json.dumps(draws))
tf.config.experimental.enable_op_determinism()
print(json.dumps(tf.saved_model.load(sys.argv[1]).new().numpy().tolist()))
"""


def drawn(draw):
    """The draws of a traced function, as a server would make them."""
    function = tf.function(lambda: draw((SIZE,)))
    return np.stack([function() for _ in range(DRAWS)])


def next_outputs():
    """What TensorFlow's generator of seeds will return in this process, known from 312 of its outputs."""
    state = mersenne_state_behind(tf.raw_ops.NonDeterministicInts(shape=[312], dtype=tf.uint64).numpy())
    outputs = []
    for _ in range(3):
        following, state = mersenne_outputs(state)
        outputs.append(following)
    return np.concatenate(outputs, axis=-1)


def test_mersenne_twister_is_that_of_the_c_plus_plus_standard():
    state = mersenne_state(np.array([5489], np.uint64))
    for _ in range(33):
        outputs, state = mersenne_outputs(state)
    assert outputs[0, 10000 - 32 * 312 - 1] == 9981545732273789042


def test_attack_foretells_the_operation_that_seeds_itself():
    """The way TFLite draws; two numbers are enough to know which output became the key."""
    outputs = next_outputs()
    draws = drawn(noise.tflite_normal)
    ((_, key, high),) = generators_of(draws[0, :2], outputs)
    np.testing.assert_allclose(foretold(key, high, SIZE, DRAWS), draws, atol=1e-5)


def test_the_same_attack_finds_nothing_in_unseeded_noise():
    outputs = next_outputs()
    draws = drawn(noise.unseeded_normal)
    assert not [found for draw in draws for found in generators_of(draw[:2], outputs)]


def test_a_call_does_not_go_on_where_an_earlier_one_ended():
    """Somebody who has the very secret of a call foretells this call, and not a number of the following ones."""

    @tf.function
    def serve():
        draw = noise.unseeded_normal((SIZE,))
        return draw, noise._secret_of_this_call()[0]

    draw, (key, low, high) = (answer.numpy() for answer in serve())
    counts = low + np.arange(1 << 16, dtype=np.uint64)
    numbers = normals(np.full_like(counts, key), counts, np.full_like(counts, high))
    np.testing.assert_allclose(numbers[:2].reshape(-1)[:SIZE], draw, atol=1e-5)
    for _ in range(DRAWS):
        seen = serve()[0].numpy()
        assert np.abs(numbers[:, :2] - seen[:2]).max(axis=-1).min() > 1e-5


@pytest.mark.slow
def test_secret_has_as_many_random_bits_as_are_claimed():
    """Each bit is one in half of 4,000 secrets: 5 standard errors, and what the bytes 10 and 13 lack."""
    secret = tf.function(lambda: noise._secret_of_this_call()[0])
    secrets = np.stack([secret() for _ in range(4000)])
    ones = np.unpackbits(secrets.view(np.uint8), axis=-1).mean(axis=0)
    assert ones.shape == (192,)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(4000) + 1 / 254
    assert len({tuple(each) for each in secrets}) == 4000
    assert 191 < noise.SECRET_BITS < 192


def test_unseeded_noise_is_standard_normal():
    """100 calls of two draws of 5,000 numbers: moments and quantiles within five standard errors."""
    function = tf.function(lambda: (noise.unseeded_normal((50, 100)), noise.unseeded_normal((5000,))))
    calls = [function() for _ in range(100)]
    first, second = (np.stack([np.reshape(call[place], -1) for call in calls]) for place in (0, 1))
    numbers = np.concatenate([first, second])
    error = 5 / np.sqrt(numbers.size)
    assert abs(numbers.mean()) < error
    assert abs(numbers.std() - 1) < error / np.sqrt(2)
    assert abs((numbers**4).mean() - 3) < error * np.sqrt(96)
    for quantile, share in ((-1.959964, 0.025), (0.0, 0.5), (0.6744898, 0.75), (3.090232, 0.999)):
        assert abs((numbers < quantile).mean() - share) < error * np.sqrt(share * (1 - share))
    assert abs((first * second).mean()) < 5 / np.sqrt(first.size)  # two layers of a call
    assert abs((first[1:] * first[:-1]).mean()) < 5 / np.sqrt(first[1:].size)  # two calls


def test_a_call_reads_its_secret_once_for_all_layers():
    @tf.function
    def serve():
        return [noise.unseeded_normal((SIZE,)) for _ in range(3)]

    operations = [operation.type for operation in serve.get_concrete_function().graph.get_operations()]
    assert operations.count("DatasetToSingleElement") == 1
    assert len({tuple(draw.numpy()) for draw in serve()}) == 3


def test_noise_in_a_loop_or_branch_is_drawn_anew():
    @tf.function
    def serve(again):
        draws = [noise.unseeded_normal((SIZE,))]
        draws.append(tf.cond(again, lambda: noise.unseeded_normal((SIZE,)), lambda: tf.zeros(SIZE)))
        return tf.stack(draws), tf.map_fn(lambda _: noise.unseeded_normal((SIZE,)), tf.zeros(3))

    draws = np.concatenate([answer for _ in range(2) for answer in serve(tf.constant(True))])
    assert draws.shape == (2 * 5, SIZE)
    assert len({tuple(draw) for draw in draws}) == len(draws)


def test_noise_without_a_graph_is_new_at_every_call():
    first, second = (noise.unseeded_normal((SIZE,)).numpy() for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.fixture(scope="module")
def pinned(tmp_path_factory):
    """Draws of both kinds in two processes whose `std::random_device` has but one word to say."""
    compiler = shutil.which("cc")
    if not compiler or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler to replace std::random_device")
    folder = tmp_path_factory.mktemp("pinned")
    (folder / "pin.c").write_text(PIN)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "pin.so", folder / "pin.c"], check=True)
    module = tf.Module()
    module.old = tf.function(lambda: noise.tflite_normal((SIZE,)), input_signature=[])
    module.new = tf.function(lambda: noise.unseeded_normal((SIZE,)), input_signature=[])
    tf.saved_model.save(module, str(folder / "saved_model"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.old.get_concrete_function()], module)
    (folder / "saved_model.tflite").write_bytes(converter.convert())
    environment = {**os.environ, "LD_PRELOAD": str(folder / "pin.so")}
    command = [sys.executable, "-c", LOAD, folder / "saved_model"]
    answers = [subprocess.run(command, check=True, capture_output=True, env=environment).stdout for _ in range(2)]
    found = [[json.loads(line) for line in answer.splitlines()[-2:]] for answer in answers]
    if found[0][0]["old"] != found[1][0]["old"]:
        pytest.skip("std::random_device of this TensorFlow cannot be replaced")
    return found


@pytest.mark.slow
def test_two_processes_with_one_seed_draw_different_unseeded_noise(pinned):
    (first, _), (second, _) = pinned
    assert len({tuple(draw) for draw in first["new"] + second["new"]}) == 2 * DRAWS


@pytest.mark.slow
def test_search_for_the_seed_of_a_process_foretells_only_the_operation_that_seeds_itself(pinned):
    """A hundred seeds stand for all 2**32, which take minutes."""
    draws, _ = pinned[0]
    seeds = np.arange(PINNED - 50, PINNED + 50, dtype=np.uint64)
    outputs, _ = mersenne_outputs(mersenne_state(seeds))
    ((found, key, high),) = generators_of(np.array(draws["old"])[0, :2], outputs)
    assert seeds[found] == PINNED
    np.testing.assert_allclose(foretold(key, high, SIZE, DRAWS), draws["old"], atol=1e-5)
    assert not [each for draw in draws["new"] for each in generators_of(np.array(draw[:2]), outputs)]


@pytest.mark.slow
def test_noise_of_tflite_is_foretold_as_its_documentation_says(pinned):
    draws = np.array(pinned[0][0]["tflite"])
    outputs, _ = mersenne_outputs(mersenne_state(np.array([PINNED], np.uint64)))
    ((_, key, high),) = generators_of(draws[0, :2], outputs)
    np.testing.assert_allclose(foretold(key, high, SIZE, DRAWS, skipped=-(-SIZE // 4)), draws, atol=1e-5)


@pytest.mark.slow
def test_unseeded_noise_is_random_with_deterministic_operations_too(pinned):
    (_, first), (_, second) = pinned
    assert first != second
