"""Are our masks and thresholds those of TensorFlow Model Optimization (TFMOT)?

    python scripts/compare_tfmot.py --python TFMOT_PYTHON [--json docs/results/tfmot.json]

TFMOT_PYTHON is the interpreter of an environment made from `scripts/requirements-tfmot.txt`. There TFMOT prunes a small
network, each layer by itself, and writes down at every step the weights, the mask and the threshold; here the same
schedule and weights are given to `rsr_tf.prune`. Wherever the definitions coincide, all must be equal, or the script
fails; where they do not, the difference must be the one that docs/pruning.md says. A minute on 2 cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

import rsr_tf
from rsr_tf.pruning import schedules
from rsr_tf.pruning.callback import call_schedule

SHAPES = ((3, 3, 1, 5), (180, 7), (7, 3))
"""Of the kernels: a convolution of 8x8 images and two dense layers; 45, 1260 and 21 weights."""

POLYNOMIAL = ("PolynomialDecay", {"initial_sparsity": 0.1, "final_sparsity": 0.9, "begin_step": 2, "end_step": 42})
SCENARIOS = {
    "polynomial decay": {"schedule": POLYNOMIAL, "frequency": 4, "learning_rate": 0.05},
    "polynomial decay, large steps": {"schedule": POLYNOMIAL, "frequency": 4, "learning_rate": 0.5},
    "constant sparsity": {
        "schedule": ("ConstantSparsity", {"target_sparsity": 0.6, "begin_step": 5, "end_step": 40}),
        "frequency": 7,
        "learning_rate": 0.05,
    },
    "ties": {"schedule": POLYNOMIAL, "frequency": 4, "decimals": 1},
    "zeros": {"schedule": POLYNOMIAL, "frequency": 4, "zeros": 0.3},
    "halves": {"schedule": ("ConstantSparsity", {"target_sparsity": 0.5, "begin_step": 1}), "frequency": 10},
    "hardly anything left": {
        "schedule": ("ConstantSparsity", {"target_sparsity": 0.99, "begin_step": 1}),
        "frequency": 10,
    },
}
"""Without a learning rate the weights stay as they are given."""
STEPS = 50


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="interpreter of the environment with TFMOT")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    rows = {}
    for name, scenario in SCENARIOS.items():
        rows[name] = compare(scenario, arguments.python)
        print(f"{name}: {rows[name]}")
    if arguments.json:
        record = {"tfmot": "0.8.1", "kernels": SHAPES, "steps": STEPS, "scenarios": rows}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def compare(scenario, python, steps=STEPS):
    """What the comparison of one scenario came to, as a row of numbers.

    Args:
        scenario: one of `SCENARIOS`.
        python: path of the interpreter that has TFMOT.
        steps: number of training steps.

    Raises:
        SystemExit: for a difference that is none of those foreseen.
    """
    kernels = given_kernels(scenario)
    trace = tfmot_trace(scenario, kernels, python, steps)
    name, arguments = scenario["schedule"]
    schedule = getattr(schedules, name)(**arguments, frequency=scenario["frequency"])
    check_answers(schedule, trace)
    return compare_masks(trace, len(kernels))


def given_kernels(scenario):
    """Normal weights; rounded so that many are equal, or with some at zero, if the scenario says so."""
    random = np.random.default_rng(0)
    kernels = [random.normal(scale=0.3, size=shape).astype("float32") for shape in SHAPES]
    if "decimals" in scenario:  # never zero, which is a scenario of its own
        decimals = scenario["decimals"]
        kernels = [np.sign(kernel) * np.maximum(np.abs(kernel).round(decimals), 0.1) for kernel in kernels]
    if "zeros" in scenario:
        kernels = [np.where(random.uniform(size=kernel.shape) < scenario["zeros"], 0, kernel) for kernel in kernels]
    return [kernel.astype("float32") for kernel in kernels]


def tfmot_trace(scenario, kernels, python, steps):
    """What TFMOT did: a dict of arrays, the first axis of each counting the steps."""
    name, arguments = scenario["schedule"]
    job = {
        "schedule": name,
        "arguments": {**arguments, "frequency": scenario["frequency"]},
        "steps": steps,
        "learning_rate": scenario.get("learning_rate", 0.0),
        "momentum": 0.9,
        "kernels": len(kernels),
    }
    random = np.random.default_rng(1)
    given = {f"kernel{number}": kernel for number, kernel in enumerate(kernels)}
    given["images"] = random.uniform(size=(32, 8, 8, 1)).astype("float32")
    given["labels"] = random.integers(0, SHAPES[-1][-1], 32)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        np.savez(folder / "given.npz", **given)
        script = Path(__file__).with_name("tfmot_trace.py")
        result = subprocess.run([python, script, folder], capture_output=True, text=True, check=False)
        if result.returncode:
            sys.exit(f"{script} failed: {result.stderr.strip().splitlines()[-1]}")
        with np.load(folder / "trace.npz") as trace:
            return dict(trace)


def check_answers(schedule, trace):
    """Our schedule says at every step what TFMOT's says, but for the rounding of its float32."""
    for step, should_prune, sparsity in zip(trace["step"], trace["should_prune"], trace["sparsity"], strict=True):
        expect(schedule(step)[0] == should_prune, f"{schedule} is due at step {step} as TFMOT's is")
        expect(abs(schedule(step)[1] - sparsity) < 1e-6, f"{schedule} has TFMOT's sparsity at step {step}")
        expect(call_schedule(schedule, step)[0] == should_prune, f"a tensor of step {step} makes no difference")


def compare_masks(trace, layers):
    """Masks and thresholds of all prunings of all layers, and how they compare."""
    kinds = ("equal", "half_rounded_otherwise", "zeros_kept_by_tfmot", "one_weight_left")
    row = dict.fromkeys(("prunings", *kinds, "weights_revived_by_tfmot", "equal_in_sequence"), 0)
    due = set(np.flatnonzero(trace["should_prune"]))
    for number in range(layers):
        weights, masks, thresholds = (trace[f"{name}{number}"] for name in ("weights", "mask", "threshold"))
        model = network(weights[0])
        previous = in_sequence = np.ones_like(masks[0])
        same_so_far = True
        for index in range(len(masks)):
            if index not in due:
                expect(np.array_equal(masks[index], previous), "TFMOT's mask changes only where its schedule says so")
                continue
            sparsity = float(trace["sparsity"][index])
            kind = verdict(model, weights[index], masks[index], thresholds[index], sparsity)
            revived = int(np.sum(masks[index] & ~previous))
            in_sequence, _ = pruned(model, weights[index], sparsity, mask=in_sequence)
            same_so_far &= kind == "equal" and not revived
            same = np.array_equal(in_sequence, masks[index])
            expect(same or not same_so_far, "as long as no weight was revived, masks that only shrink are the same")
            row["prunings"] += 1
            row[kind] += 1
            row["weights_revived_by_tfmot"] += revived
            row["equal_in_sequence"] += int(same)
            previous = masks[index]
    return row


def verdict(model, weights, mask, threshold, sparsity):
    """How our pruning of a layer compares with TFMOT's: `"equal"`, or the kind of difference."""
    ours, our_threshold = pruned(model, weights, sparsity, mask=np.ones_like(mask))
    if np.array_equal(ours, mask) and our_threshold == threshold:
        return "equal"
    magnitudes = np.sort(np.abs(weights), axis=None)
    wanted = weights.size * (1 - sparsity)  # the number of weights to keep, before it is rounded
    place = round(sparsity * weights.size)
    if place == weights.size:
        expect(wanted < 1 and np.isinf(our_threshold) and threshold == magnitudes[-1], "the largest weight is left")
        expect(mask.sum() == 1 and np.array_equal(ours, mask), "one weight is left")
        return "one_weight_left"
    expect(our_threshold == magnitudes[place], "our threshold is the smallest magnitude that survives")
    if our_threshold != threshold:
        expect(abs(wanted % 1 - 0.5) < 1e-3, f"the number of weights to keep is a half. Received: {wanted}")
        expect(threshold in magnitudes[[place - 1, place + 1]], "the thresholds are neighbours")
        expect(np.sum(ours ^ mask) <= 1, "the masks differ by at most one weight")
        return "half_rounded_otherwise"
    expect(threshold == 0 and np.array_equal(ours, mask & (weights != 0)), "only in weights of zero the masks differ")
    return "zeros_kept_by_tfmot"


def network(weights):
    """A network of one layer for such weights."""
    if weights.ndim == 4:
        layer, shape = rsr_tf.NoisyConv2D(weights.shape[-1], weights.shape[:2], noise="none", use_bias=False), (8, 8, 1)
    else:
        layer, shape = rsr_tf.NoisyDense(weights.shape[-1], noise="none", use_bias=False), weights.shape[:1]
    return keras.Sequential([keras.Input(shape), layer])


def pruned(model, weights, sparsity, *, mask):
    """Mask and threshold that `rsr_tf.prune` gives such weights under the mask that is there."""
    (layer,) = model.layers
    layer.kernel.assign(weights)
    layer.mask.assign(mask)
    (gamma,) = rsr_tf.prune(model, sparsity=sparsity, scope="layer").values()
    return layer.mask.numpy(), np.float32(gamma)


def expect(truth, what):
    if not truth:
        sys.exit(f"not as foreseen: {what}")


if __name__ == "__main__":
    main()
