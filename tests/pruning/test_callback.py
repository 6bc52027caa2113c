import itertools
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.layers import noisy_layers
from rsr_tf.pruning.schedules import ConstantSparsity, OneShot, PolynomialDecay, Rounds

BATCH = 2
STEPS_PER_EPOCH = 8
"""Of the images of conftest in such batches."""


def network(steps_per_execution=1, optimizer=None, **options):
    """Two dense layers without noise, 64 * 8 + 8 * 10 weights; eager, as a trace takes longer than the few steps."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), rsr_tf.NoisyDense(8, noise="none"), rsr_tf.NoisyDense(10, noise="none")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    optimizer = optimizer or keras.optimizers.SGD(0.1, momentum=0.9)
    return compiled(model, optimizer, steps_per_execution=steps_per_execution, **{"run_eagerly": True, **options})


class Watch(keras.callbacks.Callback):
    """Sparsity after every execution, by the number of updates done."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def on_train_batch_end(self, batch, logs=None):
        self.seen[int(self.model.optimizer.iterations)] = round(rsr_tf.sparsity(self.model), 3)


def watched_fit(callback, data, model=None, epochs=1, **options):
    watch = Watch()
    model = model or network()
    history = model.fit(
        *data, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=[callback, watch], **options
    )
    return watch.seen, history.history


@pytest.fixture
def data(images, labels):
    return images, labels


def shares(*values):
    """Sparsities that 592 weights can have, as the watch rounds them."""
    return [round(round(value * 592) / 592, 3) for value in values]


def test_network_is_pruned_after_as_many_updates_as_the_schedule_says(data):
    seen, _ = watched_fit(rsr_tf.PruningCallback(OneShot(0.5, step=3)), data)
    assert seen == {1: 0, 2: 0, **dict.fromkeys(range(3, 9), 0.5)}


def test_step_0_is_before_the_first_update(data):
    seen, _ = watched_fit(rsr_tf.PruningCallback(OneShot(0.5, step=0)), data)
    assert set(seen.values()) == {0.5}


@pytest.mark.slow
def test_polynomial_decay_prunes_more_and_more(data):
    schedule = PolynomialDecay(0.0, 0.8, begin_step=2, end_step=10, frequency=2)
    seen, _ = watched_fit(rsr_tf.PruningCallback(schedule), data, epochs=2)
    expected = shares(0, 0, 0, 0.4625, 0.4625, 0.7, 0.7, 0.7875, 0.7875, *[0.8] * 7)
    assert list(seen.values()) == expected


def test_rounds_prune_in_steps(data):
    seen, _ = watched_fit(rsr_tf.PruningCallback(Rounds((0.25, 0.5, 0.75), steps_per_round=3)), data)
    assert list(seen.values()) == [0.25, 0.25, 0.5, 0.5, 0.5, 0.75, 0.75, 0.75]


def test_several_steps_in_one_execution_prune_once_to_the_last_that_should(data, caplog):
    """Executions of 4 steps: 1 to 4, of which 3 prunes, and 5 to 8, of which 5 and 7 do."""
    caplog.set_level(logging.INFO, logger="rsr_tf")
    callback = rsr_tf.PruningCallback(Rounds((0.25, 0.5, 0.75), steps_per_round=2, begin_step=3))
    seen, _ = watched_fit(callback, data, model=network(steps_per_execution=4))
    assert seen == {4: 0.25, 8: 0.75}
    assert [record.getMessage() for record in caplog.records] == [
        "step 4: pruned to 25.00 %, as planned for step 3",
        "step 8: pruned to 75.00 %, as planned for step 7",
    ]


def test_pruning_at_its_own_step_is_logged_without_another(data, caplog):
    caplog.set_level(logging.INFO, logger="rsr_tf")
    watched_fit(rsr_tf.PruningCallback(OneShot(0.5, step=3)), data)
    assert [record.getMessage() for record in caplog.records] == ["step 3: pruned to 50.00 %"]


def test_every_step_is_asked_about_once_and_in_order(data):
    asked = []

    def schedule(step):
        asked.append(int(step))
        return False, 0.0

    watched_fit(rsr_tf.PruningCallback(schedule), data, model=network(steps_per_execution=4), epochs=2)
    assert asked == list(range(17))


def test_gradient_accumulation_counts_updates_not_batches(data):
    asked = []

    def schedule(step):
        asked.append(int(step))
        return False, 0.0

    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=4)
    watched_fit(rsr_tf.PruningCallback(schedule), data, model=network(optimizer=optimizer))
    assert asked == [0, 1, 2]


@pytest.mark.slow
def test_run_that_goes_on_prunes_as_one_that_was_never_stopped(data, tmp_path):
    """Stopped after the first of two epochs, between two prunings; everything else comes from the file."""
    schedule = PolynomialDecay(0.0, 0.8, begin_step=1, end_step=13, frequency=3)
    whole = network()
    seen, _ = watched_fit(rsr_tf.PruningCallback(schedule), data, whole, epochs=2)
    stopped = network()
    watched_fit(rsr_tf.PruningCallback(schedule), data, stopped)
    stopped.save(tmp_path / "stopped.keras")
    resumed = keras.models.load_model(tmp_path / "stopped.keras")
    again, _ = watched_fit(rsr_tf.PruningCallback(schedule), data, resumed, epochs=2, initial_epoch=1)
    assert again == {step: share for step, share in seen.items() if step > 8}
    assert len(set(again.values())) > 1
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_pruning_that_the_checkpoint_came_too_early_for_is_made_up(data, tmp_path):
    """Stopped at step 8, where the schedule prunes, but saved by somebody before this callback had its turn."""
    stopped = network()
    watched_fit(keras.callbacks.Callback(), data, stopped)
    seen, _ = watched_fit(rsr_tf.PruningCallback(OneShot(0.5, step=8)), data, stopped)
    assert set(seen.values()) == {0.5}


def test_callback_that_restores_may_come_after_it(data, tmp_path):
    """A restored run is not taken for one at step 0, whichever of the two is listed first."""
    saved = network()
    watched_fit(keras.callbacks.Callback(), data, saved)
    restore = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: model.optimizer.iterations.assign(saved.optimizer.iterations)
    )
    model, watch = network(), Watch()
    pruning = rsr_tf.PruningCallback(OneShot(0.5, step=0))
    model.fit(*data, batch_size=BATCH, verbose=0, callbacks=[pruning, restore, watch])
    assert list(watch.seen) == list(range(9, 17))
    assert set(watch.seen.values()) == {0}


def test_zeros_stay_though_the_schedule_asks_for_fewer(data):
    falling = PolynomialDecay(0.8, 0.2, begin_step=0, end_step=6, power=1, frequency=2)
    seen, _ = watched_fit(rsr_tf.PruningCallback(falling), data)
    assert set(seen.values()) == set(shares(0.8))


def test_mask_that_is_there_holds_between_prunings(data):
    model, masks = network(run_eagerly=False), []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: masks.append([np.array(layer.mask) for layer in noisy_layers(model)])
    )
    schedule = ConstantSparsity(0.5, begin_step=1, frequency=3)
    model.fit(*data, batch_size=BATCH, epochs=2, verbose=0, callbacks=[rsr_tf.PruningCallback(schedule), watch])
    for earlier, later in itertools.pairwise(masks):
        assert not any(np.any(new & ~old) for old, new in zip(earlier, later, strict=True))
    assert all(
        np.all(np.array(layer.kernel)[~mask] == 0) for layer, mask in zip(noisy_layers(model), masks[0], strict=True)
    )


def test_layer_scope_prunes_every_layer_alike(data):
    model = network()
    watched_fit(rsr_tf.PruningCallback(OneShot(0.5, step=3), scope="layer"), data, model)
    assert [row.sparsity for row in rsr_tf.sparsity_table(model)] == [0.5, 0.5]


def stock_network(activation="relu", **options):
    """As `network`, of plain Keras layers, in a graph."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(8, activation), keras.layers.Dense(10, name="head")]
    return compiled(keras.Sequential([keras.Input((8, 8, 1)), *layers]), keras.optimizers.Adam(0.01), **options)


@pytest.mark.slow
def test_stock_model_follows_a_schedule_and_is_traced_once(data):
    traces = []

    def counted_relu(x):
        traces.append(tf.inside_function())
        return tf.nn.relu(x)

    model = stock_network(counted_relu)
    seen, _ = watched_fit(rsr_tf.PruningCallback(Rounds((0.25, 0.5), steps_per_round=4, begin_step=2)), data, model)
    assert list(seen.values()) == [0, *[0.25] * 4, *[0.5] * 3]
    plain = len(traces)
    traces.clear()
    watched_fit(keras.callbacks.Callback(), data, stock_network(counted_relu))
    assert plain == len(traces)


def test_excluded_layers_are_left_and_capped_ones_spared(data):
    model = stock_network(run_eagerly=True)
    callback = rsr_tf.PruningCallback(OneShot(0.9, step=2), exclude=["head"], max_layer_sparsity=0.75)
    watched_fit(callback, data, model)
    assert [row.sparsity for row in rsr_tf.sparsity_table(model)] == [0.75, 0.0]


def test_every_pruning_leaves_its_step_and_threshold_on_the_layers(data):
    """Under the names that TFMOT's wrapper has for them."""
    model, steps, thresholds = network(), [], []

    def look(batch, logs):
        steps.append({int(layer.pruning_step.numpy()) for layer in noisy_layers(model)})
        for layer in noisy_layers(model):
            ((kernel, mask, threshold),) = layer.pruning_vars
            surviving = np.abs(kernel.numpy()[mask.numpy()])
            thresholds.append((float(threshold.numpy()), float(surviving.min())))

    watch = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    pruning = rsr_tf.PruningCallback(Rounds((0.25, 0.5), steps_per_round=4, begin_step=2), scope="layer")
    model.fit(*data, batch_size=BATCH, verbose=0, callbacks=[pruning, watch])
    assert steps == [{-1}, *[{2}] * 4, *[{6}] * 3]
    for layer in (0, 1):
        at_once = thresholds[layer::2]
        assert [at_once[step][0] for step in (0, 3)] == [0, at_once[1][0]]
        for step in (1, 5):  # just pruned
            assert at_once[step][0] == at_once[step][1] > 0


def test_training_by_rsr_follows_a_schedule(images, labels):
    model = network()
    attack = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.1, steps=1)
    rsr = compiled(rsr_tf.RSRModel(model.inputs, model.outputs, attack=attack, seed=0))
    seen, _ = watched_fit(rsr_tf.PruningCallback(Rounds((0.25, 0.5), steps_per_round=4)), (images, labels), rsr)
    assert list(seen.values()) == [0.25] * 3 + [0.5] * 5


# The logs and the end of an epoch


@pytest.mark.slow
def test_callback_prunes_at_the_end_of_its_epoch_and_the_mask_holds(images, labels):
    model = compiled(tiny_network(), keras.optimizers.SGD(0.1, momentum=0.9))
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(rsr_tf.sparsity(model)))
    callback = rsr_tf.PruningCallback(sparsity=0.5, epoch=1)
    model.fit(images, labels, epochs=4, verbose=0, callbacks=[callback, watch])
    assert seen == [0.0, *[pytest.approx(0.5, abs=0.005)] * 3]


@pytest.mark.slow
def test_sparsity_is_in_the_logs_of_every_epoch(data):
    _, history = watched_fit(rsr_tf.PruningCallback(OneShot(0.5, step=9)), data, epochs=2)
    assert history["sparsity"] == [0.0, 0.5]


@pytest.mark.slow
def test_sparsity_of_an_epoch_is_logged_after_its_pruning(data):
    _, history = watched_fit(rsr_tf.PruningCallback(sparsity=0.5, epoch=1), data, epochs=2)
    assert history["sparsity"] == [0.0, 0.5]


@pytest.mark.parametrize("options", [{"schedule": OneShot(0.5, step=1000)}, {"sparsity": 0.5, "epoch": 3}])
def test_training_that_ends_before_any_pruning_is_warned_of(data, caplog, options):
    watched_fit(rsr_tf.PruningCallback(**options), data)
    assert "nothing was pruned: training ended without a pruning at" in caplog.text


def test_training_that_pruned_is_not_warned_of(data, caplog):
    watched_fit(rsr_tf.PruningCallback(OneShot(0.5, step=2)), data)
    assert "nothing was pruned" not in caplog.text


def test_first_epoch_is_the_default(data):
    _, history = watched_fit(rsr_tf.PruningCallback(gamma=1e9), data)
    assert history["sparsity"] == [pytest.approx(590 / 592)]


# Schedules of others


class TensorSchedule:
    """As TFMOT's are: it takes a tensor of steps for granted, and gives tensors."""

    def __call__(self, step):
        progress = tf.cast(step, tf.float32) / tf.cast(tf.constant(8, step.dtype), tf.float32)
        return tf.logical_and(tf.greater_equal(step, 4), tf.equal(step % 4, 0)), 0.5 * progress


def test_schedule_of_tensors_is_taken_as_it_is(data):
    seen, _ = watched_fit(rsr_tf.PruningCallback(TensorSchedule()), data)
    assert list(seen.values()) == [0, 0, 0, 0.25, 0.25, 0.25, 0.25, 0.5]


def test_function_that_compares_the_step_is_a_schedule(data):
    seen, _ = watched_fit(rsr_tf.PruningCallback(lambda step: (step == 5, 0.5)), data)
    assert list(seen.values()) == [0] * 4 + [0.5] * 4


# Mistakes


def test_layer_to_exclude_that_is_not_there_is_refused_before_training(data):
    model = network()
    with pytest.raises(ValueError, match="`exclude` must name layers of the model"):
        model.fit(*data, verbose=0, callbacks=[rsr_tf.PruningCallback(OneShot(0.5, step=100), exclude=["tail"])])
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": 0.6}, r"`schedule` must be a callable schedule\(step\) -> .* Received: 0.6"),
        (
            {"schedule": OneShot(0.5, 1), "gamma": 0.1},
            "`gamma` must be None with a `schedule`. Received: gamma=0.1",
        ),
        ({"schedule": OneShot(0.5, 1), "sparsity": 0.5}, "`sparsity` must be None .* Received: sparsity=0.5"),
        ({"schedule": OneShot(0.5, 1), "epoch": 0}, "`epoch` must be None .* Received: epoch=0"),
        ({"schedule": OneShot(0.5, 1), "scope": "block"}, "`scope` must be one of .* Received: scope='block'"),
        ({"schedule": OneShot(0.5, 1), "max_layer_sparsity": 2}, "`max_layer_sparsity` must be in .* Received: .*=2"),
    ],
)
def test_impossible_combinations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rsr_tf.PruningCallback(**options)


def undone_fit(images, labels, *, before=(), after=()):
    """Prune in the second of three epochs, and then restore the weights of the first."""
    stopping = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=3, restore_best_weights=True)
    model, pruning = compiled(tiny_network(noise="none")), rsr_tf.PruningCallback(sparsity=0.5, epoch=1)
    callbacks = [stopping if one == "stopping" else one for one in (*before, pruning, *after)]
    history = model.fit(images, labels, epochs=3, verbose=0, callbacks=callbacks)
    assert rsr_tf.sparsity(model) == 0
    return history


@pytest.mark.slow
@pytest.mark.parametrize("order", [{"before": ["stopping"]}, {"after": ["stopping"]}])
def test_pruning_that_restored_weights_undo_is_reported_once(images, labels, caplog, order):
    history = undone_fit(images, labels, **order)
    assert caplog.text.count("pruning was undone: the sparsity is 0.00 % after 50.00 %") == 1
    assert "start_from_epoch" in caplog.text
    assert "on_train_end" not in vars(history)


@pytest.mark.slow
def test_pruning_that_holds_is_not_reported_as_undone(images, labels, caplog):
    model = compiled(tiny_network(noise="none"))
    model.fit(images, labels, epochs=2, verbose=0, callbacks=[rsr_tf.PruningCallback(sparsity=0.5)])
    assert "undone" not in caplog.text


def test_loop_without_history_is_pruned_too(images, labels, caplog):
    model = network()
    callbacks = keras.callbacks.CallbackList([rsr_tf.PruningCallback(sparsity=0.5)], model=model)
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0, {})
    callbacks.on_train_end()
    assert rsr_tf.sparsity(model) == 0.5
    assert caplog.text == ""
