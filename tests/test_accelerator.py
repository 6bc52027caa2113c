"""The scripts that run the training step elsewhere: the files between them, and the step by JAX where it is there."""

import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from accelerator.artifact import ARGUMENTS, epoch_order, read_images, read_state, write_split, write_state
from accelerator.grid import chosen, trainings_of
from accelerator.lower import Training, portable, splits_of, write_data
from accelerator.parts import from_bfloat16, join, split, to_bfloat16
from rsr_tf.config import load_config
from rsr_tf.experiment.builders import load_data

SCRIPTS = Path(__file__).parent.parent / "scripts" / "accelerator"
CONFIG = ("quickstart", "--set", "training.optimizer=sgd", "--set", "training.learning_rate=0.1")


def test_order_of_an_epoch_is_a_permutation_of_its_own():
    first, second = (epoch_order(3, epoch, 10, 8) for epoch in (0, 1))
    assert len(set(first)) == 8
    assert set(first) <= set(range(10))
    assert first.tolist() != second.tolist()
    assert first.tolist() == epoch_order(3, 0, 10, 8).tolist()


def test_jpeg_files_of_a_split_are_read_back_in_its_order(tmp_path):
    images = [Image.new("RGB", (8, 8), color) for color in ("black", "white", "red")]
    files = []
    for image in images:
        image.save(buffer := io.BytesIO(), "JPEG", quality=95)
        files.append(buffer.getvalue())
    jpeg, sizes = np.frombuffer(b"".join(files), np.uint8), np.array([len(file) for file in files], np.uint16)
    np.savez(tmp_path / "data.npz", jpeg=jpeg, sizes=sizes)
    write_split(tmp_path / "split.npz", {"train": (np.array([2, 1]), np.array([4, 2]))})
    pixels, labels = read_images(tmp_path, tmp_path, "train")
    assert labels.tolist() == [4, 2]
    np.testing.assert_allclose(pixels[:, 0, 0], [[255, 0, 0], [255, 255, 255]], atol=3)


def test_trainings_with_several_seeds_share_the_images(tmp_path):
    for seed in (0, 1):
        config = load_config("quickstart", [f"seed={seed}"])
        data_set = load_data(config)
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_split(folder / "split.npz", splits_of(data_set))
        if not seed:
            write_data(tmp_path / "data.npz", config, data_set)
        for name in ("train", "validation"):
            images, labels = read_images(tmp_path, folder, name)
            split = getattr(data_set, name)
            assert np.array_equal(images, split.images)
            assert np.array_equal(labels, split.labels)


def test_trainings_of_a_grid_are_its_runs_and_those_of_its_sweeps(tmp_path):
    trainings = trainings_of("paper/figures", "digits", [], tmp_path)
    folders = {name: folder.relative_to(tmp_path) for name, (_, folder) in trainings.items()}
    swept = {f"train_small_cnn-rsr-seed0_lambda_{value}": value for value in (1e-5, 1e-3)}
    assert set(folders) == {f"train_small_cnn-{scheme}-seed0" for scheme in ("none", "pgd", "rsr")} | set(swept)
    for name, value in swept.items():
        assert trainings[name][0].model.lasso == value
        assert folders[name] == Path("small_cnn-rsr-seed0", "sweep", f"lambda_{value}")


def test_trainings_are_chosen_by_the_start_of_their_names(tmp_path):
    trainings = trainings_of("paper/figures", "digits", [], tmp_path)
    swept = [name for name in trainings if name.startswith("train_small_cnn-rsr-seed0")]
    assert len(swept) == 3
    assert list(chosen(trainings, ["small_cnn-rsr"])) == swept
    assert chosen(trainings, None) == trainings
    with pytest.raises(SystemExit, match=r"no training starts with cni\. Expected some of train_small_cnn-none-seed0,"):
        chosen(trainings, ["cni"])


def test_entries_that_were_left_out_are_drawn_for_timing(tmp_path):
    write_state(tmp_path / "state.npz", [np.int64(7), None, None])
    entries = [("step", [], "int64"), ("kernel", [50, 2], "float32"), ("mask", [2], "bool")]
    step, kernel, mask = read_state(tmp_path / "state.npz", entries)
    assert step == 7
    assert (kernel.shape, kernel.dtype) == ((50, 2), np.float32)
    assert 0.03 < kernel.std() < 0.07
    assert mask.tolist() == [True, True]


ENTRIES = [("kernel", [300, 4], "float32"), ("sgd/kernel_momentum", [300, 4], "float32"), ("seed", [2], "int64")]


def trained_folder(path):
    """Write what `run.py train` does after epoch 3, and return the state."""
    path.mkdir()
    values = [*np.random.default_rng(0).normal(size=(2, 300, 4)).astype(np.float32), np.array([7, 2**40])]
    write_state(path / "state-0003.npz", values)
    (path / "progress.json").write_text('{"epochs": 3}')
    (path / "history.csv").write_text("stage,epoch\ntrain,0\n")
    return values


@pytest.mark.parametrize("with_momenta", [True, False])
def test_state_travels_in_small_files(tmp_path, with_momenta):
    kernel, momentum, seed = trained_folder(tmp_path / "out")
    split(ENTRIES, tmp_path / "out", tmp_path / "parts", with_momenta, size=2000)
    parts = list((tmp_path / "parts").glob("state.*"))
    assert len(parts) > 2
    assert max(part.stat().st_size for part in parts) == 2000
    join(ENTRIES, tmp_path / "parts", tmp_path / "again")
    found = read_state(tmp_path / "again" / "state-0003.npz", ENTRIES)
    assert np.array_equal(found[0], kernel)
    assert np.array_equal(found[2], seed)
    np.testing.assert_allclose(found[1], momentum if with_momenta else 0 * momentum, rtol=2**-8)
    for name in ("history.csv", "progress.json"):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / "out" / name).read_text()


def test_numbers_in_16_bits_are_those_of_tensorflow():
    values = np.array([1.0, -1.00390625, 1.01171875, 3e-39, 1e30, 0.1], np.float32)
    expected = tf.cast(tf.cast(values, tf.bfloat16), tf.float32).numpy()
    assert np.array_equal(from_bfloat16(to_bfloat16(values)), expected)


def test_copies_of_results_become_an_operation_of_stablehlo():
    text = '#loc6 = loc("f"("file.py":12:0))\n%5 = mhlo.copy %4 : tensor<3x16xf32> loc(#loc6)'
    assert portable(text) == "%5 = stablehlo.reshape %4 : (tensor<3x16xf32>) -> tensor<3x16xf32>"


@pytest.mark.slow
def test_an_epoch_is_made_of_whole_calls():
    with pytest.raises(ValueError, match="18 steps of an epoch cannot be done 5 at a time"):
        Training(load_config("quickstart"), steps_per_call=5)


@pytest.mark.slow
def test_inputs_and_outputs_of_the_lowered_steps_are_those_of_the_map():
    """Also where a step assigns the value that was there: without a penalty the sum in its metric stays zero."""
    training = Training(load_config("quickstart", ["model.lasso=0"]), steps_per_call=9)
    artifact = training.artifact()
    for name, program in artifact.programs.items():
        inputs, outputs = re.search(r"func\.func @main\((.*?)\) -> \((.*?)\) \{", training.lowered(name)).groups()
        expected = [each[1:] for each in map(artifact.entries.__getitem__, program.captures)]
        assert tensors(inputs)[len(ARGUMENTS[name]) :] == expected
        changed = [each[1:] for each in map(artifact.entries.__getitem__, program.changes)]
        assert tensors(outputs) == [((), "float32")] * len(program.metrics) + changed
    changes = {artifact.entries[number][0] for number in artifact.programs["train"].changes}
    assert {"conv1/convolution/kernel", "conv1/convolution/alpha", "adam/iteration"} <= changes
    assert "conv1/convolution/mask" not in changes


def tensors(signature):
    """List shape and dtype of the tensors in a signature."""
    names = {"f32": "float32", "i64": "int64", "i32": "int32", "i1": "bool", "ui8": "uint8"}
    found = []
    for text in re.findall(r"tensor<([^>]*)>", signature):
        *shape, dtype = text.split("x")
        found.append((tuple(int(size) for size in shape), names[dtype]))
    return found


def jax_python():
    """The interpreter that has JAX: that of the variable `JAX_PYTHON`, or this one."""
    return os.environ.get("JAX_PYTHON", sys.executable if importlib.util.find_spec("jax") else None)


needs_jax = pytest.mark.skipif(
    jax_python() is None, reason="JAX is not installed; scripts/requirements-accelerator.txt has it"
)


def run(python, script, *arguments):
    command = [python, SCRIPTS / script, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@needs_jax
@pytest.mark.slow
@pytest.mark.integration
def test_steps_by_jax_give_the_weights_of_tensorflow(tmp_path):
    """18 steps in two loops, with noise and random starts in float32, from the same state; with SGD, which does not
    blow up gradients that are zero up to rounding."""
    run(sys.executable, "lower.py", CONFIG[0], tmp_path, *CONFIG[1:], "--check", 18, "--steps-per-call", 9)
    assert "after 18 steps" in run(jax_python(), "run.py", "check", tmp_path)


@needs_jax
@pytest.mark.slow
@pytest.mark.integration
def test_training_by_jax_is_continued_here(tmp_path):
    epochs = ("--set", "training.epochs=3", "--set", "undefended.epochs=0", "--set", "evaluation.images=32")
    run(sys.executable, "lower.py", *CONFIG, tmp_path / "lowered", *epochs)
    run(jax_python(), "run.py", "train", tmp_path / "lowered", tmp_path / "out", "--epochs", 1)
    run(jax_python(), "run.py", "train", tmp_path / "lowered", tmp_path / "out", "--epochs", 2)
    run(sys.executable, "load.py", tmp_path / "lowered", tmp_path / "out", tmp_path / "run")
    command = [sys.executable, "-m", "rsr_tf.cli", "run", *CONFIG, *epochs, "--output", tmp_path / "run"]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "resuming after epoch 2 of 3" in log
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["epoch", "0", "1", "2"]
