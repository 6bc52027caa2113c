import dataclasses
import logging

import numpy as np
import pytest
from helpers import parse

import rsr_tf
from rsr_tf.errors import UserError
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.experiment.training_checks import check_same_images, check_training, warn_of_absent_classes


@pytest.fixture
def begun(tmp_path):
    """Create a run folder with a checkpoint that was trained on the digits; return it with them."""
    digits = rsr_tf.data.load("digits", validation=0.2)
    folder = RunFolder(tmp_path / "run")
    check_same_images(digits, folder)
    (folder.checkpoints / "train-0001.keras").touch()
    return folder, digits


AVERAGED = "training.ema_momentum=0.9"
PRUNED_IN_TRAINING = "pruning.schedule=polynomial"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([AVERAGED, "model.lasso_step=proximal"], '`training.ema_momentum` must be 0 with .* "proximal", .* 0.9'),
        (
            [AVERAGED, "training.optimizer=muon", PRUNED_IN_TRAINING],
            "`training.ema_momentum` must be 0 with the optimizer muon and pruning in training",
        ),
        (["training.keep=best", "attack.steps=0"], "`training.keep` looks at .* `attack.steps` is 0. Received: best"),
        (["training.patience=3", "attack.steps=0"], "`training.patience` looks at .* Received: 3"),
        (
            ["training.keep=best", "training.epochs=4", "training.warmup_epochs=4"],
            "`training.keep` needs an epoch after the 4 of warm-up. Received: best",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(overrides, message):
    with pytest.raises(UserError, match=message):
        check_training(parse("", *overrides), steps_per_epoch=9)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model.lasso_step=proximal"],
        ["training.keep=best", "training.patience=3", "training.warmup_epochs=4"],
        [AVERAGED, "model.lasso_step=proximal", "model.lasso=0"],
        [AVERAGED, PRUNED_IN_TRAINING],
        [AVERAGED, "training.optimizer=muon"],
        [AVERAGED, "training.optimizer=adam", PRUNED_IN_TRAINING],
    ],
)
def test_what_goes_together_is_taken_in_silence(overrides, caplog):
    check_training(parse("", *overrides), steps_per_epoch=9)
    assert caplog.text == ""


def test_average_that_still_holds_the_initial_weights_is_warned_of(caplog):
    """0.999 ** 360 is 0.698, and 0.9873 ** 360 is 0.01."""
    with caplog.at_level(logging.WARNING):
        check_training(parse("", "training.ema_momentum=0.999", "training.epochs=40"), steps_per_epoch=9)
    assert "70 % of the average are the initial weights. 0.99 would leave 1 %" in caplog.text


def test_class_without_training_images_is_named(caplog):
    """Such as class 0 where labels begin with 1, or one whose only image was held out for validation."""
    digits = rsr_tf.data.load("digits")
    warn_of_absent_classes(digits)
    assert caplog.text == ""
    some = digits.train.take(np.flatnonzero(digits.train.labels > 1))
    warn_of_absent_classes(dataclasses.replace(digits, train=some))
    assert "2 of 10 classes have no training image: 0, 1. The network has an output for each" in caplog.text


def test_run_goes_on_with_the_training_images_that_it_began_with(begun):
    folder, digits = begun
    noted = folder.training_images.read_text()
    check_same_images(digits, folder)
    assert folder.training_images.read_text() == noted


@pytest.mark.parametrize("change", ["fewer", "labels", "order"])
def test_run_refuses_to_go_on_with_other_training_images(begun, change):
    folder, digits = begun
    train = digits.train
    if change == "fewer":
        train = train.first(len(train) - 1)
    elif change == "labels":
        train = dataclasses.replace(train, labels=(train.labels + 1) % 10)
    else:
        train = train.take(np.arange(len(train))[::-1])
    with pytest.raises(UserError, match=r"the training images have changed since the run .* began with .* Received: "):
        check_same_images(dataclasses.replace(digits, train=train), folder)


def test_process_that_is_not_the_chief_notes_no_training_images(begun, tmp_path):
    folder = RunFolder(tmp_path / "other", writes=False)
    check_same_images(begun[1], folder)
    assert not folder.path.exists()


def test_run_stopped_before_its_first_checkpoint_begins_anew_with_other_images(begun):
    folder, digits = begun
    (folder.checkpoints / "train-0001.keras").unlink()
    other = dataclasses.replace(digits, train=digits.train.first(100))
    check_same_images(other, folder)
    assert folder.training_images.read_text().startswith("100 of 8x8x1 pixels, checksum of the labels ")
