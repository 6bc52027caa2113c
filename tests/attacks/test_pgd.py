import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent
from helpers import silence, tiny_network
from linear_networks import linear_classifier, random_images, rooted_classifier

from rsr_tf import attacks
from rsr_tf.attacks import FGSM, PGD, cross_entropy, input_gradient
from rsr_tf.attacks.pgd import ascent_direction


@pytest.fixture
def quiet_model():
    return silence(tiny_network())


def test_fgsm_is_equation_1_on_a_linear_model():
    weights = np.array([[1.0, -1.0], [0.5, 2.0], [-3.0, 1.0]], "float32")
    x = np.array([[0.5, 0.5, 0.5], [0.95, 0.02, 0.5]], "float32")
    x_adv = attacks.FGSM(epsilon=0.1)(lambda x: x @ weights, tf.constant(x), tf.constant([0, 1]))
    towards_other = weights[:, [1, 0]] - weights[:, [0, 1]]  # what raises the loss of label 0, of label 1
    expected = np.clip(x + 0.1 * np.sign(towards_other.T), 0, 1)
    np.testing.assert_allclose(x_adv, expected, atol=1e-6)


@pytest.mark.parametrize("attack", [attacks.PGD(epsilon=0.1, step_size=0.05), attacks.FGSM(epsilon=0.1)])
def test_adversarial_images_stay_in_the_ball_and_in_the_box(noisy_model, images, labels, attack):
    images = np.where(images > 0.5, 1, images).astype("float32")
    x_adv = np.array(attack(noisy_model, tf.constant(images), labels))
    assert np.abs(x_adv - images).max() <= 0.1 + 1e-6
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert np.abs(x_adv - images).max() > 0.05


def test_pgd_equals_cleverhans_from_the_same_start(quiet_model, images, labels):
    x = tf.constant(images)
    attack = attacks.PGD(epsilon=0.1, step_size=0.03, steps=7, random_start=False)
    theirs = projected_gradient_descent(
        quiet_model, x, 0.1, 0.03, 7, np.inf, y=labels, rand_init=False, clip_min=0.0, clip_max=1.0
    )
    np.testing.assert_allclose(attack(quiet_model, x, labels), theirs, atol=1e-5)


def test_fgsm_equals_cleverhans(quiet_model, images, labels):
    x = tf.constant(images)
    theirs = fast_gradient_method(quiet_model, x, 0.1, np.inf, y=labels, clip_min=0.0, clip_max=1.0)
    np.testing.assert_allclose(attacks.FGSM(epsilon=0.1)(quiet_model, x, labels), theirs, atol=1e-5)


def test_more_steps_raise_the_loss(quiet_model, images, labels):
    x = tf.constant(images)

    def loss(steps):
        x_adv = attacks.PGD(epsilon=0.1, step_size=0.02, steps=steps, random_start=False)(quiet_model, x, labels)
        return float(tf.reduce_mean(attacks.cross_entropy(tf.constant(labels), quiet_model(x_adv))))

    assert loss(1) < loss(3) < loss(10)


def test_one_hot_labels_attack_like_integers(quiet_model, images, labels):
    attack = attacks.PGD(epsilon=0.1, step_size=0.03, random_start=False)
    one_hot = tf.one_hot(labels, 10)
    np.testing.assert_allclose(
        attack(quiet_model, tf.constant(images), tf.constant(labels)),
        attack(quiet_model, tf.constant(images), one_hot),
        atol=1e-6,
    )


def test_a_seed_repeats_the_start(quiet_model, images, labels):
    attack = attacks.PGD(epsilon=0.1, step_size=0.01, steps=1)
    run = functools.partial(attack, quiet_model, tf.constant(images), labels)
    np.testing.assert_array_equal(run(seed=1), run(seed=1))
    assert np.abs(run(seed=1) - run(seed=2)).max() > 0.01


def test_every_step_meets_fresh_noise():
    """The network adds its draw to the logit of class 1; what the attack saw is what it drew."""
    seen = []

    def model_fn(x):
        draw = tf.random.normal(())
        tf.py_function(lambda value: seen.append(float(value)), [draw], [])
        return tf.stack([tf.reduce_sum(x, (1, 2, 3)), tf.repeat(draw, tf.shape(x)[0])], axis=1)

    x, y = tf.ones((2, 2, 2, 1)), tf.constant([0, 0])
    tf.function(lambda: attacks.PGD(steps=5)(model_fn, x, y))()
    assert len(set(seen)) == 5


def test_attack_computes_no_gradient_of_a_weight(quiet_model, images, labels):
    """In the graph, no operation that the adversarial gradient depends on is the weight gradient of a convolution."""
    graph = tf.function(
        lambda x: attacks.input_gradient(quiet_model, attacks.cross_entropy, x, labels)
    ).get_concrete_function(tf.constant(images))
    needed, waiting = set(), [output.op for output in graph.outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    kinds = {operation.type for operation in needed}
    assert "Conv2DBackpropInput" in kinds
    assert "Conv2DBackpropFilter" not in kinds


def test_attack_leaves_batch_statistics_alone(quiet_model, images, labels):
    statistics = [variable for variable in quiet_model.variables if variable.name.startswith("moving")]
    before = [np.array(variable) for variable in statistics]
    attacks.PGD()(functools.partial(quiet_model, training=False), images, labels)
    assert len(statistics) == 2
    for old, new in zip(before, statistics, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "attack",
    [
        attacks.PGD(epsilon=0.1, steps=3, random_start=False),
        attacks.FGSM(epsilon=0.3),
        attacks.PGD(epsilon=2, step_size=0.5, norm="l2"),
        attacks.FGSM(epsilon=3, norm="l2"),
    ],
)
def test_attack_survives_serialization(attack):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(attack))
    assert type(copy) is type(attack)
    assert copy.get_config() == attack.get_config()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 8}, r"`epsilon` must be in \(0, 1\]. Received: epsilon=8"),
        ({"step_size": 0}, r"`step_size` must be in \(0, 1\]. Received: step_size=0"),
        ({"norm": "l1"}, r"`norm` must be one of \('linf', 'l2'\). Received: norm='l1'"),
        ({"norm": "l2", "step_size": 0}, "`step_size` must be positive. Received: step_size=0"),
        ({"steps": 0}, "`steps` must be an integer of at least 1. Received: steps=0"),
        ({"steps": 1.5}, "`steps` must be an integer of at least 1. Received: steps=1.5"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attacks.PGD(**options)


# l2


@pytest.mark.parametrize(
    "attack", [attacks.PGD(epsilon=2, step_size=0.5, norm="l2"), attacks.FGSM(epsilon=2, norm="l2")]
)
def test_l2_attack_stays_in_the_ball_and_in_the_box(noisy_model, images, labels, attack):
    images = np.where(images > 0.5, 1, images).astype("float32")
    x_adv = tf.function(attack)(noisy_model, tf.constant(images), tf.constant(labels), seed=0).numpy()
    lengths = np.linalg.norm((x_adv - images).reshape(len(images), -1), axis=1)
    assert lengths.max() <= 2 * (1 + 1e-5)
    assert lengths.min() > 0.5
    assert np.abs(x_adv - images).max() > 2 * lengths.max() / np.sqrt(images[0].size), "not a step of equal pixels"
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1


@pytest.mark.parametrize("kind", [attacks.PGD, attacks.FGSM])
def test_l2_attack_meets_the_exact_worst_case_of_a_linear_network(kind):
    """Far from the box, it is epsilon along the difference of the weights."""
    model_fn, weights, _ = linear_classifier(2)
    x = (0.5 + 0.05 * (random_images(400) - 0.5)).astype("float32")
    labels = np.argmax(model_fn(x), -1).astype("int32")
    epsilon, direction = 0.02, weights[:, 1] - weights[:, 0]
    sign = np.where(labels == 0, 1, -1)[:, np.newaxis]
    worst = x.reshape(-1, 36) + epsilon * sign * direction / np.linalg.norm(direction)
    step = {} if kind is attacks.FGSM else {"step_size": epsilon / 4, "steps": 60}
    x_adv = kind(epsilon=epsilon, norm="l2", **step)(model_fn, x, labels, seed=0).numpy()
    np.testing.assert_allclose(x_adv.reshape(-1, 36), worst, atol=1e-3 * epsilon)
    assert 0.1 < np.mean(np.argmax(model_fn(x_adv), -1) == labels) < 0.9


def test_config_of_version_0_2_0_has_no_norm_and_means_linf():
    for attack in (attacks.PGD(steps=3), attacks.FGSM()):
        stored = keras.saving.serialize_keras_object(attack)
        del stored["config"]["norm"]
        assert keras.saving.deserialize_keras_object(stored).norm == "linf"


# Networks that are sure, and compute in half precision


def sure(x):
    """Two classes with a margin of about 20 in float16, whose smallest number is 6e-8."""
    weights = tf.constant(np.outer([1.0, -1.0, 1.0, -1.0], [20.0, -20.0]), tf.float16)
    return tf.cast(tf.cast(x, tf.float16) @ weights, tf.float32)


def test_gradient_that_float16_cannot_hold_still_moves_the_image():
    x, y = tf.constant([[1.0, 0.5, 0.5, 0.5]]), tf.constant([0])
    assert not np.any(input_gradient(sure, cross_entropy, x, y))
    x_adv = PGD(epsilon=0.1, step_size=0.1, steps=1, random_start=False)(sure, x, y)
    np.testing.assert_allclose(x_adv - x, [[-0.1, 0.1, -0.1, 0.1]], atol=1e-6)


def test_direction_is_that_of_the_gradient():
    def model_fn(x):
        return x @ tf.constant([[1.0, -1.0], [2.0, 3.0]])

    x, y = tf.constant([[0.1, 0.2], [0.3, 0.9]]), tf.constant([0, 1])
    gradient = input_gradient(model_fn, cross_entropy, x, y)
    loss = cross_entropy(y, model_fn(x))
    np.testing.assert_allclose(ascent_direction(model_fn, cross_entropy, x, y), gradient / loss[:, None], rtol=1e-5)


def test_attack_keeps_a_loss_of_its_own_and_takes_that_of_a_training():
    def other(labels, outputs):
        return tf.reduce_sum(outputs, -1)

    attack = PGD(steps=3)
    assert attack.with_loss(other).loss_fn is other
    assert attack.with_loss(other).steps == 3
    assert attack.loss_fn is cross_entropy
    own = PGD(loss_fn=other)
    assert own.with_loss(cross_entropy) is own
    assert FGSM().with_loss(other).loss_fn is other


@pytest.mark.parametrize("steps", [2**31 - 1, 2**31, 2**63, 10**30])
def test_number_of_steps_that_a_graph_cannot_count_to_is_refused(steps):
    """A loop to 2**31 ended before its first step: training went on without an attack."""
    with pytest.raises(ValueError, match=rf"`steps` must be at most 2147483646.*Received: {steps}"):
        attacks.PGD(steps=steps)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_attack_on_gradients_that_are_no_numbers_is_that_on_zeros(norm):
    x, y = tf.constant(random_images(4)), tf.constant([0, 1, 0, 1])
    attack = PGD(epsilon=0.1, step_size=0.05, steps=3, norm=norm)
    bare, guarded = (attack(rooted_classifier(guarded), x, y, seed=0) for guarded in (False, True))
    np.testing.assert_allclose(bare, guarded, atol=1e-5)
