"""What a training tells of itself, epoch by epoch."""

import logging

import numpy as np

from rsr_tf.experiment.epoch_progress import EpochProgress, describe_logs
from rsr_tf.progress import Task

LOGS = {"loss": np.float32(1.25), "accuracy": 0.501, "adversarial_accuracy": 0.249, "lasso": 3.0}


def test_other_logs_and_no_logs_are_left_out():
    assert describe_logs(LOGS | {"val_accuracy": 0.1}) == "clean 50%, adversarial 25%, loss 1.250"
    assert describe_logs({"loss": 2}) == "loss 2.000"
    assert describe_logs(None) == ""


def test_task_hears_of_steps_and_of_finished_epochs(caplog):
    task = Task("epoch", 40, done=2, title="train")
    callback = EpochProgress(task)
    callback.set_params({"steps": 18})
    callback.on_train_batch_end(8, LOGS)
    assert task.position == "epoch 3 of 40"
    assert task.note == "step 9 of 18, clean 50%, adversarial 25%, loss 1.250"
    assert task.share == 2.5 / 40
    with caplog.at_level(logging.DEBUG, "rsr_tf"):
        callback.on_epoch_end(2, LOGS)
    assert (task.done, task.note) == (3, "")
    assert caplog.messages == ["train epoch 3 of 40: clean 50%, adversarial 25%, loss 1.250"]


def test_numbers_are_looked_at_ten_times_a_second_at_most(monkeypatch):
    now, task = [5.0], Task("epoch", 1)
    monkeypatch.setattr("rsr_tf.experiment.epoch_progress.time.monotonic", lambda: now[0])
    callback = EpochProgress(task)
    callback.set_params({"steps": 100})
    seen = []
    for step in range(4):
        callback.on_train_batch_end(step, LOGS)
        seen.append(task.note.partition(",")[0])
        now[0] += 0.06
    assert seen == ["step 1 of 100", "step 1 of 100", "step 3 of 100", "step 3 of 100"]
