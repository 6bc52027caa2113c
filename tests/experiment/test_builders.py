"""From a config to the objects it describes; the command's own tests see them at work."""

import keras
import numpy as np
import pytest
from helpers import compiled, parse
from image_folders import write_classes

from rsr_tf import data
from rsr_tf.choices import OPTIMIZERS
from rsr_tf.config import UserError, parse_config
from rsr_tf.experiment import builders
from rsr_tf.pruning.schedules import ConstantSparsity, PolynomialDecay, Rounds

pytestmark = pytest.mark.integration


def config_of(**pruning):
    return parse_config(
        {"data": {"name": "digits"}, "model": {"name": "small_cnn"}, "pruning": pruning}, source="run.toml"
    )


@pytest.mark.parametrize("pruning", [{}, {"gamma": 0.01}, {"schedule": "rounds", "finetune_epochs": 2}])
def test_network_is_not_pruned_in_training_by_default_nor_in_rounds(pruning):
    assert builders.build_pruner(config_of(**pruning), steps=1000) is None


def test_constant_schedule_begins_and_ends_at_its_shares_of_training():
    config = config_of(schedule="constant", sparsity=0.7, begin=0.1, end=0.9, frequency=50)
    assert builders.build_pruner(config, steps=1010).schedule == ConstantSparsity(0.7, 101, end_step=909, frequency=50)


def test_polynomial_schedule_has_all_its_keys():
    config = config_of(schedule="polynomial", sparsity=0.8, initial_sparsity=0.2, begin=0, end=1, power=2, frequency=25)
    expected = PolynomialDecay(0.2, 0.8, 0, 1000, power=2, frequency=25)
    assert builders.build_pruner(config, steps=1000).schedule == expected


def test_last_pruning_of_a_polynomial_schedule_reaches_the_whole_sparsity():
    """From 250 to 750 in steps of 120: the last that fits is 730."""
    schedule = builders.build_pruner(config_of(schedule="polynomial", frequency=120), steps=1000).schedule
    assert schedule == PolynomialDecay(0.0, 0.6, 250, 730, frequency=120)
    assert schedule(730) == (True, 0.6)


def test_polynomial_schedule_without_time_for_a_second_pruning_is_refused():
    with pytest.raises(UserError, match=r"must be at most 40, as pruning lasts from step 20 to 60. Received: 41"):
        builders.build_pruner(config_of(schedule="polynomial", frequency=41), steps=80)
    assert builders.build_pruner(config_of(schedule="polynomial", frequency=40), steps=80).schedule(60) == (True, 0.6)


def test_rounds_are_as_long_as_their_epochs_of_fine_tuning():
    config = config_of(schedule="rounds", sparsity=0.75, rounds=2, finetune_epochs=3)
    assert builders.build_pruning_rounds(config, steps_per_epoch=10).schedule == Rounds((0.5, 0.75), steps_per_round=30)


def test_steps_schedule_drops_at_half_and_at_three_quarters():
    rate = builders.build_learning_rate("steps", peak=0.1, steps=160)
    found = [float(rate(step)) for step in (0, 80, 81, 120, 121, 160)]
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_cosine_schedule_rises_over_three_tenths_and_falls_to_zero():
    rate = builders.build_learning_rate("cosine", peak=0.2, steps=100)
    steps = np.array([0, 15, 30, 65, 100])
    falling = 0.1 * (1 + np.cos(np.pi * (steps - 30) / 70))
    wanted = np.where(steps < 30, 0.2 * steps / 30, falling)
    assert [float(rate(step)) for step in steps] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_cosine_schedule_takes_very_short_trainings(steps):
    rate = builders.build_learning_rate("cosine", peak=0.2, steps=steps)
    assert all(0 <= float(rate(step)) <= 0.2 + 1e-6 for step in range(steps + 1))


def test_constant_schedule_is_the_peak_itself():
    assert builders.build_learning_rate("constant", peak=0.1, steps=100) == 0.1


def watched(kind, **attack):
    """Return a config with a monitor of catastrophic overfitting."""
    attack = {"epsilon": 0.2, "step_size": 0.2, "steps": 1, **attack, "overfitting_watch": kind}
    values = {"data": {"name": "digits"}, "model": {"name": "small_cnn", "width": 0.125}, "attack": attack}
    return parse_config(values, source="run.toml")


@pytest.fixture(scope="module")
def digits():
    return builders.load_data(watched("off"))


def rsr_model(config, data_set):
    network = builders.build_network(config, data_set)
    return builders.build_rsr_model(config, network, warmup_steps=0)


@pytest.mark.parametrize(("kind", "steps"), [("off", 1), ("warn", 0)])
def test_no_watch_is_built_if_it_is_off_or_nothing_attacks(digits, kind, steps):
    config = watched(kind, steps=steps)
    assert builders.build_overfitting_watch(config, digits, rsr_model(config, digits), []) == []


def test_watch_that_warns_has_no_fallback(digits):
    config = watched("warn")
    model = rsr_model(config, digits)
    (watch,) = builders.build_overfitting_watch(config, digits, model, [])
    assert watch.fallback is None
    assert len(watch.images) == min(256, len(digits.validation.labels))
    assert model.attack.steps == 1


def row(fgsm, pgd, multi_step=None):
    """Return a row of the history file."""
    values = {"watch_fgsm_accuracy": fgsm, "watch_pgd_accuracy": pgd, "multi_step": multi_step}
    return {name: str(value) for name, value in values.items() if value is not None}


def test_resumed_watch_knows_the_accuracies_of_earlier_epochs(digits):
    config = watched("multi-step")
    model = rsr_model(config, digits)
    history = [row(0.4, 0.5, 0.0), row(0.6, 0.3, 0.0)]
    (watch,) = builders.build_overfitting_watch(config, digits, model, history)
    assert (watch.best_pgd, watch.last_fgsm) == (0.5, 0.6)
    assert model.attack.steps == 1


def test_resumed_training_keeps_the_fallback_attack(digits):
    config = watched("multi-step")
    model = rsr_model(config, digits)
    history = [row(0.4, 0.5, 0.0), row(0.6, 0.1, 1.0)]
    (watch,) = builders.build_overfitting_watch(config, digits, model, history)
    assert model.attack is watch.fallback
    assert (model.attack.epsilon, model.attack.step_size, model.attack.steps) == (0.2, 0.05, 7)


def test_training_attack_and_its_monitor_are_in_the_norm_of_the_config():
    values = {"data": {"name": "digits"}, "model": {"name": "small_cnn", "width": 0.125}}
    values["attack"] = {"norm": "l2", "epsilon": 1.5, "step_size": 0.5, "overfitting_watch": "multi-step"}
    config = parse_config(values, source="run.toml")
    data_set = builders.load_data(config)
    model = builders.build_rsr_model(config, builders.build_network(config, data_set), warmup_steps=0)
    (monitor,) = builders.build_overfitting_watch(config, data_set, model, [])
    found = [model.attack, monitor.fallback, *monitor.attacks.values()]
    assert {(attack.norm, attack.epsilon) for attack in found} == {("l2", 1.5)}


def npz_config(path, **changes):
    """Write 1,500 images as .npz, with one number changed, and return its config."""
    x = {name: np.full((1500, 2, 2, 1), 0.5, "float32") for name in ("x_train", "x_test")}
    for name, (index, value) in changes.items():
        x[name][index, 0, 0, 0] = value
    labels = np.arange(1500) % 3
    np.savez(path, **x, y_train=labels, y_test=labels)
    return parse_config(
        {"data": {"name": "npz", "directory": str(path)}, "model": {"name": "small_cnn"}}, source="test"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, 255.0, -0.5])
@pytest.mark.parametrize(("name", "index"), [("x_test", 1400), ("x_train", 1400), ("x_train", 0)])
def test_every_image_is_checked(tmp_path, name, index, value):
    """Held-out images are drawn from the training images: wherever they fall, they are checked."""
    with pytest.raises(
        UserError, match=r"\[data\] `images` must be in \[0, 1\].* in the (train|validation|test) images"
    ):
        builders.load_data(npz_config(tmp_path / "own.npz", **{name: (index, value)}))


def test_held_out_image_is_named_as_such(tmp_path):
    held_out = np.random.default_rng(0).permutation(1500)[0]
    with pytest.raises(UserError, match="nan to nan in the validation images"):
        builders.load_data(npz_config(tmp_path / "own.npz", x_train=(held_out, np.nan)))


def test_images_without_a_fault_are_loaded(tmp_path):
    assert len(builders.load_data(npz_config(tmp_path / "own.npz")).validation) == 150


def optimizer_of(*overrides):
    return builders.build_optimizer(parse("", *overrides).training, learning_rate=0.1)


def test_default_optimizer_is_sgd_with_nesterov_momentum():
    found = optimizer_of().get_config()
    kept = ("momentum", "nesterov", "weight_decay", "global_clipnorm", "use_ema")
    assert {key: found[key] for key in kept} == dict(zip(kept, (0.9, True, None, None, False), strict=True))


def test_momentum_can_be_chosen_or_left_out():
    assert optimizer_of("training.momentum=0.5").momentum == 0.5
    plain = optimizer_of("training.momentum=0")
    assert (plain.momentum, plain.nesterov) == (0.0, False)


@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains(name, weight_decay):
    """One step on a constant gradient moves a weight down, with whatever decay."""
    optimizer = optimizer_of(f"training.optimizer={name}", f"training.weight_decay={weight_decay}")
    assert type(optimizer).__name__.lower() == optimizer.name == name
    weight = keras.Variable(np.ones((2, 3), "float32"))
    optimizer.build([weight])
    optimizer.apply([np.ones((2, 3), "float32")])
    assert np.all(weight.numpy() < 1)
    if name in ("sgd", "adamw"):  # decoupled: 1 - 0.1 * 0.1 before the step of 0.1 * 1.9 or 0.1
        step = {"sgd": 0.19, "adamw": 0.1}[name]
        np.testing.assert_allclose(weight.numpy(), 1 - 0.1 * weight_decay - step, atol=1e-5)


def test_gradient_of_all_weights_together_is_clipped():
    """The gradients (3, 0) and (0, 4) have the norm 5; clipped to 1, they are (0.6, 0) and (0, 0.8)."""
    optimizer = optimizer_of("training.clip_norm=1", "training.momentum=0")
    weights = [keras.Variable(np.zeros(2, "float32")) for _ in range(2)]
    optimizer.build(weights)
    optimizer.apply([np.array([3, 0], "float32"), np.array([0, 4], "float32")])
    np.testing.assert_allclose([weight.numpy() for weight in weights], [[-0.06, 0], [0, -0.08]], atol=1e-7)


def test_gradient_is_clipped_after_it_is_unscaled(images, labels):
    """With loss scaling, the step is as long as the norm allows, whatever the scale."""
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    optimizer = optimizer_of("training.clip_norm=1e-3", "training.momentum=0")
    compiled(model, keras.optimizers.LossScaleOptimizer(optimizer))
    before = model.get_weights()
    model.fit(images, labels, batch_size=16, verbose=0)
    steps = [new - old for old, new in zip(before, model.get_weights(), strict=True)]
    assert np.sqrt(sum(np.sum(step**2) for step in steps)) == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_labels_are_smoothed_on_demand(digits):
    config = parse("", "model.width=0.125", "training.label_smoothing=0.1")
    model = rsr_model(config, digits)
    builders.compile_model(model, config, 0.1)
    assert model.loss.label_smoothing == 0.1
    builders.compile_model(model, parse(), 0.1)
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)


def folder_config(path, **data):
    values = {"data": {"name": "folder", "directory": str(path), **data}, "model": {"name": "small_cnn"}}
    return parse_config(values | {"training": {"batch_size": 4}}, source="test")


def test_options_of_the_data_reach_its_source(tmp_path):
    write_classes(tmp_path, {"a": 8, "b": 8})
    found = builders.load_data(folder_config(tmp_path, cache="stream", resize=[5, 4], test=0.5, validation=0.25))
    assert isinstance(found.train.images, data.StoredImages)
    assert (found.image_shape, len(found.train), len(found.validation), len(found.test)) == ((5, 4, 1), 6, 2, 8)


def test_option_that_the_source_does_not_use_is_refused():
    values = {"data": {"name": "digits", "cache": "stream"}, "model": {"name": "small_cnn"}}
    message = r"\[data\] `cache` is used by folder, tfds:NAME\. Received: 'stream' with digits"
    with pytest.raises(UserError, match=message):
        builders.load_data(parse_config(values, source="test"))


def test_augmentation_that_the_images_cannot_take_is_refused_before_anything_starts(tmp_path):
    write_classes(tmp_path, {"a": 8, "b": 8})
    with pytest.raises(UserError, match=r"\[data\] `augment`: RandomHue must be able to take"):
        builders.load_data(folder_config(tmp_path, augment=["RandomHue"]))


def test_batches_of_a_config_have_its_augmentations_and_weights(tmp_path):
    write_classes(tmp_path, {"few": 5, "many": 20})
    config = folder_config(tmp_path, augment=["RandomFlip"], class_weights="balanced", test=0.2, validation=0.1)
    data_set = builders.load_data(config)
    options = {"batch_size": 4, "seed": 0, "augment": ["RandomFlip"], "start_step": 3}
    expected_x, expected_y = next(iter(data.training_batches(data_set.train, **options)))
    x, y, weights = next(iter(builders.build_training_batches(config, data_set, start_step=3)))
    np.testing.assert_array_equal(x, expected_x)
    np.testing.assert_array_equal(y, expected_y)
    counts = np.bincount(data_set.train.labels)
    np.testing.assert_allclose(weights, (18 / 2 / counts)[y.numpy()], rtol=1e-6)
    assert len(next(iter(builders.build_training_batches(folder_config(tmp_path), data_set, start_step=0)))) == 2
