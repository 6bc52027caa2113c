"""Attacks by averaged gradients, held against what can be computed by hand."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

from rsr_tf.attacks.apgd import Climb, at_checkpoint, checkpoint_windows
from rsr_tf.attacks.eot import Best, Look, look
from rsr_tf.attacks.losses import difference_of_logits_ratio
from rsr_tf.attacks.norms import l2_start, l2_step, project_l2
from rsr_tf.attacks.pgd import cross_entropy, input_gradient
from rsr_tf.evaluation import APGD, AdaptivePGD, average_over_draws

SHAPE = (6, 6, 1)


def linear_classifier(classes, seed=0):
    """A linear network for which no class is likelier than another, its weights `(36, classes)` and biases."""
    weights = np.random.default_rng(seed).normal(size=(36, classes)).astype("float32")
    bias = -0.5 * weights.sum(0)
    return lambda x: tf.reshape(x, (-1, 36)) @ weights + bias, weights, bias


def some_images(n, seed=1):
    return np.random.default_rng(seed).uniform(size=(n, *SHAPE)).astype("float32")


def exact_robust(x, labels, weights, bias, epsilon):
    """Which images no point of the linf ball and the box breaks: the worst pixel is known for every other class."""
    x, robust = x.reshape(-1, 36), np.ones(len(x), bool)
    for other in range(weights.shape[1]):
        direction = (weights[:, [other]] - weights[:, labels]).T
        worst = np.clip(x + epsilon * np.sign(direction), 0, 1)
        robust &= (labels == other) | ((worst * direction).sum(1) + bias[other] - bias[labels] < 0)
    return robust


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
@pytest.mark.parametrize("kind", [AdaptivePGD, APGD])
def test_the_exact_worst_case_of_two_classes_is_met_and_not_passed(kind, loss):
    assert_exact(2, [kind(epsilon=0.05, steps=20, draws=1, loss=loss)])


@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize("kind", [AdaptivePGD, APGD])
def test_the_exact_worst_case_of_many_classes_is_met_and_not_passed_by_two_losses(kind, classes):
    """One ascent of the cross-entropy ends at the wrong class for up to 4 % of these images, however linear."""
    settings = {"epsilon": 0.05, "steps": 40, "draws": 1, "restarts": 5}
    assert_exact(classes, [kind(**settings), kind(**settings, loss="dlr")])


def assert_exact(classes, attacks):
    """Together, the attacks break just the images that some point of the ball breaks, to 0.5 points."""
    model_fn, weights, bias = linear_classifier(classes)
    x = some_images(400)
    labels = np.argmax(model_fn(x), -1).astype("int32")
    robust = np.ones(len(x), bool)
    for attack in attacks:
        x_adv = tf.function(attack)(model_fn, x, labels, seed=0).numpy()
        robust &= np.argmax(model_fn(x_adv), -1) == labels
        assert np.abs(x_adv - x).max() <= 0.05 + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
    exact = exact_robust(x, labels, weights, bias, 0.05)
    assert 0.1 < exact.mean() < 0.9
    assert np.all(robust >= exact)
    assert robust.mean() - exact.mean() <= 0.005 + 1e-9


@pytest.mark.parametrize("kind", [AdaptivePGD, APGD])
def test_the_exact_worst_case_in_l2_is_met(kind):
    """Far from the box, epsilon in the direction of the difference of the weights is the worst."""
    model_fn, weights, bias = linear_classifier(2)
    x = (0.5 + 0.05 * (some_images(400) - 0.5)).astype("float32")
    labels = np.argmax(model_fn(x), -1).astype("int32")
    epsilon = 0.02
    x_adv = kind(epsilon=epsilon, norm="l2", draws=1)(model_fn, x, labels, seed=0).numpy()
    margin = np.abs(x.reshape(-1, 36) @ (weights[:, 1] - weights[:, 0]) + bias[1] - bias[0])
    exact = margin > epsilon * np.linalg.norm(weights[:, 1] - weights[:, 0])
    robust = np.argmax(model_fn(x_adv), -1) == labels
    assert np.linalg.norm((x_adv - x).reshape(-1, 36), axis=1).max() <= epsilon * (1 + 1e-4)
    assert abs(robust.mean() - exact.mean()) <= 0.005 + 1e-9


def test_any_number_of_draws_is_one_draw_for_a_network_without_noise():
    model_fn, _, _ = linear_classifier(10)
    x, labels = some_images(8), np.arange(8, dtype="int32")
    one, many = (AdaptivePGD(steps=5, draws=draws, random_start=False)(model_fn, x, labels).numpy() for draws in (1, 7))
    np.testing.assert_allclose(one, many, atol=1e-6)


def test_one_draw_from_the_image_itself_is_cleverhans_pgd():
    """On a linear network the loss rises with every step, so the best point is the last."""
    model_fn, _, _ = linear_classifier(10)
    x, labels = some_images(8), np.argmax(linear_classifier(10)[0](some_images(8)), -1).astype("int32")
    ours = AdaptivePGD(epsilon=0.03, step_size=0.01, steps=7, draws=1, random_start=False)(model_fn, x, labels)
    theirs = projected_gradient_descent(
        model_fn, tf.constant(x), 0.03, 0.01, 7, np.inf, y=labels, rand_init=False, clip_min=0.0, clip_max=1.0
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def noisy_classifier():
    model_fn, weights, _ = linear_classifier(3)
    return lambda x: model_fn(x) + tf.reshape(x, (-1, 36)) @ (tf.random.normal(weights.shape) * 2.0)


def test_the_variance_of_the_gradient_falls_with_the_number_of_draws():
    """Sixteen draws have a sixteenth of the variance; the bounds are far outside chance for 60 repeats of 36 pixels."""
    model_fn, x, labels = noisy_classifier(), tf.constant(some_images(1)), tf.constant([0])

    def loss_fn(labels, logits):  # linear, so that draws are independent and alike
        return logits[:, 0]

    def spread(draws):
        gradient = tf.function(lambda: look(model_fn, loss_fn, x, labels, draws=draws).gradient)
        return np.var([gradient().numpy() for _ in range(60)], axis=0, ddof=1).mean()

    assert 16 / 1.5 < spread(1) / spread(16) < 16 * 1.5


def test_look_is_the_mean_of_what_the_draws_give():
    """A network that gives the first, second and third of three answers in turn."""
    calls = []
    answers = [[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]

    def model_fn(x):
        calls.append(1)
        return x[:, 0, 0] * tf.constant([answers[len(calls) - 1]])

    def loss_fn(labels, logits):
        return logits[:, 1] - logits[:, 0]

    seen = look(model_fn, loss_fn, tf.ones((1, 1, 1, 1)), tf.constant([0]), draws=3)
    assert seen.loss.numpy() == pytest.approx([(-2 + 1 + 3) / 3])
    assert seen.gradient.numpy().ravel() == pytest.approx([(-2 + 1 + 3) / 3])
    assert seen.broken.numpy().tolist() == [True]  # wrong in two of three


def test_an_image_right_in_half_of_the_draws_is_broken():
    """The scores ask for a majority of right draws as well."""
    answers = iter([[1.0, 0.0], [0.0, 1.0]])
    seen = look(
        lambda x: x[:, 0, 0] * tf.constant([next(answers)]),
        lambda labels, logits: logits[:, 0],
        tf.ones((1, 1, 1, 1)),
        tf.constant([0]),
        draws=2,
    )
    assert seen.broken.numpy().tolist() == [True]


def test_look_of_one_draw_is_the_input_gradient(noisy_model, images, labels):
    """On one draw of the noise, whose seeds both begin with."""
    x, labels = tf.constant(images), tf.constant(labels)
    seeds = [variable for variable in noisy_model.variables if "seed_generator_state" in variable.path]
    before = [np.array(variable) for variable in seeds]
    expected = input_gradient(noisy_model, cross_entropy, x, labels)
    for variable, value in zip(seeds, before, strict=True):
        variable.assign(value)
    gradient = look(noisy_model, cross_entropy, x, labels, draws=1).gradient
    assert len(seeds) == 3
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_look_computes_no_gradient_of_a_weight(noisy_model, images, labels):
    """No operation that the results of the loop over draws depend on is the weight gradient of a convolution."""
    traced = tf.function(lambda x: look(noisy_model, cross_entropy, x, tf.constant(labels), draws=2))
    library = traced.get_concrete_function(tf.constant(images)).graph.as_graph_def().library.function
    (body,) = (function for function in library if "while_body" in function.signature.name)
    nodes = {node.name: node for node in body.node_def}
    needed, waiting = set(), list(body.ret.values())
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name in nodes and name not in needed:
            needed.add(name)
            waiting += nodes[name].input
    kinds = {nodes[name].op for name in needed}
    assert "Conv2DBackpropInput" in kinds
    assert "Conv2DBackpropFilter" not in kinds


def test_best_prefers_broken_images_and_then_the_higher_loss():
    x = tf.zeros((4, 1, 1, 1))
    best = Best(x, tf.constant([False, True, False, True]), tf.constant([5.0, 1.0, 1.0, 1.0]))
    other = Look(tf.constant([1.0, 9.0, 2.0, 2.0]), x, tf.constant([True, False, False, True]))
    best = best.or_better(x + 1, other)
    assert best.x.numpy().ravel().tolist() == [1, 0, 1, 1]
    assert best.loss.numpy().tolist() == [1, 1, 2, 2]
    assert best.broken.numpy().tolist() == [True, True, False, True]


@pytest.mark.parametrize("kind", [AdaptivePGD, APGD])
def test_labels_of_any_integer_type_are_the_same(kind):
    model_fn, _, _ = linear_classifier(3)
    attack = kind(steps=3, draws=1, random_start=False)
    short, long = (attack(model_fn, some_images(3), np.arange(3, dtype=dtype)) for dtype in ("int32", "int64"))
    np.testing.assert_array_equal(short, long)


def test_an_image_does_not_depend_on_its_neighbours():
    model_fn, _, _ = linear_classifier(10)
    x, labels = some_images(4), np.arange(4, dtype="int32")
    for kind in (AdaptivePGD, APGD):
        attack = kind(steps=20, draws=1, random_start=False)
        together, alone = attack(model_fn, x, labels).numpy(), attack(model_fn, x[2:3], labels[2:3]).numpy()
        np.testing.assert_allclose(together[2:3], alone, atol=1e-6)


def bump(x):
    """Two logits whose cross-entropy for class 0 is highest where the only pixel is 0.37."""
    height = -tf.abs(x[:, 0, 0] - 0.37) * 20
    return tf.concat([tf.zeros_like(height), height], -1)


def apgd_by_hand(start, x, epsilon, steps):
    """The points that Algorithm 1 of Croce and Hein 2020 visits: one pixel, the loss of `bump`, plain numbers."""

    def loss(point):
        return math.log1p(math.exp(-20 * abs(point - 0.37)))

    def uphill(point):
        return 1 if point < 0.37 else -1

    def project(point):
        return min(max(point, x - epsilon, 0), x + epsilon, 1)

    shares = [0, 0.22]
    while shares[-1] <= 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    checkpoints = [math.ceil(share * steps - 1e-6) for share in shares]
    step, points, current, before = 2 * epsilon, [start], start, start
    top, rises, top_then, halved = start, 0, loss(start), False
    for k in range(1, steps + 1):
        z = project(current + step * uphill(current))
        share = 1 if k == 1 else 0.75
        following = project(current + share * (z - current) + (1 - share) * (current - before))
        rises += loss(following) > loss(current)
        before, current = current, following
        points.append(current)
        top = max(top, current, key=loss)
        if k in checkpoints:
            window = k - checkpoints[checkpoints.index(k) - 1]
            halve = rises < 0.75 * window or (not halved and loss(top) == top_then)
            if halve:
                step, current = step / 2, top
            rises, top_then, halved = 0, loss(top), halve
    return points


def test_first_steps_of_apgd_by_hand():
    """A whole step of 2 epsilon, cut to the ball; then three quarters of a step and a quarter of the last move."""
    assert apgd_by_hand(0.9, 0.9, 0.8, 3) == pytest.approx([0.9, 0.1, 0.575, 0.3375])


@pytest.mark.parametrize(("x", "epsilon"), [(0.9, 0.8), (0.5, 0.2), (0.2, 0.11)])
def test_apgd_visits_the_points_of_its_paper(x, epsilon):
    visited = []

    def watched(images):
        visited.append(images.numpy().item())
        return bump(images)

    image = np.full((1, 1, 1, 1), x, "float32")
    APGD(epsilon=epsilon, steps=100, draws=1, random_start=False)(watched, image, np.array([0], "int32"))
    np.testing.assert_allclose(visited, apgd_by_hand(x, x, epsilon, 100), atol=2e-5)


def test_apgd_goes_back_when_the_loss_rises_without_a_new_peak_but_not_twice_running():
    """The first call has the highest loss, the others rise; uphill is always upwards, to the edge of the ball.

    At 22 and 57 steps the peak stands still and the step is halved: from the peak at 0.5, three quarters of the step
    upwards, and a quarter of the way back from the edge. At 41, right after a halving, that is no reason.
    """
    visited = []

    def rising(x):
        visited.append(x.numpy().item())
        level = 0.1 * len(visited) if len(visited) > 1 else 50.0
        height = level + 1e-6 * x[:, 0, 0]
        return tf.concat([tf.zeros_like(height), height], -1)

    image = np.full((1, 1, 1, 1), 0.5, "float32")
    APGD(epsilon=0.4, steps=100, draws=1, random_start=False)(rising, image, np.array([0], "int32"))
    assert [visited[steps] for steps in (0, 1, 22)] == pytest.approx([0.5, 0.9, 0.9])
    assert visited[23] == pytest.approx(0.5 + 0.75 * 0.4 - 0.25 * 0.4)
    assert visited[41] == visited[42] == pytest.approx(0.9)
    assert visited[58] == pytest.approx(0.5 + 0.75 * 0.2 - 0.25 * 0.4)


def test_a_checkpoint_remembers_the_peak_for_the_next_and_goes_back_image_by_image():
    """One image rose in every step, the other in none of ten."""
    x = tf.zeros((2, 1, 1, 1))
    seen = Look(tf.constant([1.0, 2.0]), x, tf.constant([False, False]))
    peak_seen = Look(tf.constant([3.0, 4.0]), x + 1, tf.constant([False, True]))
    step_size, rises = tf.constant([0.4, 0.4]), tf.constant([10.0, 0.0])
    climb = Climb(
        x, seen, x, x + 5, peak_seen, step_size, rises, tf.constant([0.0, 0.0]), tf.constant([True, True]), Best.none(x)
    )
    climb = at_checkpoint(climb, 10.0)
    assert climb.peak_loss_before.numpy().tolist() == [3, 4]
    assert climb.rises.numpy().tolist() == [0, 0]
    assert climb.halved.numpy().tolist() == [False, True]
    assert climb.step_size.numpy() == pytest.approx([0.4, 0.2])
    assert climb.x.numpy().ravel().tolist() == [0, 5]
    assert climb.seen.gradient.numpy().ravel().tolist() == [0, 1]
    assert climb.seen.loss.numpy().tolist() == [1, 4]


def test_apgd_halves_its_step_until_it_finds_a_peak_that_long_steps_jump_over():
    x, labels = np.full((1, 1, 1, 1), 0.9, "float32"), np.array([0], "int32")
    found = APGD(epsilon=0.8, steps=100, draws=1, random_start=False)(bump, x, labels).numpy().item()
    assert found == pytest.approx(0.37, abs=0.003)
    long_steps = AdaptivePGD(epsilon=0.8, step_size=0.8, steps=100, draws=1, random_start=False)
    assert abs(long_steps(bump, x, labels).numpy().item() - 0.37) > 0.1


def test_checkpoints_of_100_steps_are_those_of_the_paper():
    windows = checkpoint_windows(100)
    assert [step + 1 for step, window in enumerate(windows) if window] == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [window for window in windows if window] == [22, 19, 16, 13, 10, 7, 6, 6]


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 37])
def test_windows_of_short_runs_cover_no_step_twice(steps):
    windows = checkpoint_windows(steps)
    assert len(windows) == steps
    ends = np.flatnonzero(windows)
    assert np.diff([-1, *ends]).tolist() == [windows[end] for end in ends]


def test_dlr_by_hand():
    logits = tf.constant([[4.0, 1.0, 3.0, 0.0], [4.0, 1.0, 3.0, 0.0]])
    loss = difference_of_logits_ratio(tf.constant([0, 1]), logits)
    assert loss.numpy() == pytest.approx([-(4 - 3) / (4 - 1), -(1 - 4) / (4 - 1)])


def test_dlr_does_not_change_when_logits_are_scaled_and_shifted():
    logits = tf.constant(np.random.default_rng(0).normal(size=(20, 5)).astype("float32"))
    labels = tf.constant(np.arange(20) % 5)
    np.testing.assert_allclose(
        difference_of_logits_ratio(labels, logits),
        difference_of_logits_ratio(labels, 1e4 * logits + 7),
        rtol=1e-2,
        atol=1e-5,
    )


def test_dlr_of_two_classes_has_a_gradient():
    logits = tf.constant([[1.0, 3.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = difference_of_logits_ratio(tf.constant([0]), logits)
    assert loss.numpy() == [2.0]
    assert tape.gradient(loss, logits).numpy().tolist() == [[-1.0, 1.0]]


def test_dlr_of_three_classes_by_hand():
    loss = difference_of_logits_ratio(tf.constant([0, 2]), tf.constant([[5.0, 2.0, 1.0], [5.0, 2.0, 1.0]]))
    assert loss.numpy() == pytest.approx([-(5 - 2) / (5 - 1), -(1 - 5) / (5 - 1)])


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_dlr_of_equal_logits_is_finite_and_so_is_its_gradient(classes):
    logits = tf.ones((2, classes))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = difference_of_logits_ratio(tf.constant([0, 1]), logits)
    assert loss.numpy().tolist() == [0, 0]
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_an_l2_step_has_its_length_however_small_the_gradient():
    direction = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype("float32")
    scale = np.array([1.0, 1e-30, 0.0], "float32").reshape(3, 1, 1, 1)
    moved = l2_step(tf.zeros_like(direction), direction * scale, 0.3).numpy()
    expected = 0.3 * direction / np.linalg.norm(direction.reshape(3, -1), axis=1).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(moved[:2], expected[:2], rtol=1e-4)
    assert not moved[2].any()


def test_projection_onto_the_l2_ball_ends_in_the_box_and_in_the_ball():
    x = np.array([[0.9, 0.5]], "float32").reshape(1, 1, 2, 1)
    projected = project_l2(x + np.array([[3.0, 4.0]], "float32").reshape(x.shape), x, 0.5).numpy()
    np.testing.assert_allclose(projected.ravel(), [1.0, 0.9], atol=1e-6)  # 0.9 + 0.3 is cut, 0.5 + 0.4 is not


def test_projection_onto_the_l2_ball_against_numpy():
    random = np.random.default_rng(0)
    x, x_adv = (random.uniform(0.3, 0.7, (5, *SHAPE)).astype("float32") for _ in range(2))
    difference = (x_adv - x).reshape(5, -1)
    length = np.linalg.norm(difference, axis=1, keepdims=True)
    radius = np.median(length)
    expected = x.reshape(5, -1) + difference * np.minimum(1, radius / length)
    assert length.min() < radius < length.max()
    np.testing.assert_allclose(project_l2(x_adv, x, radius).numpy().reshape(5, -1), expected, atol=1e-6)


def test_starts_are_even_in_the_l2_ball():
    """In 36 dimensions half of the volume is beyond radius 0.5 ** (1 / 36); five standard errors of 2,000 starts."""
    x = tf.fill((2000, *SHAPE), 0.5)
    radii = np.linalg.norm((l2_start(x, 0.3, seed=0) - x).numpy().reshape(2000, -1), axis=1) / 0.3
    assert radii.max() <= 1 + 1e-5
    assert abs(np.mean(radii > 0.5 ** (1 / 36)) - 0.5) < 5 * 0.5 / np.sqrt(2000)


def test_restarts_never_help_the_defender_and_start_elsewhere():
    x, labels = np.full((1, 1, 1, 1), 0.5, "float32"), np.array([0], "int32")

    def two_peaks(x):  # a low one in reach of every start below 0.52, a high one above
        pixel = x[:, 0, 0]
        height = tf.where(pixel < 0.52, 1 - tf.abs(pixel - 0.3), 5 - tf.abs(pixel - 0.7))
        return tf.concat([tf.zeros_like(height), height], -1)

    def found(restarts):
        attack = AdaptivePGD(epsilon=0.3, steps=3, step_size=0.01, draws=1, restarts=restarts)
        return attack(two_peaks, x, labels, seed=3).numpy().item()

    starts = {found(1), found(8)}
    assert len(starts) == 2
    assert found(8) > 0.52


def test_a_seed_repeats_the_attack_and_another_does_not():
    model_fn, _, _ = linear_classifier(10)
    x, labels = some_images(4), np.arange(4, dtype="int32")
    attack = AdaptivePGD(steps=1, step_size=0.001, draws=1)
    first, again, other = (attack(model_fn, x, labels, seed=seed).numpy() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", [AdaptivePGD, APGD])
def test_the_network_is_traced_no_more_often_for_more_steps_draws_and_restarts(kind):
    def traces(**settings):
        calls = []

        def model_fn(x):
            calls.append(1)
            return linear_classifier(3)[0](x)

        tf.function(kind(**settings))(model_fn, some_images(2), np.array([0, 1], "int32"), seed=0)
        return len(calls)

    assert traces(steps=2, draws=2, restarts=1) == traces(steps=9, draws=5, restarts=4)


@pytest.mark.parametrize("kind", [AdaptivePGD, APGD])
def test_config_is_plain_and_complete(kind):
    config = kind(epsilon=0.1, steps=10).get_config()
    assert json.loads(json.dumps(config)) == config
    assert kind(**config).get_config() == config


def test_default_step_size_follows_the_rule_and_stays_in_the_ball():
    assert AdaptivePGD(epsilon=0.1, steps=10).get_config()["step_size"] == pytest.approx(0.025)
    assert AdaptivePGD(epsilon=0.1, steps=1).get_config()["step_size"] == pytest.approx(0.1)


@pytest.mark.parametrize("kind", [AdaptivePGD, APGD])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 8}, r"`epsilon` must be positive, and at most 1 in linf. Received: epsilon=8"),
        ({"epsilon": 0, "norm": "l2"}, r"`epsilon` must be positive"),
        ({"norm": "l1"}, r"`norm` must be one of \('linf', 'l2'\). Received: norm='l1'"),
        ({"loss": "hinge"}, r"`loss` must be one of \('cross_entropy', 'dlr'\). Received: loss='hinge'"),
        ({"steps": 0}, r"`steps` must be an integer of at least 1. Received: steps=0"),
        ({"draws": 0.5}, r"`draws` must be an integer of at least 1. Received: draws=0.5"),
        ({"restarts": 0}, r"`restarts` must be an integer of at least 1. Received: restarts=0"),
    ],
)
def test_impossible_settings_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_pgd_refuses_a_step_backwards():
    with pytest.raises(ValueError, match=r"`step_size` must be positive. Received: step_size=-0.1"):
        AdaptivePGD(step_size=-0.1)


def test_average_over_draws_has_the_predictions_and_the_loss_of_a_network_without_noise():
    model_fn, _, _ = linear_classifier(4)
    x = some_images(5)
    np.testing.assert_allclose(
        tf.nn.log_softmax(average_over_draws(model_fn, 3)(x)), tf.nn.log_softmax(model_fn(x)), atol=1e-5
    )


def test_the_gradient_of_average_over_draws_is_that_of_look_and_of_its_normalizer():
    """Two answers in turn, so that both see the same two draws."""
    networks = [linear_classifier(3, seed)[0] for seed in (0, 1)]

    def model_fn(x):
        networks.reverse()
        return networks[0](x)

    x, labels = tf.constant(some_images(4)), tf.constant([0, 1, 2, 0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        mean = (tf.nn.log_softmax(networks[0](x)) + tf.nn.log_softmax(networks[1](x))) / 2
        normalizer = tf.reduce_logsumexp(mean, axis=1)
    expected = look(model_fn, cross_entropy, x, labels, draws=2).gradient + tape.gradient(normalizer, x)
    assert normalizer.numpy().max() < -0.01
    gradient = input_gradient(average_over_draws(model_fn, 2), cross_entropy, x, labels)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_average_over_draws_calls_the_network_so_often():
    calls = []
    average_over_draws(lambda x: calls.append(1) or linear_classifier(3)[0](x), 6)(some_images(2))
    assert len(calls) == 6


def test_average_over_no_draws_is_refused():
    with pytest.raises(ValueError, match=r"`draws` must be an integer of at least 1. Received: draws=0"):
        average_over_draws(lambda x: x, 0)
