import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.evaluation import probes

CLASSES = tf.constant([[-1.0, 0.0, 1.0]]) * np.sqrt(1.5)
"""Logits with a standard deviation of 1 over the classes."""


def noisy(deviation):
    """Return a network whose noise is a function of the batch size."""

    def model_fn(x):
        n = x.shape[0]
        return CLASSES + deviation(n) * tf.random.normal((n, 3))

    return model_fn


def test_noise_is_its_deviation_in_units_of_the_spread_of_the_logits(images):
    """With 8 images, 3 classes and 200 draws the relative standard error is 1 / sqrt(2 * 24 * 199), 1 %."""
    spreads = probes.noise_by_batch_size(noisy(lambda n: 0.2), images, (8,), calls=200)
    assert spreads == {8: pytest.approx(0.2, rel=0.06)}


@pytest.mark.slow
def test_noise_that_depends_on_the_batch_size_is_measured_for_each(images):
    """The noise in calls of 32 images is four times that in calls of 8, and that in calls of single images is half."""
    factors = {1: 0.5, 8: 1.0, 32: 4.0}
    spreads = probes.noise_by_batch_size(noisy(lambda n: 0.05 * factors[n]), images, tuple(factors), calls=200)
    for size, factor in factors.items():
        assert spreads[size] / spreads[8] == pytest.approx(factor, rel=0.1)


def test_network_without_noise_has_none_at_any_size_and_is_called_twice(images):
    calls = []

    def model_fn(x):
        calls.append(len(x))
        return tf.repeat(CLASSES, len(x), axis=0)

    assert probes.noise_by_batch_size(model_fn, images, (8, 20)) == {8: 0.0, 20: 0.0}
    assert calls == [8, 8, 20, 20]


def test_constant_logits_have_a_noise_of_0_and_not_nan(images):
    assert probes.noise_by_batch_size(lambda x: tf.zeros((len(x), 3)), images, (8,)) == {8: 0.0}


def test_logits_have_their_mean_and_variance_over_the_calls(images):
    calls = iter([0.0, 1.0, 5.0])
    mean, variance = probes.mean_logits(lambda x: tf.zeros((len(x), 2)) + next(calls), images, calls=3)
    np.testing.assert_array_equal(mean, np.full((16, 2), 2.0))
    np.testing.assert_array_equal(variance, np.full((16, 2), 7.0))


def test_scale_is_the_median_deviation_over_the_classes():
    assert probes.logit_scale(np.array([[1.0, -1.0], [3.0, -3.0], [90.0, -90.0]])) == 3.0
    assert probes.logit_scale(np.zeros((2, 3))) > 0


@pytest.mark.parametrize("mask", [-1e9, -np.inf])
def test_scale_leaves_masked_classes_out(mask):
    logits = np.array([[1.0, -1.0, mask, -1.0], [3.0, -3.0, mask, -3.0]])
    expected = np.median([np.std([1, -1, -1, -1]), np.std([3, -3, -3, -3])])
    assert probes.logit_scale(logits) == pytest.approx(expected)


def test_scale_of_two_classes_is_finite():
    assert np.isfinite(probes.logit_scale(np.array([[0.0, -np.inf]])))


def test_zero_and_nan_are_counted_in_the_gradient_of_each_image(images):
    """The first image counts with all pixels, the second with one half, and of the third the gradient is NaN."""
    weights = np.ones((3, 64, 2), "float32") * [1.0, -1.0]
    weights[1, :32] = 0
    weights[2] = np.nan

    def model_fn(x):
        return tf.einsum("np,npc->nc", tf.reshape(x, (3, 64)), tf.constant(weights, tf.float32))

    np.testing.assert_allclose(probes.zero_gradients(model_fn, images[:3], np.zeros(3, "int32")), [0, 0.5, 1])


def along_path(model_fn, images, labels, **options):
    return probes.spread_along_path(model_fn, images, labels, **{"epsilon": 0.1, "batch_size": 8, **options})


WEIGHTS = np.random.default_rng(0).normal(size=(64, 10)).astype("float32")


def linear(x):
    return tf.reshape(x, (-1, 64)) @ WEIGHTS


def test_network_without_noise_repeats_answers_and_gradients_at_every_point(images, labels):
    assert along_path(linear, images, labels) == [probes.Spread(0.0, 0.0, 0.0)] * 4


def test_noise_of_answers_is_measured_within_a_graph_and_over_all_calls(images, labels):
    """Noise of a tenth of the spread: with 8 images, 10 classes and 9 calls the relative error is 3 %."""
    deviation = float(np.sqrt(linear(images[:8]).numpy().var(-1).mean()))

    def model_fn(x):
        return linear(x) + 0.1 * deviation * tf.random.normal((tf.shape(x)[0], 10))

    clean = along_path(model_fn, images, labels)[0]
    assert (clean.answers, clean.answers_within) == (pytest.approx(0.1, rel=0.2), pytest.approx(0.1, rel=0.2))


def test_gradient_that_is_random_alone_is_measured(images, labels):
    @tf.custom_gradient
    def random_backwards(x):
        return tf.identity(x), lambda upstream: tf.random.normal(tf.shape(upstream))

    for spread in along_path(lambda x: linear(random_backwards(x)), images, labels):
        assert (spread.answers, spread.gradients) == (0.0, pytest.approx(1.0, abs=0.05))


def test_noise_away_from_the_images_is_measured_there_alone(images, labels):
    clean = tf.constant(np.resize(images[:8], (32, 8, 8, 1)))

    def model_fn(x):
        away = tf.reduce_max(tf.abs(x - clean), axis=(1, 2, 3))[:, tf.newaxis] > 0.01
        return linear(x) + tf.where(away, 1.0, 0.0) * tf.random.normal((tf.shape(x)[0], 10))

    on_images, *elsewhere = along_path(model_fn, images, labels)
    assert on_images.answers == 0
    assert min(spread.answers for spread in elsewhere) > 0.01


def test_noise_that_the_calls_of_a_graph_share_is_none_within_it(images, labels):
    calls = tf.Variable(0)

    def model_fn(x):
        key = tf.stack([calls.assign_add(1) // 3, 1])  # three calls are one graph
        return linear(x) + tf.random.stateless_normal((10,), key)

    calls.assign(-1)
    clean = along_path(model_fn, images, labels)[0]
    assert clean.answers_within == 0
    assert clean.answers > 0.05


def ask(model_fn, images, labels, random=False):
    return probes.ask_queries(model_fn, images, labels, epsilon=0.1, random=random)


def test_every_query_changes_the_score_of_a_linear_network(images, labels):
    found = ask(linear, images, labels)
    assert len(found.seen) > 50
    assert found.seen.mean() > 0.95
    assert not found.hidden.any()
    assert not found.blind


def test_no_query_changes_a_score_that_gives_only_a_constant_class(images, labels):
    found = ask(lambda x: tf.repeat([[1.0] + [0.0] * 9], tf.shape(x)[0], axis=0), images, labels)
    assert not found.seen.any()
    assert found.blind


def test_noise_hides_what_queries_change_only_if_it_is_large(images, labels):
    def noisy(size):
        return lambda x: linear(x) + size * tf.random.normal((tf.shape(x)[0], 10))

    little, much = (ask(noisy(size), images, labels, random=True) for size in (1e-4, 30.0))
    assert little.seen.mean() > 0.9
    assert not little.hidden.any()
    assert much.blind
    assert much.hidden.all()


def masked_by(logit, model_fn):
    """Return a network with one class more, which it masks."""
    return lambda x: tf.pad(model_fn(x), [[0, 0], [0, 1]], constant_values=logit)


@pytest.mark.parametrize("logit", [-100.0, -1e9, -np.inf])
def test_masked_class_hides_no_noise(logit, images, labels):
    """A class more that is at the level of another changes the spread and the mean noise by less than a fifth."""
    clean = masked_by(logit, linear)
    assert probes.noise_by_batch_size(clean, images, (8,)) == {8: 0.0}
    assert [spread.answers for spread in along_path(clean, images, labels)] == [0.0] * 4
    deviation = float(np.sqrt(linear(images[:8]).numpy().var(-1).mean()))
    noisy = masked_by(logit, lambda x: linear(x) + 0.1 * deviation * tf.random.normal((tf.shape(x)[0], 10)))
    assert probes.noise_by_batch_size(noisy, images, (8,), calls=50)[8] == pytest.approx(0.1, rel=0.2)
    assert along_path(noisy, images, labels)[0].answers == pytest.approx(0.1, rel=0.3)


@pytest.mark.parametrize("logit", [-1e9, -np.inf])
def test_masked_class_hides_no_query(logit, images, labels):
    found = probes.ask_queries(masked_by(logit, linear), images, labels, epsilon=0.1, random=False)
    assert np.mean(found.seen) > 0.9


def test_logits_within_30_of_the_largest_and_the_largest_two_are_never_masked():
    logits = np.array([[[0.0, -29.0, -10.0]], [[0.0, -29.0, -12.0]]])
    np.testing.assert_array_equal(probes.unmasked(logits, 0), logits)
    np.testing.assert_array_equal(probes.unmasked(1e4 * logits[:1], 0), [[[0.0, -1e5, -1e5]]])
