import errno

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.errors import UserError
from rsr_tf.training.callbacks import (
    Checkpoint,
    CSVHistory,
    NotFiniteError,
    StepCheckpoint,
    TensorBoard,
    TerminateOnNonFinite,
    read_history,
)


def rsr_model(seed=0, filters=4):
    keras.utils.set_random_seed(seed)
    network = tiny_network(filters=filters)
    for variable in network.trainable_variables:
        variable.assign_add(keras.random.normal(variable.shape, stddev=0.01))
    attack = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.1, steps=1)
    model = rsr_tf.RSRModel(network.inputs, network.outputs, attack=attack, seed=seed)
    return compiled(model, keras.optimizers.SGD(0.01, momentum=0.9))


def linear_model():
    """The smallest thing that `fit` takes, for what has nothing to do with noise."""
    return compiled(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]))


def state_of(model):
    """Everything that a checkpoint must hold: weights, states of the noise and of the attack, optimizer."""
    return {
        "weights": [variable.numpy() for variable in model.weights],
        "seeds": [
            model.seed_generator.state.numpy(),
            *(layer.seed_generator.state.numpy() for layer in rsr_tf.layers.noisy_layers(model)),
        ],
        "optimizer": [variable.numpy() for variable in model.optimizer.variables],
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint after two epochs of two steps, and the state that it must bring back."""
    folder = tmp_path_factory.mktemp("checkpoints")
    model = rsr_model()
    images = np.random.default_rng(0).uniform(size=(8, 8, 8, 1)).astype("float32")
    model.fit(images, np.arange(8), batch_size=4, epochs=2, verbose=0, callbacks=[Checkpoint(folder, "train")])
    return folder, state_of(model)


@pytest.fixture
def full_disk(monkeypatch):
    """Every way in which a model writes itself leaves half a file and fails."""

    def write_half(model, path, *args, **kwargs):
        path.write_bytes(b"half a fi")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", write_half)
    monkeypatch.setattr(keras.Model, "save_weights", write_half)


def save(folder, model, epoch=0):
    checkpoint = Checkpoint(folder, "train")
    checkpoint.set_model(model)
    checkpoint.on_epoch_end(epoch)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["weights", "seeds", "optimizer"])
def test_checkpoint_restores(trained, part):
    folder, saved = trained
    model = rsr_model(seed=1)
    model.optimizer.build(model.trainable_variables)
    before = state_of(model)[part]
    assert any(not np.array_equal(old, new) for old, new in zip(before, saved[part], strict=True))
    Checkpoint(folder, "train").restore(model)
    for restored, expected in zip(state_of(model)[part], saved[part], strict=True):
        np.testing.assert_array_equal(restored, expected)


@pytest.mark.slow
def test_number_of_epochs_done_is_that_of_the_file(trained):
    assert [path.name for path in trained[0].iterdir()] == ["train-0002.keras"]
    assert Checkpoint(trained[0], "train").restore(rsr_model()) == 2


@pytest.mark.slow
def test_checkpoint_of_another_stage_is_not_taken(trained):
    assert Checkpoint(trained[0], "finetune").restore(rsr_model()) == 0


def test_training_without_a_checkpoint_starts_at_epoch_0_as_it_is(tmp_path):
    model = rsr_model()
    before = model.get_weights()
    assert Checkpoint(tmp_path, "train").restore(model) == 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
@pytest.mark.parametrize("content", ["empty", "text", "first half"])
def test_unreadable_checkpoint_is_refused_by_its_path(trained, tmp_path, content):
    whole = (trained[0] / "train-0002.keras").read_bytes()
    path = tmp_path / "train-0001.keras"
    path.write_bytes({"empty": b"", "text": b"not a checkpoint", "first half": whole[: len(whole) // 2]}[content])
    with pytest.raises(ValueError, match=rf"\Acannot read the checkpoint {path}: .+\Z"):
        Checkpoint(tmp_path, "train").restore(rsr_model())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")  # Keras, before it fails
def test_checkpoint_of_another_network_is_refused(trained):
    with pytest.raises(ValueError, match=r"cannot read the checkpoint .*could not be loaded"):
        Checkpoint(trained[0], "train").restore(rsr_model(filters=6))


@pytest.mark.usefixtures("full_disk")
def test_previous_checkpoint_survives_a_full_disk(tmp_path):
    path = tmp_path / "train-0001.keras"
    path.write_bytes(b"the previous one")
    with pytest.raises(OSError, match="No space left on device"):
        save(tmp_path, linear_model(), epoch=1)
    assert path.read_bytes() == b"the previous one"
    assert list(tmp_path.iterdir()) == [path]


def test_checkpoint_that_a_kill_left_behind_is_removed_by_the_restart(tmp_path):
    model = linear_model()
    save(tmp_path, model, epoch=1)
    (tmp_path / "train-0001.keras").write_bytes(b"the one before")
    (tmp_path / "finetune-0001.keras").write_bytes(b"of another stage")
    assert Checkpoint(tmp_path, "train").restore(model) == 2
    assert {entry.name for entry in tmp_path.iterdir()} == {"train-0002.keras", "finetune-0001.keras"}


def test_epochs_done_are_known_without_reading_the_file(tmp_path):
    checkpoint = Checkpoint(tmp_path, "train")
    assert checkpoint.epochs_done == 0
    for name in ("train-0009.keras", "train-0010.keras", "finetune-0011.keras"):
        (tmp_path / name).write_bytes(b"anything")
    assert checkpoint.epochs_done == 10


def test_steps_done_count_after_epochs_done(tmp_path):
    checkpoint = Checkpoint(tmp_path, "train")
    assert checkpoint.steps_done == 0
    positions = []
    for name in ("train-0000-000007.keras", "train-0009.keras", "train-0009-000120.keras", "train-0010.keras"):
        (tmp_path / name).write_bytes(b"anything")
        positions.append((checkpoint.epochs_done, checkpoint.steps_done))
    assert positions == [(0, 7), (9, 0), (9, 120), (10, 0)]


def test_checkpoint_within_an_epoch_beyond_the_last_is_refused(tmp_path):
    (tmp_path / "train-0003-000120.keras").touch()
    with pytest.raises(ValueError, match=r"the checkpoint .*train-0003-000120\.keras is of epoch 3, but .* has 3"):
        Checkpoint(tmp_path, "train", epochs=3).restore(linear_model())


def test_damaged_metrics_are_one_line(images, labels, tmp_path):
    checkpoint = StepCheckpoint(tmp_path, "train", frequency=1)
    checkpoint.set_model(linear_model())
    checkpoint._metrics = [np.zeros(3)]
    with pytest.raises(UserError, match="the metrics in the checkpoint are not those of this training"):
        checkpoint.on_epoch_begin(0)


def test_checkpoint_takes_the_place_of_the_previous_one(tmp_path):
    (tmp_path / "train-0001.keras").write_bytes(b"the previous one")
    (tmp_path / "finetune-0001.keras").write_bytes(b"of another stage")
    save(tmp_path, linear_model(), epoch=1)
    assert {entry.name for entry in tmp_path.iterdir()} == {"train-0002.keras", "finetune-0001.keras"}


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), np.float32("nan"), -np.inf])
def test_loss_that_is_no_number_stops_the_training(loss):
    with pytest.raises(NotFiniteError, match=f"the loss became {loss} at step 3"):
        TerminateOnNonFinite().on_train_batch_end(3, {"loss": loss})


def test_training_with_a_finite_loss_continues(images, labels):
    model = linear_model()
    TerminateOnNonFinite().on_train_batch_end(0, {"loss": np.float32(1e30)})
    history = model.fit(images, labels, epochs=3, verbose=0, callbacks=[TerminateOnNonFinite()]).history
    assert len(history["loss"]) == 3


def test_training_stops_at_nan_before_the_checkpoint_is_replaced(images, labels, tmp_path):
    callbacks = [TerminateOnNonFinite(), Checkpoint(tmp_path, "train")]
    model = linear_model()
    model.fit(images, labels, batch_size=8, verbose=0, callbacks=callbacks)
    path = tmp_path / "train-0001.keras"
    good = path.read_bytes()
    model.layers[-1].bias.assign(np.full(10, np.nan))
    with pytest.raises(NotFiniteError, match="the loss became nan at step 0"):
        model.fit(images, labels, batch_size=8, verbose=0, callbacks=callbacks)
    assert path.read_bytes() == good


def test_last_update_of_an_epoch_is_looked_at_before_it_is_saved(images, labels, tmp_path):
    """One step an epoch: its loss is finite, what the step leaves is not."""
    model = linear_model()
    model.optimizer.learning_rate = float("inf")
    with pytest.raises(NotFiniteError, match=r"the weight .* is no longer finite after epoch 1"):
        model.fit(images, labels, verbose=0, callbacks=[TerminateOnNonFinite(), Checkpoint(tmp_path, "train")])
    assert list(tmp_path.iterdir()) == []


def write_rows(path, stage, *epochs_and_losses):
    callback = CSVHistory(path, stage)
    for epoch, loss in epochs_and_losses:
        callback.on_epoch_end(epoch, {"loss": loss})


def rows_of(path):
    return [(row["stage"], int(row["epoch"]), float(row["loss"])) for row in read_history(path)]


def test_history_has_a_row_for_each_epoch(tmp_path):
    path = tmp_path / "history.csv"
    assert read_history(path) == []
    write_rows(path, "train", (0, np.float32(2.5)), (1, 1.25))
    assert rows_of(path) == [("train", 0, 2.5), ("train", 1, 1.25)]
    assert path.read_text().splitlines()[0] == "stage,epoch,loss"


def test_restarted_run_drops_the_rows_of_epochs_that_it_does_again(tmp_path):
    path = tmp_path / "history.csv"
    write_rows(path, "train", (0, 3), (1, 2), (2, 1))
    write_rows(path, "train", (1, 20))
    assert rows_of(path) == [("train", 0, 3), ("train", 1, 20)]


def test_rows_of_another_stage_are_kept(tmp_path):
    path = tmp_path / "history.csv"
    write_rows(path, "train", (0, 3), (1, 2))
    write_rows(path, "finetune", (0, 1))
    write_rows(path, "finetune", (0, 0.5))
    assert rows_of(path) == [("train", 0, 3), ("train", 1, 2), ("finetune", 0, 0.5)]


def test_quantity_that_only_one_stage_has_is_empty_in_the_others(tmp_path):
    path = tmp_path / "history.csv"
    CSVHistory(path, "train").on_epoch_end(0, {"loss": 1, "lasso": 0.5})
    CSVHistory(path, "undefended").on_epoch_end(0, {"loss": 2, "val_loss": 3})
    assert [(row["lasso"], row["val_loss"]) for row in read_history(path)] == [("0.5", ""), ("", "3.0")]


@pytest.mark.parametrize(
    "name", ["train-9999", "train-abc", "train-", "train-0000", "train--1", "train-1_0", "train-1-0", "train-1-2-3"]
)
def test_checkpoint_of_no_possible_epoch_is_refused_by_name(tmp_path, name):
    (tmp_path / f"{name}.keras").touch()
    with pytest.raises(ValueError, match=rf"the checkpoint .*{name}\.keras (is of epoch 9999|must end with a number)"):
        Checkpoint(tmp_path, "train", epochs=40).restore(linear_model())


def test_checkpoint_of_another_network_is_one_line(tmp_path, trained):
    with pytest.raises(ValueError, match=r"\Acannot read the checkpoint .*keras: .*\Z"):
        Checkpoint(trained[0], "train").restore(linear_model())


@pytest.mark.slow
def test_checkpoint_of_another_optimizer_is_refused(trained):
    """Keras would warn and train on with an optimizer that starts anew."""
    model = rsr_model()
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"\Acannot read the checkpoint .*Skipping variable loading for optimizer"):
        Checkpoint(trained[0], "train").restore(model)


# TensorBoard


def images_written(folder):
    """Return the images of a folder of TensorBoard by tag, decoded."""
    (file,) = (folder / "train").glob("*")
    found = {}
    for record in tf.data.TFRecordDataset(str(file)):
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value:
            if value.tag.endswith("/image"):
                found[value.tag] = tf.io.decode_png(value.tensor.string_val[2]).numpy()
    return found


@pytest.mark.slow
def test_tensorboard_shows_masks_black_where_pruned(images, labels, tmp_path):
    layer = rsr_tf.NoisyDense(10, noise="none")
    model = compiled(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), layer]))
    callbacks = [rsr_tf.PruningCallback(sparsity=0.5), TensorBoard(tmp_path, histogram_freq=1, write_images=True)]
    model.fit(images, labels, verbose=0, callbacks=callbacks)
    shown = images_written(tmp_path)[f"{layer.mask.path}/image"]
    np.testing.assert_array_equal(shown[..., 0], np.where(layer.mask.numpy().T, 255, 0))
    assert 0 < np.mean(shown) < 255


@pytest.mark.parametrize("wrapped", [False, True])
def test_tensorboard_that_would_fail_on_masks_is_refused_before_training(images, labels, tmp_path, wrapped):
    network = tiny_network(noise="none")
    model = compiled(rsr_tf.RSRModel(network.inputs, network.outputs))
    callbacks = [keras.callbacks.TensorBoard(tmp_path, histogram_freq=1, write_images=True)]
    with pytest.raises(ValueError, match=r"`write_images` must be False .* Received: .*TensorBoard.write_images=True"):
        model.fit(images, labels, callbacks=keras.callbacks.CallbackList(callbacks) if wrapped else callbacks)
    assert model.optimizer.iterations == 0
