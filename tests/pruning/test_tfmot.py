"""Masks and thresholds of a layer against TensorFlow Model Optimization: its formulae, and itself where it is there."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import rsr_tf

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "compare_tfmot.py"


def tfmot_mask(weights, sparsity):
    """`Pruning._update_mask` of TFMOT 0.8.1 as NumPy in float32: mask and threshold."""
    magnitudes = np.abs(weights)
    kept = max(int(np.round(np.float32(weights.size) * (np.float32(1) - np.float32(sparsity)))), 1)
    threshold = np.sort(magnitudes, axis=None)[::-1][kept - 1]
    return magnitudes >= threshold, threshold


def our_mask(weights, sparsity):
    layer = rsr_tf.NoisyDense(weights.shape[-1], noise="none", use_bias=False)
    model = keras.Sequential([keras.Input(weights.shape[:1]), layer])
    layer.kernel.assign(weights)
    rsr_tf.prune(model, sparsity=sparsity, scope="layer")
    return layer.mask.numpy(), layer.threshold.numpy()


def weights_of(*shape):
    return np.random.default_rng(len(shape) + shape[0]).normal(size=shape).astype("float32")


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.123, 0.25, 1 / 3, 0.6, 0.875, 0.9])
@pytest.mark.parametrize("shape", [(16, 8), (7, 13), (100, 3)])
def test_mask_and_threshold_are_those_of_tfmot(shape, sparsity):
    weights = weights_of(*shape)
    mask, threshold = our_mask(weights, sparsity)
    expected, expected_threshold = tfmot_mask(weights, sparsity)
    np.testing.assert_array_equal(mask, expected)
    assert threshold == expected_threshold


def test_ties_survive_together_as_in_tfmot():
    weights = np.array([[0.1, -0.2, 0.2], [0.2, 0.3, -0.4]], "float32")
    for sparsity in (0.2, 0.35, 0.5, 0.65, 0.8):
        mask, threshold = our_mask(weights, sparsity)
        expected, expected_threshold = tfmot_mask(weights, sparsity)
        np.testing.assert_array_equal(mask, expected)
        assert threshold == expected_threshold


# The differences that docs/pruning.md names


def test_half_a_weight_is_rounded_differently_from_tfmot():
    """Both round to the even number: we that of the pruned weights, TFMOT that of the kept ones."""
    mask, _ = our_mask(weights_of(3, 7), 0.5)
    assert (mask.sum(), tfmot_mask(weights_of(3, 7), 0.5)[0].sum()) == (11, 10)
    mask, _ = our_mask(weights_of(1, 23), 0.5)
    assert (mask.sum(), tfmot_mask(weights_of(1, 23), 0.5)[0].sum()) == (11, 12)


def test_zero_weights_are_pruned_here_and_kept_in_tfmot_at_threshold_zero():
    weights = np.array([[0.0, 0.0, 0.3], [0.1, 0.2, 0.4]], "float32")
    mask, threshold = our_mask(weights, 0.0)
    np.testing.assert_array_equal(mask, weights != 0)
    assert tfmot_mask(weights, 0.0)[0].all()
    assert threshold == tfmot_mask(weights, 0.0)[1] == 0


def test_threshold_is_infinite_here_if_only_one_weight_is_left():
    weights = weights_of(3, 7)
    mask, threshold = our_mask(weights, 0.99)
    expected, expected_threshold = tfmot_mask(weights, 0.99)
    np.testing.assert_array_equal(mask, expected)
    assert (threshold, expected_threshold) == (np.inf, np.abs(weights).max())


def tfmot_python():
    """The interpreter that has TFMOT: that of the variable `TFMOT_PYTHON`, or this one."""
    here = sys.executable if importlib.util.find_spec("tensorflow_model_optimization") else None
    return os.environ.get("TFMOT_PYTHON", here)


needs_tfmot = pytest.mark.skipif(
    tfmot_python() is None, reason="TFMOT is not installed; scripts/requirements-tfmot.txt has it"
)


@needs_tfmot
def test_schedule_of_tfmot_itself_is_followed_as_it_is():
    """0.8 - 0.8 * (1 - p)^3 at steps 2, 4 and 6, of a stock model of 100 weights."""
    result = subprocess.run(
        [tfmot_python(), "-c", FOLLOW], cwd=SCRIPT.parent.parent, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == pytest.approx([0, 0, 0, 0.7, 0.7, 0.8, 0.8, 0.8])


FOLLOW = """
import json
import keras, numpy as np, tensorflow_model_optimization as tfmot
import rsr_tf
schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, 0.8, begin_step=2, end_step=6, frequency=2)
model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(10)])
model.compile("sgd", "mse")
seen = []
watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(rsr_tf.sparsity(model)))
callbacks = [rsr_tf.PruningCallback(schedule), watch]
model.fit(np.ones((16, 10)), np.ones((16, 10)), batch_size=2, verbose=0, callbacks=callbacks)
print(json.dumps(seen))
"""


@needs_tfmot
@pytest.mark.parametrize("scenario", ["polynomial decay, large steps", "zeros"])
def test_trained_masks_and_thresholds_are_those_of_tfmot_itself(scenario):
    spec = importlib.util.spec_from_file_location("compare_tfmot", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    row = script.compare(script.SCENARIOS[scenario], tfmot_python(), steps=20)
    assert row["prunings"] == 15
    assert row["equal"] >= 11
