import numpy as np
import pytest
import tensorflow as tf
from linear_networks import random_images, rooted_classifier

from rsr_tf.evaluation import accuracy_under, adversarial_examples, evaluate_whitebox

EPSILON = 0.05
ATTACK = {"epsilon": EPSILON, "step_size": 0.025, "steps": 5}  # five steps cross the whole ball from any start
PIXELS, CLASSES = (2, 3, 1), 2


@pytest.fixture
def linear():
    """Return a linear classifier of two classes, with images that keep a distance of epsilon from 0 and 1.

    Its worst case is known: the attack moves each pixel by epsilon against the sign of its weight, which lowers the
    margin of an image by epsilon * |w_y - w_other|_1 (Goodfellow et al. 2015).
    """
    random = np.random.default_rng(0)
    weights = random.normal(size=(6, CLASSES)).astype("float32")
    images = random.uniform(0.2, 0.8, (37, *PIXELS)).astype("float32")
    predicted = (images.reshape(37, 6) @ weights).argmax(1)
    labels = np.where(np.arange(37) % 4, predicted, 1 - predicted).astype("int32")
    return weights, images, labels


def model_fn_of(weights):
    return lambda x: tf.reshape(x, (-1, len(weights))) @ weights


def margins(weights, images, labels):
    difference = weights[:, labels] - weights[:, 1 - labels]
    return (images.reshape(len(images), -1).T * difference).sum(0), np.abs(difference).sum(0)


def exact_accuracies(weights, images, labels):
    """Return clean and worst-case accuracy by formula; no margin is so small that rounding could decide."""
    margin, reach = margins(weights, images, labels)
    worst = margin - EPSILON * reach
    assert min(np.abs(margin).min(), np.abs(worst).min()) > 1e-4
    within_reach = (margin < 0) & (margin + EPSILON * reach > 0)
    assert within_reach.any(), "an attack on predicted labels would be noticed: it corrects wrong predictions"
    return np.mean(margin > 0), np.mean(worst > 0)


@pytest.mark.parametrize("batch_size", [37, 10, 250])
def test_accuracies_of_a_linear_classifier_are_the_exact_ones(linear, batch_size):
    weights, images, labels = linear
    clean, worst = exact_accuracies(weights, images, labels)
    assert 0.1 < worst < clean - 0.1 < 0.9
    scores = evaluate_whitebox(model_fn_of(weights), images, labels, **ATTACK, repeats=2, batch_size=batch_size)
    assert scores["clean"].accuracies == pytest.approx((clean, clean))
    assert scores["fgsm"].accuracies == pytest.approx((worst, worst))
    assert scores["pgd"].accuracies == pytest.approx((worst, worst))
    assert {score.num_images for score in scores.values()} == {37}


@pytest.mark.parametrize("right", [[0], [1, 2, 3, 4, 5, 6], [6], range(7)])
def test_padding_of_the_last_batch_is_not_counted(right):
    """Labels are correct at the given indices only, with or without the first image, which is used as padding."""
    images = np.eye(7, dtype="float32").reshape(7, 7, 1, 1)
    labels = np.array([index if index in right else (index + 1) % 7 for index in range(7)])
    accuracy = accuracy_under(lambda x, y: x, lambda x: tf.reshape(x, (-1, 7)), batch_size=5)
    assert accuracy(images, labels) == pytest.approx(len(right) / 7)


def test_logits_that_are_not_a_number_are_wrong():
    images = np.zeros((3, 1, 1, 1), "float32")
    accuracy = accuracy_under(lambda x, y: x, lambda x: tf.repeat([[float("nan"), 0.0]], 3, axis=0), batch_size=3)
    assert accuracy(images, np.zeros(3, "int32")) == 0
    assert accuracy(images, np.ones(3, "int32")) == 0


def test_draws_of_a_deterministic_network_agree_on_clean_images(linear):
    weights, images, labels = linear
    scores = evaluate_whitebox(model_fn_of(weights), images, labels, **ATTACK, repeats=4)
    assert len(scores["clean"].accuracies) == 4
    assert scores["clean"].std == 0


def test_every_draw_sees_new_noise(linear):
    weights, images, labels = linear

    def random_model_fn(x):
        return model_fn_of(weights)(x) + tf.random.normal((CLASSES,))

    scores = evaluate_whitebox(random_model_fn, images, labels, **ATTACK, repeats=6)
    assert len(set(scores["clean"].accuracies)) > 1


def test_more_batches_and_draws_do_not_trace_the_network_again(linear):
    weights, images, labels = linear
    counts = []
    for n, draws in ((10, 1), (37, 3)):
        calls = []
        classify = model_fn_of(weights)

        def counted(x, calls=calls, classify=classify):
            calls.append(x.shape)
            return classify(x)

        evaluate_whitebox(counted, images[:n], labels[:n], **ATTACK, repeats=draws, batch_size=10)
        assert set(calls) == {(10, *PIXELS)}
        counts.append(len(calls))
    assert counts[0] == counts[1]


def test_step_size_beyond_epsilon_is_refused(linear):
    weights, images, labels = linear
    with pytest.raises(ValueError, match=r"`step_size` must be at most `epsilon`=0\.1\. Received: step_size=0\.2"):
        evaluate_whitebox(model_fn_of(weights), images, labels, epsilon=0.1, step_size=0.2, steps=1)


@pytest.mark.parametrize(("n_images", "n_labels"), [(0, 0), (5, 4), (0, 5)])
def test_no_images_or_labels_of_another_number_are_refused(linear, n_images, n_labels):
    weights, images, labels = linear
    with pytest.raises(ValueError, match=rf"equal in number, at least one\. Received: {n_images} and {n_labels}"):
        evaluate_whitebox(model_fn_of(weights), images[:n_images], labels[:n_labels], **ATTACK)


def test_adversarial_examples_go_to_the_corner_of_the_ball_that_hurts_most(linear):
    weights, images, labels = linear
    x_adv, clean, adversarial = adversarial_examples(model_fn_of(weights), images, labels, **ATTACK)
    direction = np.sign(weights[:, 1 - labels] - weights[:, labels]).T.reshape(images.shape)
    np.testing.assert_allclose(x_adv, images + EPSILON * direction, atol=1e-6)
    margin, reach = margins(weights, images, labels)
    np.testing.assert_array_equal(clean == labels, margin > 0)
    np.testing.assert_array_equal(adversarial == labels, margin - EPSILON * reach > 0)


def test_adversarial_examples_stay_within_0_and_1(linear):
    weights, images, labels = linear
    x_adv, *_ = adversarial_examples(model_fn_of(weights), images.round(), labels, **ATTACK)
    assert (x_adv.min(), x_adv.max()) == (0, 1)


def test_attack_starts_from_a_new_random_point_every_time(linear):
    weights, images, labels = linear
    options = {"epsilon": EPSILON, "step_size": 1e-4, "steps": 1}
    first, second = (adversarial_examples(model_fn_of(weights), images, labels, **options)[0] for _ in range(2))
    distance = np.abs(first - second)
    assert distance.max() > 0.5 * EPSILON
    assert np.abs(first - images).max() <= EPSILON + 1e-6


@pytest.mark.parametrize("shape", [(6,), (3, 2), (1, 3, 2, 1)])
def test_images_of_any_rank_are_attacked(linear, shape):
    weights, images, labels = linear
    clean, worst = exact_accuracies(weights, images, labels)
    scores = evaluate_whitebox(model_fn_of(weights), images.reshape(37, *shape), labels, **ATTACK, repeats=1)
    assert [scores[name].mean for name in ("clean", "fgsm", "pgd")] == pytest.approx([clean, worst, worst])


def test_images_without_a_gradient_are_counted_in_a_warning(linear, caplog):
    """In half precision the gradient of an image far from the boundary is zero; here that of dark images."""
    weights, images, labels = linear
    dark = images[:, 0, 0, 0] < 0.4

    def model_fn(x):
        return model_fn_of(weights)(tf.where(x[:, :1, :1] < 0.4, tf.stop_gradient(x), x))

    evaluate_whitebox(model_fn, images, labels, **ATTACK, repeats=1)
    (message,) = caplog.messages
    assert f"exactly zero on {100 * dark.mean():.1f} % of 37 images" in message
    assert "half precision" in message
    assert "no numbers count as zero" in message


def test_network_with_gradients_gets_no_warning(linear, caplog):
    weights, images, labels = linear
    evaluate_whitebox(model_fn_of(weights), images, labels, **ATTACK, repeats=1)
    assert caplog.messages == []


def test_network_without_any_gradient_is_evaluated_with_the_warning(linear, caplog):
    weights, images, labels = linear
    scores = evaluate_whitebox(lambda x: tf.stop_gradient(model_fn_of(weights)(x)), images, labels, **ATTACK, repeats=1)
    assert scores["fgsm"].mean == scores["clean"].mean
    assert "exactly zero on 100.0 % of 37 images" in caplog.text


@pytest.mark.parametrize("steps", [8, 0])
def test_network_without_a_gradient_is_attacked_like_any_other(linear, steps):
    """One that rounds, and one that returns constants."""
    _, images, labels = linear

    def network(x):
        brightness = tf.round(steps * tf.reduce_mean(x, (1, 2)))
        return tf.concat([brightness, 4.0 * tf.ones_like(brightness)], axis=1)

    scores = evaluate_whitebox(network, images, labels, repeats=1, **ATTACK)
    assert scores["clean"].mean == pytest.approx(np.mean((np.round(steps * images.mean((1, 2, 3))) < 4) == labels))
    assert scores["fgsm"].mean == scores["clean"].mean


def test_network_whose_gradients_are_no_numbers_is_attacked_like_the_guarded_one():
    images = random_images(20)
    labels = np.argmax(rooted_classifier(True)(images), axis=1)
    bare, guarded = (
        evaluate_whitebox(rooted_classifier(guarded), images, labels, repeats=1, **ATTACK) for guarded in (False, True)
    )
    assert {name: score.mean for name, score in bare.items()} == {name: score.mean for name, score in guarded.items()}
    assert 0 < bare["pgd"].mean < 1


def test_image_that_an_attack_makes_no_number_is_the_clean_one(linear):
    weights, images, labels = linear
    clean, _ = exact_accuracies(weights, images, labels)
    accuracy = accuracy_under(lambda x, y: x + np.nan, model_fn_of(weights), batch_size=37)
    assert accuracy(images, labels) == pytest.approx(clean)
