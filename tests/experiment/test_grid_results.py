"""Numbers of a grid: means over seeds, intervals, and the comparison with numbers from elsewhere."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
from helpers import parse

from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.experiment import grid_results
from rsr_tf.experiment.grid_results import compared, passes, summarized
from rsr_tf.experiment.run_folder import RunFolder


def test_interval_of_one_run_is_wilsons():
    found = summarized([(0.4, 200)])
    assert found["mean"] == 0.4
    assert found["interval"] == pytest.approx(wilson_interval(0.4, 200))


def test_interval_of_several_runs_is_students_if_they_differ_more_than_their_images():
    values = [0.3, 0.5, 0.4]
    expected = scipy.stats.t.interval(0.95, 2, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert summarized([(value, 10_000) for value in values])["interval"] == pytest.approx(expected)


def test_interval_of_several_equal_runs_is_that_of_all_their_images():
    assert summarized([(0.5, 100)] * 3)["interval"] == pytest.approx(wilson_interval(0.5, 300))


def test_images_that_are_the_same_for_every_seed_count_once():
    found = summarized([(0.5, 100), (0.5, 90)], same_images=True)
    assert found["interval"] == pytest.approx(wilson_interval(0.5, 100))
    assert found["num_images"] == [100, 90]


@pytest.mark.parametrize(("images", "count"), [(0, 100), (100, 300)])
def test_interval_of_a_row_counts_all_test_images_once_and_drawn_ones_for_each_seed(images, count, monkeypatch):
    """The suite draws its images by the seed, whatever those of the config are."""
    score = {"mean": 0.5, "num_images": 100}
    network = {"scores": {"noise_off": dict.fromkeys(("clean", "fgsm", "pgd"), score)}, "sparsity": 0, "weights": 9}
    evaluation = {"examples": {}, "attack": {"num_images": 100}, "scheme": "RSR", "networks": {"trained": network}}
    verdict = {"claim": {"accuracy": 0.5, "num_images": 100}, "checks": []}
    monkeypatch.setattr(RunFolder, "read_evaluation", lambda folder: evaluation)
    monkeypatch.setattr(grid_results, "_verdict", lambda *arguments: verdict)
    configs = {seed: parse("", f"seed={seed}", f"evaluation.images={images}") for seed in range(3)}
    cell = SimpleNamespace(
        name="rsr", labels={}, note="", configs=configs, reference=SimpleNamespace(trained={}, source="")
    )
    measure = SimpleNamespace(networks=["trained"], columns=["pgd", "claim"])
    (row,) = grid_results._rows(cell, SimpleNamespace(measure=measure), "nowhere")
    assert row["values"]["pgd"]["interval"] == pytest.approx(wilson_interval(0.5, count))
    assert row["values"]["claim"]["interval"] == pytest.approx(wilson_interval(0.5, 300))


def test_interval_of_shares_stays_within_its_range():
    low, high = summarized([(0.01, 10_000), (0.99, 10_000)])["interval"]
    assert (low, high) == (0.0, 1.0)


def test_number_that_is_no_share_has_an_interval_of_seeds_alone():
    assert summarized([(1000.0, None)])["interval"] == [1000.0, 1000.0]


def test_reference_is_compared_in_percent():
    found = compared(summarized([(0.5, 100)]), 45.0)
    assert found["mean"] == 0.5
    assert (found["reference"], found["difference"]) == (0.45, pytest.approx(0.05))
    assert found["within"]
    assert not compared(summarized([(0.5, 10_000)]), 45.0)["within"]
    assert "reference" not in compared(summarized([(0.5, 100)]), None)


def test_run_without_a_number_keeps_its_place():
    found = summarized([(0.5, 100), None, (0.7, 100)])
    assert found["runs"] == [0.5, None, 0.7]
    assert found["num_images"] == [100, None, 100]
    assert found["mean"] == pytest.approx(0.6)


ROUNDS = "pruning.schedule=rounds pruning.rounds=3 pruning.finetune_epochs=2"
ADMM = "pruning.schedule=admm pruning.admm_epochs=4 pruning.scope=layer pruning.finetune_epochs=2"


@pytest.mark.parametrize(
    ("overrides", "trained", "pruned"),
    [
        ("attack.steps=7", 90, 90),
        ("attack.steps=0", 10, 10),
        ("attack.steps=7 training.warmup_epochs=4", 4 + 6 * 9, 4 + 6 * 9),
        ("attack.steps=1 pruning.finetune_epochs=2", 30, 36),
        (f"attack.steps=1 {ROUNDS}", 30, 48),
        (f"attack.steps=1 {ADMM}", 30, 48),
    ],
)
def test_passes_count_every_step_of_the_attack_and_every_stage(overrides, trained, pruned):
    config = parse("", "training.epochs=10", *overrides.split())
    assert (passes(config, "trained"), passes(config, "pruned")) == (trained, pruned)
