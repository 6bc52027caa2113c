import keras
import numpy as np
import pytest
from helpers import tiny_network

import rsr_tf
from rsr_tf.errors import UserError
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.experiment.start import load_start


def network(seed, **options):
    """A network whose layers have the same names whatever was created before it."""
    keras.utils.set_random_seed(seed)
    keras.backend.clear_session()
    return tiny_network(**options)


@pytest.fixture
def other(tmp_path):
    """The file of a trained network, pruned, in a run folder."""
    model = network(1)
    rsr_tf.prune(model, sparsity=0.5)
    folder = RunFolder(tmp_path / "other")
    folder.path.mkdir()
    rsr_tf.RSRModel(model.inputs, model.outputs).save(folder.model)
    return folder.model, model.get_weights()


@pytest.mark.parametrize("given", ["folder", "file"])
def test_every_weight_and_mask_is_taken(other, tmp_path, given):
    path, expected = other
    model = network(2)
    load_start(model, str(path.parent if given == "folder" else path), RunFolder(tmp_path / "run"))
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert rsr_tf.sparsity(model) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "begun", ["model.keras", "checkpoints/train-0001.keras", "checkpoints/train-0000-000007.keras"]
)
def test_training_that_has_begun_reads_nothing(tmp_path, begun):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / begun).touch()
    model = network(2)
    before = model.get_weights()
    load_start(model, "no/such/run", RunFolder(tmp_path))
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_no_start_changes_nothing(tmp_path):
    model = network(2)
    before = model.get_weights()
    load_start(model, "", RunFolder(tmp_path))
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"filters": 6}, r"convolution/kernel is \(3, 3, 1, 6\) here and \(3, 3, 1, 4\) in .*model.keras"),
        ({"noise": "layer"}, r"/alpha is \(.*\) here and \(.*\) in .*model.keras"),
        ({"noise": "none"}, r"/alpha is none here and \(.*\) in .*model.keras"),
    ],
)
def test_first_difference_is_one_line_and_nothing_is_changed(other, tmp_path, options, difference):
    model = network(2, **options)
    before = model.get_weights()
    with pytest.raises(UserError, match=r"\A`model.start` must be a network like this one: .*" + difference + r"\Z"):
        load_start(model, str(other[0]), RunFolder(tmp_path / "run"))
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_missing_or_broken_start_is_one_line(tmp_path):
    with pytest.raises(
        UserError, match=r"\A`model.start` must be a run folder with model.keras, .* Received: no/run\Z"
    ):
        load_start(network(2), "no/run", RunFolder(tmp_path / "run"))
    (tmp_path / "broken.keras").write_text("not a model")
    with pytest.raises(UserError, match=r"\Acannot read the model .*broken.keras"):
        load_start(network(2), str(tmp_path / "broken.keras"), RunFolder(tmp_path / "run"))
