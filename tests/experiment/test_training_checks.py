import dataclasses
import logging

import numpy as np
import pytest
from helpers import parse

import rsr_tf
from rsr_tf.errors import UserError
from rsr_tf.experiment.training_checks import check_training, warn_of_absent_classes

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
