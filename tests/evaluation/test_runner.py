import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf import progress
from rsr_tf.attacks.base import Cost
from rsr_tf.attacks.baselines import RandomSigns
from rsr_tf.evaluation import AttackRunner, State
from rsr_tf.evaluation.runner import count_correct
from rsr_tf.evaluation.suites import ALL_IMAGES, STILL_ROBUST, Step

BRIGHTNESS = np.array([0.55, 0.65, 0.75, 0.85, 0.95, 0.45], "float32")
"""Of the test images; all are labelled as bright, so that the last one is wrong from the start."""
IMAGES = np.tile(BRIGHTNESS[:, np.newaxis, np.newaxis, np.newaxis], (1, 2, 2, 1))
LABELS = np.ones(6, "int32")


def is_bright(x):
    """Class 1 for images brighter than 0.5 on average."""
    bright = tf.reduce_mean(x, (1, 2, 3)) - 0.5
    return tf.stack([-bright, bright], axis=1)


class Darker:
    """Subtracts `amount` from every pixel, without gradients."""

    def __init__(self, amount, calls=None):
        self.amount, self.calls = amount, calls

    def __call__(self, model_fn, x, labels, *, seed=None):
        if self.calls is not None:
            self.calls.append("traced")
            tf.py_function(lambda x: self.calls.append(sorted(set(x.numpy()[:, 0, 0, 0].tolist()))), [x], [])
        return x - self.amount

    def get_config(self):
        return {"epsilon": self.amount}


def make_runner(
    targets=None, *, epsilon=0.5, predictions=1, batch_size=4, state=None, seed=0, reseed=lambda seed: None
):
    targets = targets or {"noise_on": is_bright}
    return AttackRunner(
        targets,
        targets,
        IMAGES,
        LABELS,
        epsilon=epsilon,
        predictions=dict.fromkeys(targets, predictions),
        state=State(state, {}),
        batch_size=batch_size,
        seed=seed,
        reseed=reseed,
    )


def run(runner, attack, name="attack", source="noise_on", index=None):
    return runner.run(name, attack, source=source, index=np.arange(6) if index is None else index)


@pytest.mark.parametrize("batch_size", [1, 4, 6, 100])
def test_images_are_broken_that_an_attack_can_break(batch_size):
    found = make_runner(batch_size=batch_size)
    result = run(found, Darker(0.2))
    np.testing.assert_array_equal(result.scores["noise_on"].robust, [False, False, True, True, True, False])
    np.testing.assert_array_equal(found.still_robust, [2, 3, 4])
    assert result.robust_accuracy == {"noise_on": 0.5}
    np.testing.assert_allclose(result.distance, 0.2, atol=1e-6)
    np.testing.assert_allclose(result.low, BRIGHTNESS - 0.2, atol=1e-6)
    np.testing.assert_allclose(result.high, BRIGHTNESS - 0.2, atol=1e-6)


def test_attacks_add_up_image_by_image():
    found = make_runner()
    run(found, Darker(0.1), "first", index=np.array([0, 2]))
    result = run(found, Darker(0.3), "second", index=np.array([2]))
    np.testing.assert_array_equal(found.still_robust, [1, 3, 4, 5])
    assert result.scores["noise_on"].num_images == 1


def test_only_robust_images_are_attacked_further():
    found, calls = make_runner(batch_size=6), []
    run(found, Darker(0.2))
    run(found, Darker(0.3, calls), "harder", index=found.still_robust)
    assert calls == ["traced", pytest.approx([0.75, 0.85, 0.95])]
    np.testing.assert_array_equal(found.still_robust, [3, 4])
    assert found.results[-1].robust_accuracy == {"noise_on": pytest.approx(2 / 6)}
    assert found.results[-1].scores["noise_on"].accuracy == pytest.approx(2 / 3)


def test_no_robust_image_gives_no_result():
    found = make_runner()
    run(found, Darker(0.0), "clean")
    run(found, Darker(0.46))
    assert run(found, Darker(0.1), "more", index=found.still_robust) is None
    assert len(found.results) == 2


@pytest.mark.parametrize("attack", [Darker(0.2), Darker(0.56)])
def test_image_outside_its_ball_or_the_pixel_range_breaks_nothing(attack):
    """A shift by 0.56 is within an epsilon of 0.6, but leads below 0 for the two darkest images."""
    found = make_runner(epsilon=0.15 if attack.amount == 0.2 else 0.6)
    found.run("clean", Darker(0.0), source="noise_on", index=np.arange(6))
    result = run(found, attack)
    assert result.scores["noise_on"].accuracy <= 0.5
    np.testing.assert_array_equal(found.still_robust, np.arange(5) if attack.amount == 0.2 else [0])
    np.testing.assert_array_equal(found.worst["noise_on"][found.still_robust], IMAGES[found.still_robust])


def test_pixel_that_is_not_a_number_is_the_clean_one():
    class Half(Darker):
        def __call__(self, model_fn, x, labels, *, seed=None):
            return tf.concat([x[:, :1] - 0.2, x[:, 1:] + float("nan")], axis=1)

    found = make_runner()
    result = run(found, Half(0.2))
    np.testing.assert_array_equal(result.scores["noise_on"].robust, [False, True, True, True, True, False])
    np.testing.assert_allclose(found.worst["noise_on"][0, :, 0, 0], [0.35, 0.55], atol=1e-6)


def in_turn(*answers):
    """Return a network that is correct at some calls and wrong at others, in this order, repeatedly."""
    calls, answers = tf.Variable(0), tf.constant(answers, tf.float32)

    def model_fn(x):
        right = answers[calls % len(answers)]
        with tf.control_dependencies([right]):
            calls.assign_add(1)
        return tf.fill((tf.shape(x)[0], 2), 0.5) + tf.stack([0.0, right - 0.5])

    return model_fn


def test_every_draw_is_a_call_of_the_network():
    count = count_correct(in_turn(1, 0, 1), predictions=20)
    np.testing.assert_array_equal(count(tf.constant(IMAGES), tf.constant(LABELS)), np.full(6, 13))


@pytest.mark.parametrize(("answers", "still_robust"), [((1, 0), 0), ((1, 1, 0), 6), ((1, 0, 0), 0)])
def test_image_is_robust_if_a_majority_of_draws_is_correct(answers, still_robust):
    found = make_runner({"noise_on": in_turn(*answers)}, predictions=6)
    run(found, Darker(0.1))
    assert len(found.still_robust) == still_robust


def test_lowest_share_and_its_image_are_kept():
    """Darker by 0.1 is correct in all draws, by 0.2 in half of them, by 0.3 in three quarters."""
    found = make_runner({"noise_on": in_turn(1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1)}, predictions=4, batch_size=6)
    for number, amount in enumerate((0.1, 0.2, 0.3)):
        run(found, Darker(amount), f"attack {number}")
    np.testing.assert_allclose(found.lowest["noise_on"], 0.5)
    np.testing.assert_allclose(found.worst["noise_on"], IMAGES - 0.2, atol=1e-6)


def test_fresh_score_shows_the_worst_images_again():
    found = make_runner()
    run(found, Darker(0.2))
    run(found, Darker(0.1), "weaker")
    np.testing.assert_array_equal(found.fresh_score("noise_on").robust, [False, False, True, True, True, False])


def test_image_crafted_on_one_network_is_scored_on_all():
    found = make_runner({"noise_on": is_bright, "noise_off": lambda x: is_bright(x + 0.1)})

    class Gradient(Darker):
        def __call__(self, model_fn, x, labels, *, seed=None):
            return tf.where(tf.reshape(model_fn(x)[:, 1] > 0.1, (-1, 1, 1, 1)), x, x - self.amount)

    result = run(found, Gradient(0.1), source="noise_off")  # darkens what is no brighter than 0.5 to the stripped one
    np.testing.assert_array_equal(result.distance > 0, [False, False, False, False, False, True])
    np.testing.assert_array_equal(result.scores["noise_on"].robust, [True] * 5 + [False])
    np.testing.assert_array_equal(result.scores["noise_off"].robust, [True] * 5 + [False])
    result = run(found, Gradient(0.1), source="noise_on")
    np.testing.assert_array_equal(result.scores["noise_on"].robust, [False] + [True] * 4 + [False])
    np.testing.assert_array_equal(result.scores["noise_off"].robust, [True] * 5 + [False])
    np.testing.assert_array_equal(found.still_robust, [0, 1, 2, 3, 4])  # the first is still correct for one of them


def test_result_records_whether_the_attack_uses_gradients():
    class Scores(Darker):
        uses_gradients = False

    assert run(make_runner(), Darker(0.1)).uses_gradients
    assert not run(make_runner(), Scores(0.1)).uses_gradients


def noise_of(runner, name="noise"):
    run(runner, RandomSigns(0.01), name)
    return np.sign(runner.worst["noise_on"] - IMAGES)


def test_random_numbers_follow_from_seed_attack_and_batch():
    first, again = noise_of(make_runner(batch_size=2)), noise_of(make_runner(batch_size=2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, noise_of(make_runner(batch_size=2, seed=1)))
    assert not np.array_equal(first, noise_of(make_runner(batch_size=2), "other"))
    assert not np.array_equal(first[:2], first[2:4])


def test_attack_is_traced_once_for_any_number_of_batches():
    calls = []
    run(make_runner(batch_size=1), Darker(0.1, calls))
    assert calls.count("traced") == 1


def test_network_may_branch_on_tensors_in_python():
    def model_fn(x):
        if tf.reduce_mean(x) > 0:
            return is_bright(x)
        return -is_bright(x)

    np.testing.assert_array_equal(
        run(make_runner({"noise_on": model_fn}), Asking(0.2)).scores["noise_on"].hits, [0, 0, 1, 1, 1, 0]
    )


class Network:
    """A random network with a separate seed generator."""

    def __init__(self):
        self.generator = keras.random.SeedGenerator(0)

    def __call__(self, x):
        return is_bright(x + keras.random.normal((1, 2, 2, 1), stddev=0.2, seed=self.generator))

    def reseed(self, seed):
        self.generator.state.assign([seed, 0])


class Asking(Darker):
    """Subtracts more if the network, under one draw of its noise, predicts bright."""

    def __call__(self, model_fn, x, labels, *, seed=None):
        bright = tf.reshape(tf.argmax(model_fn(x), axis=1) == 1, (-1, 1, 1, 1))
        return x - tf.where(bright, self.amount, 0.5 * self.amount)


class Stopped(Asking):
    """An attack that is interrupted at its second batch."""

    batches = 0

    def __call__(self, model_fn, x, labels, *, seed=None):
        def interrupt():
            self.batches += 1
            if self.batches == 2:
                raise RuntimeError("stopped")

        tf.py_function(interrupt, [], [])
        return super().__call__(model_fn, x, labels, seed=seed)


def evaluate(folder, second=Asking, network=None):
    network = network or Network()
    found = make_runner({"noise_on": network}, predictions=20, batch_size=2, state=folder, reseed=network.reseed)
    run(found, Asking(0.2), "first")
    run(found, second(0.3), "second")
    return found.results, found.fresh_score("noise_on")


def test_resumed_evaluation_equals_an_uninterrupted_one(tmp_path):
    unstopped, score = evaluate(None)
    with pytest.raises(tf.errors.UnknownError, match="stopped"):
        evaluate(tmp_path, Stopped)
    assert len(list(tmp_path.glob("second*"))) == 1
    resumed, resumed_score = evaluate(tmp_path)
    for one, other in zip(unstopped, resumed, strict=True):
        np.testing.assert_array_equal(one.scores["noise_on"].hits, other.scores["noise_on"].hits)
        np.testing.assert_array_equal(one.distance, other.distance)
        assert one.robust_accuracy == other.robust_accuracy
    np.testing.assert_array_equal(score.hits, resumed_score.hits)
    assert 0 < score.mean < 1


def test_evaluation_stopped_before_its_last_step_gives_the_same(tmp_path):
    _, score = evaluate(tmp_path)
    (last,) = tmp_path.glob("fresh*")
    last.unlink()
    np.testing.assert_array_equal(evaluate(tmp_path)[1].hits, score.hits)


def test_finished_evaluation_is_read_without_a_call_of_the_network(tmp_path):
    _, score = evaluate(tmp_path)

    class Untouchable(Network):
        def __call__(self, x):
            raise AssertionError("everything was done")

    _, again = evaluate(tmp_path, network=Untouchable())
    np.testing.assert_array_equal(score.hits, again.hits)


def test_state_holds_only_images_that_did_worse_than_before(tmp_path):
    found = make_runner(state=tmp_path, batch_size=6)
    run(found, Darker(0.2), "first")
    run(found, Darker(0.3), "second")
    kept = {path.stem: len(np.load(path)["x_adv"]) for path in tmp_path.glob("*0.npz")}
    assert kept == {"first,_network,_0": 6, "second,_network,_0": 1}  # the second breaks one more


@pytest.mark.parametrize(
    "change",
    [
        {"x_adv": None},
        {"hits network": np.zeros(3, "int32")},
        {"hits network": np.zeros(4, "float32")},
        {"distance": np.zeros(3, "float32")},
        {"kept": np.zeros(4)},
        {"x_adv": np.zeros((4, 3, 3, 1), "float32")},
        {"x_adv": np.zeros((0, 2, 2, 1), "float32")},
    ],
)
def test_stored_batch_of_another_kind_is_named(tmp_path, change):
    run(make_runner(state=tmp_path / "state"), Darker(0.1))
    path = tmp_path / "state" / "attack,_network,_0.npz"
    with np.load(path) as stored:
        arrays = {**stored, **change}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=rf"cannot read .*{path.name}: its? "):
        run(make_runner(state=tmp_path / "state"), Darker(0.1))


class Costly(Darker):
    """A `Darker` that says what it costs."""

    def __init__(self, amount, cost):
        super().__init__(amount)
        self.cost = lambda: Cost(0, cost)


def told_by(state):
    """Run two attacks in order; what is told of them whenever a batch begins."""
    seen, runner = [], make_runner(batch_size=3, state=state)
    inner = runner._attack

    def attack(craft, batch, step):
        (task,) = progress.tasks()
        seen.append((task.position, task.note, round(task.share, 2)))
        return inner(craft, batch, step)

    runner._attack = attack
    steps = [
        Step("weak", Costly(0.0, 1), "noise_on", ALL_IMAGES),
        Step("strong", Costly(0.2, 8), "noise_on", STILL_ROBUST),
    ]
    runner.run_steps(steps, {ALL_IMAGES: 6})
    return seen


def test_attacks_in_order_tell_of_every_batch_with_shares_by_their_cost(tmp_path):
    """The costs are 1 + 6 and 1 + 6 * 8, the first attack has two batches, and the second one too."""
    assert told_by(tmp_path / "state") == [
        ("attack 1 of 2", "weak on noise_on", 0.0),
        ("attack 1 of 2", "weak on noise_on", round(3.5 / 56, 2)),
        ("attack 2 of 2", "strong on noise_on", round(7 / 56, 2)),
        ("attack 2 of 2", "strong on noise_on", round((7 + 24.5) / 56, 2)),
    ]
    assert told_by(tmp_path / "state") == []  # all is read


def test_results_are_a_table_in_the_log(caplog):
    with caplog.at_level(logging.INFO, "rsr_tf"):
        told_by(None)
    assert [line.split()[0] for line in caplog.messages] == ["attack", "weak", "strong"]
    assert {len(line) for line in caplog.messages} == {len(caplog.messages[0])}
