"""Averages over the noise of a network against what each sample gives."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from linear_networks import SHAPE, linear_classifier, random_images, rooted_classifier

from rsr_tf.attacks.eot import ENSEMBLES, BestSoFar, LossAndGradient, average_over_draws, ensemble, eot_gradient
from rsr_tf.attacks.losses import cross_entropy, is_correct
from rsr_tf.attacks.pgd import input_gradient


def noisy_classifier():
    model_fn, weights, _ = linear_classifier(3)
    return lambda x: model_fn(x) + tf.reshape(x, (-1, 36)) @ (tf.random.normal(weights.shape) * 2.0)


def test_the_variance_of_the_gradient_falls_with_the_number_of_draws():
    """Sixteen draws have a sixteenth of the variance; the bounds are far outside chance for 60 repeats of 36 pixels."""
    model_fn, x, labels = noisy_classifier(), tf.constant(random_images(1)), tf.constant([0])

    def loss_fn(labels, logits):  # linear, so that draws are independent and alike
        return logits[:, 0]

    def spread(draws):
        gradient = tf.function(lambda: eot_gradient(model_fn, loss_fn, x, labels, eot_samples=draws).gradient)
        return np.var([gradient().numpy() for _ in range(60)], axis=0, ddof=1).mean()

    assert 16 / 1.5 < spread(1) / spread(16) < 16 * 1.5


def test_eot_gradient_is_the_mean_over_the_samples():
    """A network that gives the first, second and third of three answers in turn."""
    calls = []
    answers = [[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]

    def model_fn(x):
        calls.append(1)
        return x[:, 0, 0] * tf.constant([answers[len(calls) - 1]])

    def loss_fn(labels, logits):
        return logits[:, 1] - logits[:, 0]

    seen = eot_gradient(model_fn, loss_fn, tf.ones((1, 1, 1, 1)), tf.constant([0]), eot_samples=3)
    assert seen.loss.numpy() == pytest.approx([(-2 + 1 + 3) / 3])
    assert seen.gradient.numpy().ravel() == pytest.approx([(-2 + 1 + 3) / 3])
    assert seen.broken.numpy().tolist() == [True]  # wrong in two of three


def test_an_image_correct_in_half_of_the_draws_is_broken():
    """The scores require a majority of correct draws as well."""
    answers = iter([[1.0, 0.0], [0.0, 1.0]])
    seen = eot_gradient(
        lambda x: x[:, 0, 0] * tf.constant([next(answers)]),
        lambda labels, logits: logits[:, 0],
        tf.ones((1, 1, 1, 1)),
        tf.constant([0]),
        eot_samples=2,
    )
    assert seen.broken.numpy().tolist() == [True]


def test_eot_gradient_of_one_sample_is_the_input_gradient(noisy_model, images, labels):
    """On one draw of the noise, whose seeds both begin with."""
    x, labels = tf.constant(images), tf.constant(labels)
    seeds = [variable for variable in noisy_model.variables if "seed_generator_state" in variable.path]
    before = [np.array(variable) for variable in seeds]
    expected = input_gradient(noisy_model, cross_entropy, x, labels)
    for variable, value in zip(seeds, before, strict=True):
        variable.assign(value)
    gradient = eot_gradient(noisy_model, cross_entropy, x, labels, eot_samples=1).gradient
    assert len(seeds) == 3
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_eot_gradient_computes_no_gradient_of_a_weight(noisy_model, images, labels):
    """No operation that the results of the loop over draws depend on is the weight gradient of a convolution."""
    traced = tf.function(lambda x: eot_gradient(noisy_model, cross_entropy, x, tf.constant(labels), eot_samples=2))
    graph = MessageToDict(traced.get_concrete_function(tf.constant(images)).graph.as_graph_def())
    (body,) = (each for each in graph["library"]["function"] if "while_body" in each["signature"]["name"])
    nodes = {node["name"]: node for node in body["nodeDef"]}
    needed, waiting = set(), list(body["ret"].values())
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name in nodes and name not in needed:
            needed.add(name)
            waiting += nodes[name].get("input", [])
    kinds = {nodes[name]["op"] for name in needed}
    assert "Conv2DBackpropInput" in kinds
    assert "Conv2DBackpropFilter" not in kinds


def test_best_prefers_broken_images_and_then_the_higher_loss():
    x = tf.zeros((4, 1, 1, 1))
    best = BestSoFar(x, tf.constant([False, True, False, True]), tf.constant([5.0, 1.0, 1.0, 1.0]))
    other = LossAndGradient(tf.constant([1.0, 9.0, 2.0, 2.0]), x, tf.constant([True, False, False, True]))
    best = best.updated(x + 1, other)
    assert best.x.numpy().ravel().tolist() == [1, 0, 1, 1]
    assert best.loss.numpy().tolist() == [1, 1, 2, 2]
    assert best.broken.numpy().tolist() == [True, True, False, True]


def test_best_is_never_an_image_with_a_pixel_that_is_no_number():
    clean, broken = tf.zeros((2, 1, 2, 1)), tf.constant([True, True])
    candidate = tf.constant([[0.1, np.nan], [0.1, 0.2]], shape=clean.shape)
    best = BestSoFar.none(clean).updated(candidate, LossAndGradient(tf.constant([9.0, 9.0]), clean, broken))
    np.testing.assert_allclose(np.reshape(best.x, (2, 2)), [[0, 0], [0.1, 0.2]])
    assert best.broken.numpy().tolist() == [False, True]


def test_averaged_gradient_that_is_no_number_is_zero():
    x, labels = tf.constant(random_images(4)), tf.constant([0, 1, 0, 1])
    bare, guarded = (
        eot_gradient(rooted_classifier(guarded), cross_entropy, x, labels, eot_samples=2) for guarded in (False, True)
    )
    assert np.any(random_images(4)[:, 0, 0, 0] < 0.5)
    np.testing.assert_allclose(bare.gradient, guarded.gradient, atol=1e-5)


def test_average_over_draws_changes_no_loss_of_a_network_without_noise():
    model_fn, _, _ = linear_classifier(4)
    x = random_images(5)
    np.testing.assert_allclose(
        tf.nn.log_softmax(average_over_draws(model_fn, 3)(x)), tf.nn.log_softmax(model_fn(x)), atol=1e-5
    )


def test_gradient_of_average_over_draws_has_a_normalizer():
    """Two answers in turn, so that both see the same two draws."""
    networks = [linear_classifier(3, seed)[0] for seed in (0, 1)]

    def model_fn(x):
        networks.reverse()
        return networks[0](x)

    x, labels = tf.constant(random_images(4)), tf.constant([0, 1, 2, 0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        mean = (tf.nn.log_softmax(networks[0](x)) + tf.nn.log_softmax(networks[1](x))) / 2
        normalizer = tf.reduce_logsumexp(mean, axis=1)
    expected = eot_gradient(model_fn, cross_entropy, x, labels, eot_samples=2).gradient + tape.gradient(normalizer, x)
    assert normalizer.numpy().max() < -0.01
    gradient = input_gradient(average_over_draws(model_fn, 2), cross_entropy, x, labels)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize("averaged", [average_over_draws, ensemble])
def test_draws_are_a_loop_in_a_graph(averaged):
    """Side by side, their gradients would be a sum of many terms, which TensorFlow can fail to compute in a loop."""
    calls = []
    function = averaged(lambda x: calls.append(1) or linear_classifier(3)[0](x), 6)
    tf.function(function)(random_images(2))
    assert len(calls) == 2


def test_average_over_draws_calls_the_network_so_often():
    calls = []
    average_over_draws(lambda x: calls.append(1) or linear_classifier(3)[0](x), 6)(random_images(2))
    assert len(calls) == 6


def test_average_over_no_draws_is_refused():
    with pytest.raises(ValueError, match=r"`eot_samples` must be an integer of at least 1. Received: eot_samples=0"):
        average_over_draws(lambda x: x, 0)


# The mean over draws as a network


def alternating(*logits):
    """A network of one row, which gives these logits in turn, and its gradients with respect to the first pixel."""
    calls = []

    def model_fn(x):
        calls.append(1)
        return x[:, 0, 0] * tf.constant([logits[(len(calls) - 1) % len(logits)]])

    return model_fn


ONE_PIXEL = np.ones((1, 1, 1, 1), "float32")
DISAGREEING = ([4.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.5, 0.0])
"""Two draws of three are for class 1, but the mean of the probabilities is for class 0."""


def test_ensemble_of_one_is_the_network():
    model_fn, _, _ = linear_classifier(4)
    x = random_images(5)
    logits = ensemble(model_fn, 1)(x)
    np.testing.assert_allclose(tf.nn.softmax(logits), tf.nn.softmax(model_fn(x)), atol=1e-6)
    np.testing.assert_array_equal(np.argmax(logits, axis=1), np.argmax(model_fn(x), axis=1))


def test_ensemble_is_the_mean_of_the_softmax_and_not_the_softmax_of_the_mean():
    expected = np.mean([np.exp(row) / np.sum(np.exp(row)) for row in DISAGREEING], axis=0)
    found = ensemble(alternating(*DISAGREEING), 3)(ONE_PIXEL)
    np.testing.assert_allclose(np.exp(found[0]), expected, rtol=1e-5)
    np.testing.assert_allclose(tf.nn.softmax(found)[0], expected, rtol=1e-5)
    of_mean = np.exp(np.mean(DISAGREEING, axis=0))
    assert np.abs(of_mean / of_mean.sum() - expected).max() > 0.05
    averaged = tf.nn.softmax(average_over_draws(alternating(*DISAGREEING), 3)(ONE_PIXEL))[0]
    assert np.abs(averaged - expected).max() > 0.05


def test_votes_may_differ_from_probabilities():
    probabilities, votes = (ensemble(alternating(*DISAGREEING), 3, of)(ONE_PIXEL)[0] for of in ENSEMBLES)
    assert (np.argmax(probabilities), np.argmax(votes)) == (0, 1)
    np.testing.assert_allclose(np.exp(votes), np.array([1 + 1 / 3, 2 + 1 / 3, 1 / 3]) / 4, rtol=1e-5)


@pytest.mark.parametrize("of", ENSEMBLES)
@pytest.mark.parametrize("traced", [False, True])
def test_gradient_of_an_ensemble_is_that_of_the_mean_probability(of, traced):
    """Against the derivative by hand: the mean of p (z_k - sum p z), divided by the mean of p."""
    ensembled = ensemble(alternating(*DISAGREEING) if not traced else lambda x: x[:, 0, 0] * DISAGREEING[0], 3, of)

    def gradient(x):
        return input_gradient(ensembled, cross_entropy, x, tf.constant([0]))

    rows = np.array([DISAGREEING[0]] * 3 if traced else DISAGREEING)
    p = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    mean, slopes = p.mean(0), (p * (rows - (p * rows).sum(1, keepdims=True))).mean(0)
    upstream = np.exp(np.array(ensembled(ONE_PIXEL)[0]))  # the softmax of log-probabilities is their exponential
    upstream[0] -= 1
    expected = np.sum(upstream * slopes / mean)
    found = (tf.function(gradient) if traced else gradient)(tf.constant(ONE_PIXEL))
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-4)


def test_std_of_an_ensemble_falls_with_the_root_of_its_draws():
    """Noise of 0.1 per pixel before a linear layer of norm 1, close to where its softmax is linear."""
    weights = np.zeros((36, 2), "float32")
    weights[:, 0] = 1 / 6
    x = np.full((4000, *SHAPE), 0.5, "float32")

    @tf.function
    def model_fn(x):
        return tf.reshape(x + 0.1 * tf.random.normal(tf.shape(x)), (-1, 36)) @ weights - [3.0, 0.0]

    for draws, expected in ((1, 0.1), (10, 0.03162)):
        logits = ensemble(model_fn, draws)(x)
        assert np.std(logits[:, 0] - logits[:, 1]) == pytest.approx(expected, rel=0.05)


def test_each_call_of_an_ensemble_in_a_graph_has_new_noise():
    predict = tf.function(ensemble(noisy_classifier(), 3))
    x = random_images(2)
    assert np.abs(predict(x) - predict(x)).max() > 1e-4


def test_ensemble_calls_the_network_so_often():
    calls = []
    ensemble(lambda x: calls.append(1) or linear_classifier(3)[0](x), 6)(random_images(2))
    assert len(calls) == 6


@pytest.mark.parametrize("of", ENSEMBLES)
def test_ensemble_takes_any_number_of_images(of):
    predict = tf.function(ensemble(noisy_classifier(), 3, of), input_signature=[tf.TensorSpec((None, *SHAPE))])
    assert [len(predict(random_images(n))) for n in (1, 4)] == [1, 4]


@pytest.mark.parametrize("of", ENSEMBLES)
def test_a_draw_that_is_no_number_makes_the_ensemble_wrong(of):
    logits = ensemble(alternating([4.0, 0.0], [np.nan, 0.0], [4.0, 0.0]), 3, of)(ONE_PIXEL)
    assert is_correct(logits, [0]).numpy().tolist() == [False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, r"`draws` must be an integer of at least 1. Received: draws=0"),
        ({"draws": 2, "of": "logits"}, r"`of` must be one of .* Received: of='logits'"),
    ],
)
def test_wrong_ensemble_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ensemble(lambda x: x, **options)


@pytest.mark.parametrize("of", ENSEMBLES)
def test_ensemble_in_a_graph_has_the_static_shape_of_the_network(of):
    """Attacks carry its losses through loops, which need shapes that stay the same."""
    network = ensemble(lambda x: x[:, 0, 0] * tf.constant([[1.0, 2.0]]), 3, of)
    ensembled, shapes = tf.function(network, reduce_retracing=True), []

    @tf.function
    def trace(x):
        shapes.append(ensembled(x).shape)

    for count in (5, 7):  # the second time, `ensembled` is traced for any number of images
        trace(tf.zeros((count, 1, 1, 1)))
    assert shapes == [(5, 2), (7, 2)]
