"""What `compile` says of a training: heads, the loss that the attack raises, the metrics under it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rsr_tf
from rsr_tf.training.compiled import AdversarialMetrics, Head, head_of, per_image_loss, with_threshold

losses = keras.losses
BINARY = losses.BinaryCrossentropy(from_logits=True)


def network(outputs, activation=None):
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(outputs, activation=activation)(inputs))


@pytest.mark.parametrize(
    ("outputs", "activation", "loss", "head"),
    [
        (3, None, losses.SparseCategoricalCrossentropy(from_logits=True), Head(3)),
        (3, None, losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), Head(3)),
        (3, "softmax", "sparse_categorical_crossentropy", Head(3, False, 0.5)),
        (1, None, BINARY, Head(1, True, 0.0)),
        (1, None, losses.Hinge(), Head(1, True, 0.0)),
        (1, "sigmoid", "binary_crossentropy", Head(1, True, 0.5)),
        (1, "sigmoid", losses.binary_crossentropy, Head(1, True, 0.5)),
        (4, None, losses.BinaryFocalCrossentropy(from_logits=True), Head(4, True, 0.0)),
        (4, "sigmoid", {"dense": losses.BinaryCrossentropy()}, Head(4, True, 0.5)),
        (2, None, lambda y, z: tf.reduce_sum(z, -1), Head(2)),
        (2, None, None, Head(2)),
    ],
)
def test_head_is_found_from_output_and_loss(outputs, activation, loss, head):
    assert head_of(network(outputs, activation), loss) == head


@pytest.mark.parametrize("loss", [losses.SparseCategoricalCrossentropy(from_logits=True), "categorical_crossentropy"])
def test_loss_over_classes_is_refused_with_one_output(loss):
    with pytest.raises(ValueError, match=r"no classes to choose from: compile with `keras\.losses\.BinaryCrossentropy"):
        head_of(network(1), loss)


@pytest.mark.parametrize(
    ("outputs", "loss"), [(3, "sparse_categorical_crossentropy"), (3, losses.CategoricalCrossentropy()), (1, "bce")]
)
def test_loss_of_probabilities_is_refused_after_logits(outputs, loss):
    with pytest.raises(ValueError, match=r"ends in logits, but the loss .* takes probabilities: .*`from_logits=True`"):
        head_of(network(outputs), loss)


def test_shorthand_whose_meaning_depends_on_the_labels_is_refused():
    with pytest.raises(ValueError, match="named in full"):
        head_of(network(3), "crossentropy")


@pytest.mark.parametrize(
    ("head", "outputs", "expected"),
    [
        (Head(3), [[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]], [1, 0]),
        (Head(1, True, 0.0), [[0.3], [-0.2]], [[1.0], [0.0]]),
        (Head(2, True, 0.5), [[0.3, 0.7], [0.6, 0.5]], [[0.0, 1.0], [1.0, 0.0]]),
    ],
)
def test_predicted_labels(head, outputs, expected):
    assert head.predicted_labels(tf.constant(outputs)).numpy().tolist() == expected


# The loss of each image


def test_loss_of_each_image_is_without_reduction():
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0]], "float32")
    expected = [np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, [2, 1], strict=True)]
    for loss, labels in [
        (losses.SparseCategoricalCrossentropy(from_logits=True), [2, 1]),
        (losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"), [[2], [1]]),
        (losses.CategoricalCrossentropy(from_logits=True), [[0, 0, 1], [0, 1, 0]]),
        (None, [2, 1]),
    ]:
        np.testing.assert_allclose(per_image_loss(loss)(tf.constant(labels), tf.constant(logits)), expected, rtol=1e-6)


@pytest.mark.parametrize("labels", [[1.0, 0.0], [[1.0], [0.0]], [[1], [0]]])
def test_loss_of_one_logit_takes_labels_of_either_shape(labels):
    found = per_image_loss(BINARY)(tf.constant(labels), tf.constant([[2.0], [2.0]]))
    np.testing.assert_allclose(found, [np.log1p(np.exp(-2)), np.log1p(np.exp(2))], rtol=1e-6)


def test_loss_without_an_axis_of_outputs_is_taken_as_it_is():
    def loss(y, z):
        return tf.square(y[:, 0] - z[:, 0])

    found = per_image_loss(loss)(tf.constant([[1.0], [3.0]]), tf.zeros((2, 1)))
    np.testing.assert_allclose(found, [1, 9])


def test_gradients_of_a_mean_over_the_batch_are_those_of_each_images_loss():
    def of_each(y, z):
        return tf.square(y - z)

    def mean(y, z):
        return tf.reduce_mean(tf.square(y - z))

    labels, outputs = tf.constant([[1.0], [3.0]]), tf.constant([[0.5], [1.0]])
    gradients = []
    for loss in (of_each, mean):
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            values = per_image_loss(loss)(labels, outputs)
        assert values.shape == (2,)
        gradients.append(tape.gradient(values, outputs).numpy())
    np.testing.assert_allclose(gradients[1], [[-1], [-4]], rtol=1e-6)
    np.testing.assert_array_equal(*gradients)


def test_compiled_loss_object_is_not_changed():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    per_image_loss(loss)
    assert loss.reduction == "sum_over_batch_size"


# Metrics


def results(metrics, labels, outputs):
    metrics.build(labels, outputs)
    metrics.update_state(labels, outputs)
    return {name: float(value) for name, value in metrics.result().items()}


def test_metrics_are_copies_with_names_of_their_own():
    auc = keras.metrics.AUC(name="auc", from_logits=True)
    labels, outputs = tf.constant([[1.0], [0.0], [0.0], [1.0]]), tf.constant([[0.3], [0.1], [-4.0], [-1.0]])
    found = results(AdversarialMetrics([auc], None, Head(1, True)), labels, outputs)
    assert found["adversarial_accuracy"] == 0.5  # 0.3 and -4 are right
    assert found["adversarial_auc"] == pytest.approx(0.75, abs=0.01)
    assert auc.name == "auc"
    assert float(auc.result()) == 0


def test_accuracy_of_independent_outputs_compares_logits_with_zero():
    labels, outputs = tf.constant([[1.0, 1.0], [0.0, 1.0]]), tf.constant([[0.2, 0.3], [-0.5, -0.1]])
    for metrics in (["accuracy"], {"dense": "acc"}, [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0)]):
        head = Head(2, True)
        assert results(AdversarialMetrics(with_threshold(metrics, head), None, head), labels, outputs) == {
            "adversarial_accuracy": 0.75
        }


def test_metric_that_cannot_be_copied_is_refused_by_its_name():
    class Odd(keras.metrics.Mean):
        def __init__(self, scale):
            super().__init__(name="odd")

    with pytest.raises(ValueError, match="the metric odd must have a `get_config`"):
        AdversarialMetrics([Odd(3)], None, Head(3))


# In a training


def binary_data():
    """Two classes that one pixel tells apart, with labels as `image_dataset_from_directory` gives them."""
    random = np.random.default_rng(0)
    labels = (np.arange(64) % 2).astype("float32")
    images = random.uniform(0.3, 0.7, (64, 4)).astype("float32")
    images[:, 0] = 0.35 + 0.3 * labels
    return images, labels[:, np.newaxis]


def trained(outputs, loss, labels, *, metrics=None, activation=None, **options):
    images, _ = binary_data()
    base = network(outputs, activation)
    attack = rsr_tf.attacks.PGD(epsilon=0.05, step_size=0.05, steps=1, random_start=False)
    model = rsr_tf.RSRModel(base.inputs, base.outputs, attack=attack, seed=0, **options)
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=metrics)
    return model, model.fit(images, labels, epochs=30, batch_size=32, verbose=0).history


@pytest.mark.slow
@pytest.mark.parametrize("attack_labels", ["true", "predicted"])
def test_images_of_both_labels_of_one_logit_are_attacked(attack_labels):
    images, labels = binary_data()
    model, history = trained(1, BINARY, labels, metrics=["accuracy"], attack_labels=attack_labels)
    moved = np.abs(model.perturb(tf.constant(images), tf.constant(labels)) - images).max(axis=1)
    np.testing.assert_allclose(moved, 0.05, atol=1e-6)
    x_adv = model.perturb(tf.constant(images), tf.constant(labels))
    truth = np.mean((np.array(model(x_adv)) > 0) == labels)
    found = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert found["adversarial_accuracy"] == pytest.approx(truth)
    assert history["adversarial_accuracy"][0] < 1
    assert found["accuracy"] == pytest.approx(np.mean((np.array(model(images)) > 0) == labels))


@pytest.mark.slow
def test_one_logit_is_attacked_like_two_logits():
    """The logits (0, z) have the cross-entropy of the one logit z."""
    images, labels = binary_data()
    one, _ = trained(1, BINARY, labels)
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(2)
    pair = keras.Model(inputs, dense(inputs))
    kernel, bias = (np.array(weight) for weight in one.trainable_weights)
    dense.set_weights([np.hstack([np.zeros_like(kernel), kernel]), np.hstack([[0], bias])])
    two = rsr_tf.RSRModel(pair.inputs, pair.outputs, attack=one.attack)
    two.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    np.testing.assert_allclose(
        one.perturb(tf.constant(images), tf.constant(labels)),
        two.perturb(tf.constant(images), tf.constant(labels[:, 0].astype("int32"))),
        atol=1e-6,
    )


@pytest.mark.slow
def test_several_labels_at_once_are_attacked_and_counted():
    images, first = binary_data()
    labels = np.hstack([first, 1 - first, np.ones_like(first)])
    model, history = trained(3, BINARY, labels, metrics=["accuracy", keras.metrics.AUC(from_logits=True, name="auc")])
    x_adv = model.perturb(tf.constant(images), tf.constant(labels))
    found = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert found["adversarial_accuracy"] == pytest.approx(np.mean((np.array(model(x_adv)) > 0) == labels))
    assert 0 < history["adversarial_auc"][-1] <= 1


@pytest.mark.slow
def test_sure_probabilities_are_attacked_as_their_logits():
    """A softmax that is 1 up to rounding has no gradient; the compiled loss goes back to the logits behind it."""
    images, labels = binary_data()
    model, _ = trained(2, "sparse_categorical_crossentropy", labels, activation="softmax")
    kernel, bias = model.trainable_weights
    margins = np.abs(np.diff(images @ np.array(kernel) + np.array(bias)))
    for weight in (kernel, bias):
        weight.assign(60 / margins.max() * weight)
    assert np.mean(np.max(model(images), axis=1) == 1) > 0.8
    moved = np.abs(model.perturb(tf.constant(images), tf.constant(labels)) - images).max(axis=1)
    np.testing.assert_allclose(moved, 0.05, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("monitor", "better"),
    [
        ("val_adversarial_accuracy", np.greater),
        ("val_adversarial_auc", np.greater),
        ("val_adversarial_loss", np.less),
        ("clean_loss", np.less),
        ("lasso", np.less),
    ],
)
def test_callbacks_know_the_direction_of_every_metric(monitor, better):
    images, labels = binary_data()
    base = network(1)
    model = rsr_tf.RSRModel(base.inputs, base.outputs, attack=rsr_tf.attacks.PGD(steps=1))
    model.compile("sgd", BINARY, metrics=[keras.metrics.AUC(name="auc", from_logits=True)])
    stopping = keras.callbacks.EarlyStopping(monitor=monitor, patience=5)
    model.fit(images, labels, validation_data=(images, labels), epochs=2, verbose=0, callbacks=[stopping])
    assert stopping.monitor_op(*map(float, (2, 1))) == better(2, 1)


@pytest.mark.slow
def test_labels_that_the_loss_cannot_take_are_refused_by_fit():
    images, labels = binary_data()
    multi_hot = np.hstack([labels, np.ones_like(labels)])
    for outputs, loss, given, message in [
        (2, losses.CategoricalCrossentropy(from_logits=True), multi_hot, "sum to 1; for several labels at once"),
        (2, BINARY, labels, r"must be of shape \(n, 2\)"),
        (1, BINARY, 3 * labels, "from 0 to 1"),
        (2, losses.SparseCategoricalCrossentropy(from_logits=True), multi_hot[:, :, None], "must be class numbers"),
    ]:
        base = network(outputs)
        model = rsr_tf.RSRModel(base.inputs, base.outputs, attack=rsr_tf.attacks.PGD(steps=1))
        model.compile("sgd", loss)
        with pytest.raises(ValueError, match=message):
            model.fit(images, given, verbose=0)


@pytest.mark.slow
def test_metric_that_makes_its_variables_late_is_built_before_the_steps():
    _, labels = binary_data()
    score = keras.metrics.F1Score(threshold=0.5, name="f1")
    _, history = trained(2, BINARY, np.hstack([labels, 1 - labels]), metrics=[score], warmup_steps=2)
    assert np.shape(history["adversarial_f1"][-1]) == (2,)


def test_accuracy_of_answers_takes_the_no_of_hinge_losses_by_hand():
    outputs = tf.constant([[2.0], [-1.0], [0.5], [-3.0]])
    for no in (0.0, -1.0):
        metric = Head(1, True, 0.0).accuracy()
        metric.update_state(tf.constant([[1.0], [no], [no], [no]]), outputs)
        assert float(metric.result()) == 0.75
