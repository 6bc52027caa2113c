import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import rsr_tf
from rsr_tf.pruning.schedules import ConstantSparsity, OneShot, PolynomialDecay, Rounds

EVERY_KIND = {
    "one-shot": OneShot(0.6, step=30),
    "constant": ConstantSparsity(0.5, begin_step=20, end_step=60, frequency=10),
    "polynomial": PolynomialDecay(0.1, 0.9, begin_step=20, end_step=60, power=2, frequency=5),
    "rounds": Rounds((0.3, 0.5, 0.6), steps_per_round=40, begin_step=7),
}


def prunings(schedule, steps):
    """The steps at which a schedule prunes, and how much."""
    answers = {step: schedule(step) for step in range(steps)}
    return {step: sparsity for step, (should_prune, sparsity) in answers.items() if should_prune}


# By hand


def test_one_shot_prunes_once():
    assert prunings(OneShot(0.6, step=3), 10) == {3: 0.6}
    assert prunings(OneShot(0.6, step=0), 10) == {0: 0.6}


def test_constant_sparsity_prunes_from_begin_to_end_every_so_many_steps():
    assert prunings(ConstantSparsity(0.5, 2, end_step=8, frequency=3), 20) == {2: 0.5, 5: 0.5, 8: 0.5}
    assert prunings(ConstantSparsity(0.5, 2, end_step=7, frequency=3), 20) == {2: 0.5, 5: 0.5}


def test_constant_sparsity_without_end_goes_on():
    assert list(prunings(ConstantSparsity(0.5, 100), 1000)) == list(range(100, 1000, 100))


def test_polynomial_decay_by_hand():
    """0.8 - 0.8 * (1 - p)^3 at p = 0, 1/4, 1/2, 3/4, 1."""
    expected = {10: 0.0, 12: 0.4625, 14: 0.7, 16: 0.7875, 18: 0.8}
    assert prunings(PolynomialDecay(0.0, 0.8, 10, 18, frequency=2), 30) == pytest.approx(expected)


def test_polynomial_decay_of_power_one_is_linear_and_may_start_above_zero():
    expected = {0: 0.5, 5: 0.55, 10: 0.6, 15: 0.65, 20: 0.7}
    assert prunings(PolynomialDecay(0.5, 0.7, 0, 20, power=1, frequency=5), 30) == pytest.approx(expected)


def test_final_sparsity_is_missed_if_the_frequency_does_not_divide_length():
    schedule = PolynomialDecay(0.0, 0.8, 0, 8, frequency=3)
    assert prunings(schedule, 20) == pytest.approx({0: 0.0, 3: 0.8 - 0.8 * 0.625**3, 6: 0.8 - 0.8 * 0.25**3})
    assert schedule(8) == (False, 0.8)


def test_rounds_prune_further_every_so_many_steps_and_then_no_more():
    assert prunings(Rounds([0.3, 0.5, 0.6], steps_per_round=4, begin_step=2), 40) == {2: 0.3, 6: 0.5, 10: 0.6}
    assert prunings(Rounds([0.3], steps_per_round=4), 40) == {0: 0.3}


def test_rounds_say_their_sparsity_between_prunings_too():
    rounds = Rounds((0.3, 0.6), steps_per_round=4, begin_step=2)
    assert [rounds(step)[1] for step in (0, 2, 5, 6, 100)] == [0.0, 0.3, 0.3, 0.6, 0.6]


def test_rounds_of_equal_share_remove_the_same_share_of_what_is_left():
    rounds = Rounds.of_equal_share(0.657, rounds=3, steps_per_round=10, begin_step=5)
    assert rounds.sparsities == pytest.approx((0.3, 0.51, 0.657))  # survivors 0.7, 0.49, 0.343
    assert rounds.sparsities[-1] == 0.657
    assert (rounds.steps_per_round, rounds.begin_step) == (10, 5)


# The two of TFMOT, against its formulae in NumPy


def tfmot_turn(steps, begin, end, frequency):
    in_range = np.logical_and(np.greater_equal(steps, begin), np.logical_or(np.less_equal(steps, end), end < 0))
    return np.logical_and(in_range, np.equal(np.mod(np.subtract(steps, begin), frequency), 0))


@pytest.mark.parametrize(
    ("begin", "end", "frequency"), [(0, 50, 10), (7, 50, 10), (7, 47, 10), (30, 30, 1), (5, -1, 100), (0, -1, 1)]
)
def test_constant_sparsity_is_due_as_in_tfmot(begin, end, frequency):
    schedule = ConstantSparsity(0.25, begin, end_step=end, frequency=frequency)
    steps = np.arange(300)
    np.testing.assert_array_equal([schedule(step)[0] for step in steps], tfmot_turn(steps, begin, end, frequency))
    assert {schedule(step)[1] for step in steps} == {0.25}


@pytest.mark.parametrize(
    ("initial", "final", "begin", "end", "power", "frequency"),
    [(0.0, 0.8, 0, 50, 3, 10), (0.5, 0.9, 7, 61, 3, 1), (0.2, 0.7, 30, 31, 0.5, 4), (0.9, 0.1, 5, 95, 1, 7)],
)
def test_polynomial_decay_is_that_of_tfmot(initial, final, begin, end, power, frequency):
    schedule = PolynomialDecay(initial, final, begin, end, power=power, frequency=frequency)
    steps = np.arange(150)
    progress = np.clip((steps - begin) / (end - begin), 0, 1)
    expected = np.add(np.multiply(initial - final, np.power(1 - progress, power)), final)
    np.testing.assert_allclose([schedule(step)[1] for step in steps], expected, rtol=1e-12)
    np.testing.assert_array_equal([schedule(step)[0] for step in steps], tfmot_turn(steps, begin, end, frequency))


# What every schedule does


@pytest.mark.parametrize("schedule", EVERY_KIND.values(), ids=EVERY_KIND)
def test_step_may_be_a_tensor_or_a_variable(schedule):
    for step in (0, 20, 30, 47, 87):
        answers = {
            schedule(step),
            schedule(np.int64(step)),
            schedule(tf.constant(step, tf.int64)),
            schedule(keras.Variable(step, dtype="int32", trainable=False)),
        }
        assert len(answers) == 1
        ((should_prune, sparsity),) = answers
        assert type(should_prune) is bool
        assert type(sparsity) is float


@pytest.mark.parametrize("schedule", EVERY_KIND.values(), ids=EVERY_KIND)
def test_config_brings_the_schedule_back(schedule):
    assert type(schedule).from_config(json.loads(json.dumps(schedule.get_config()))) == schedule


@pytest.mark.parametrize("schedule", EVERY_KIND.values(), ids=EVERY_KIND)
def test_keras_serializes_the_schedule_as_one_of_this_package(schedule):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    assert config["registered_name"] == f"rsr_tf>{type(schedule).__name__}"
    assert keras.saving.deserialize_keras_object(config) == schedule


def test_schedules_keep_their_earlier_import_path():
    from rsr_tf.schedules import PolynomialDecay as Earlier

    assert Earlier is PolynomialDecay is rsr_tf.schedules.PolynomialDecay


# Mistakes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneShot(1.5, 3), r"`sparsity` must be in \[0, 1\]. Received: sparsity=1.5"),
        (lambda: OneShot(0.5, -1), "`step` must be an integer of at least 0. Received: step=-1"),
        (lambda: OneShot(0.5, 3.0), "`step` must be an integer of at least 0. Received: step=3.0"),
        (lambda: ConstantSparsity(-0.1, 0), r"`target_sparsity` must be in \[0, 1\]. Received: target_sparsity=-0.1"),
        (lambda: ConstantSparsity(0.5, -1), "`begin_step` must be an integer of at least 0. Received: begin_step=-1"),
        (
            lambda: ConstantSparsity(0.5, 5, end_step=4),
            "`end_step` must be -1 or at least `begin_step`. Received: begin_step=5, end_step=4",
        ),
        (lambda: ConstantSparsity(0.5, 5, -2), "`end_step` must be an integer of at least -1. Received: end_step=-2"),
        (
            lambda: ConstantSparsity(0.5, 5, frequency=0),
            "`frequency` must be an integer of at least 1. Received: frequency=0",
        ),
        (
            lambda: PolynomialDecay(float("nan"), 0.5, 0, 9),
            r"`initial_sparsity` must be in \[0, 1\]. Received: initial_sparsity=nan",
        ),
        (lambda: PolynomialDecay(0, 60, 0, 9), r"`final_sparsity` must be in \[0, 1\]. Received: final_sparsity=60"),
        (lambda: PolynomialDecay(0, 0.5, -3, 9), "`begin_step` must be an integer of at least 0. Received: begin_st"),
        (lambda: PolynomialDecay(0, 0.5, 0, -1), "`end_step` must be an integer of at least 1. Received: end_step=-1"),
        (
            lambda: PolynomialDecay(0, 0.5, 9, 9),
            "`end_step` must be above `begin_step`. Received: begin_step=9, end_step=9",
        ),
        (lambda: PolynomialDecay(0, 0.5, 0, 9, power=0), "`power` must be positive. Received: power=0"),
        (
            lambda: PolynomialDecay(0, 0.5, 0, 9, frequency=2.5),
            "`frequency` must be an integer of at least 1. Received: frequency=2.5",
        ),
        (lambda: Rounds((), 10), r"`sparsities` must not be empty .* Received: \(\)"),
        (lambda: Rounds((0.5, 0.4), 10), r"`sparsities` must .* not decrease. Received: \(0.5, 0.4\)"),
        (lambda: Rounds((0.5, 2), 10), r"`sparsities` must be in \[0, 1\]. Received: sparsities=2"),
        (lambda: Rounds((0.5,), 0), "`steps_per_round` must be an integer of at least 1. Received: steps_per_round=0"),
        (lambda: Rounds((0.5,), 9, -1), "`begin_step` must be an integer of at least 0. Received: begin_step=-1"),
        (lambda: Rounds.of_equal_share(0.5, 0, 9), "`rounds` must be an integer of at least 1. Received: rounds=0"),
        (
            lambda: Rounds.of_equal_share(7, 2, 9),
            r"`final_sparsity` must be in \[0, 1\]. Received: final_sparsity=7",
        ),
    ],
)
def test_impossible_schedules_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
