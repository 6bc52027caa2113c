import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, tiny_network

import rsr_tf
from rsr_tf.layers import noisy_layers

PGD = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.05, steps=2, random_start=False)


def rsr_model(network=None, *, optimizer="sgd", loss=None, attack=PGD, **options):
    network = network or tiny_network(noise="none", lasso=1e-3)
    return compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=attack, **options), optimizer, loss)


def cross_entropy(logits, labels):
    logits = np.array(logits, "float64")
    shifted = logits - logits.max(-1, keepdims=True)
    return -(shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(-1)))


# Eq. 5 and 6


@pytest.mark.slow
@pytest.mark.parametrize("clean_weight", [0.0, 0.3, 1.0])
def test_loss_is_equation_6_against_numpy(images, labels, clean_weight):
    model = rsr_model(clean_weight=clean_weight)
    x_adv = model.perturb(tf.constant(images), tf.constant(labels))
    statistics = model.get_layer(index=1).normalization
    frozen = [np.array(weight) for weight in statistics.weights]
    clean, adversarial = (cross_entropy(model(x, training=True), labels).mean() for x in (images, x_adv))
    lasso = 1e-3 * sum(np.abs(layer.kernel).sum() for layer in noisy_layers(model))
    statistics.set_weights(frozen)
    logs = model.train_on_batch(images, labels, return_dict=True)
    assert logs["clean_loss"] == pytest.approx(clean, rel=1e-4)
    assert logs["adversarial_loss"] == pytest.approx(adversarial, rel=1e-4)
    assert logs["lasso"] == pytest.approx(lasso, rel=1e-5)
    assert logs["loss"] == pytest.approx(clean_weight * clean + (1 - clean_weight) * adversarial + lasso, rel=1e-4)


@pytest.mark.slow
def test_lasso_pulls_each_kernel_once_and_nothing_else(images, labels):
    """With plain SGD the lasso's share of a step is -learning_rate * lambda * sign(W), once."""
    networks = [tiny_network(noise="none", lasso=lasso) for lasso in (0.01, 0.0)]
    networks[1].set_weights(networks[0].get_weights())
    start = [np.array(weight) for weight in networks[0].trainable_weights]
    for network in networks:
        rsr_model(network, optimizer=keras.optimizers.SGD(0.1)).train_on_batch(images, labels)
    with_lasso, without = (network.trainable_weights for network in networks)
    for weight, value, other in zip(with_lasso, start, without, strict=True):
        pull = -0.1 * 0.01 * np.sign(value) if weight.name == "kernel" else np.zeros_like(value)
        np.testing.assert_allclose(np.array(weight) - np.array(other), pull, atol=2e-6, err_msg=weight.path)


def test_attack_sees_inference_mode_and_its_noise(noisy_model, images, labels):
    model = rsr_model(noisy_model)
    statistics = np.array(model.get_layer(index=1).normalization.moving_mean)
    first, second = (model.perturb(tf.constant(images), tf.constant(labels)) for _ in range(2))
    np.testing.assert_array_equal(statistics, model.get_layer(index=1).normalization.moving_mean)
    assert np.any(first != second)  # no random start: what differs is the noise


def test_predicted_labels_are_the_networks_own(images, labels):
    model = rsr_model(attack_labels="predicted")
    predictions = np.argmax(model(images), axis=-1)
    attacked = model.perturb(tf.constant(images), tf.constant(labels))
    np.testing.assert_array_equal(attacked, PGD(model, images, predictions))
    assert np.any(predictions != labels)


@pytest.mark.slow
def test_validation_reports_clean_and_adversarial_accuracy(images, labels):
    model = rsr_model()
    logs = model.evaluate(images, labels, verbose=0, return_dict=True)
    x_adv = PGD(model, images, labels)
    assert logs["accuracy"] == pytest.approx(np.mean(np.argmax(model(images), -1) == labels))
    assert logs["adversarial_accuracy"] == pytest.approx(np.mean(np.argmax(model(x_adv), -1) == labels))
    assert logs["clean_loss"] == pytest.approx(cross_entropy(model(images), labels).mean(), rel=1e-5)
    assert logs["adversarial_loss"] == pytest.approx(cross_entropy(model(x_adv), labels).mean(), rel=1e-5)


# What `fit` may be given


def trained_weights(model, *args, **options):
    model.fit(*args, epochs=2, shuffle=False, verbose=0, **options)
    return [np.array(weight) for weight in model.trainable_weights]


def assert_same_training(first, second, **tolerance):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, **(tolerance or {"atol": 1e-6}))


@pytest.mark.slow
def test_one_hot_labels_train_like_integers(images, labels):
    integer = rsr_model()
    one_hot = rsr_model(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    one_hot.set_weights(integer.get_weights())
    assert_same_training(
        trained_weights(integer, images, labels),
        trained_weights(one_hot, images, keras.utils.to_categorical(labels, 10)),
    )
    np.testing.assert_allclose(
        integer.evaluate(images, labels, verbose=0, return_dict=True)["adversarial_accuracy"],
        one_hot.evaluate(images, keras.utils.to_categorical(labels, 10), verbose=0, return_dict=True)[
            "adversarial_accuracy"
        ],
    )


@pytest.mark.slow
def test_loss_function_of_a_whole_batch_trains_like_that_of_each_image(images, labels):
    def mean_loss(y, logits):
        return tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))

    of_each, of_batch = rsr_model(), rsr_model(loss=mean_loss)
    of_batch.set_weights(of_each.get_weights())
    assert_same_training(trained_weights(of_each, images, labels), trained_weights(of_batch, images, labels))


@pytest.mark.slow
def test_zero_sample_weight_takes_an_example_out_of_the_loss(images, labels):
    model = rsr_model()
    logs = model.evaluate(images, labels, sample_weight=np.r_[np.ones(8), np.zeros(8)], verbose=0, return_dict=True)
    x_adv = PGD(model, images, labels)
    for name, x in (("accuracy", images), ("adversarial_accuracy", x_adv)):  # as unweighted as Keras' `metrics`
        assert logs[name] == pytest.approx(np.mean(np.argmax(model(x), -1) == labels))
    assert logs["clean_loss"] == pytest.approx(cross_entropy(model(images[:8]), labels[:8]).sum() / 16, rel=1e-5)


@pytest.mark.slow
def test_steps_per_execution_changes_nothing(images, labels):
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    one, four = rsr_model(), rsr_model()
    four.set_weights(one.get_weights())
    compiled(four, steps_per_execution=4)
    assert_same_training(trained_weights(one, data), trained_weights(four, data))


@pytest.mark.slow
def test_a_graph_is_traced_once_for_one_shape(images, labels):
    model = rsr_model()
    model.fit(images, labels, batch_size=4, epochs=1, verbose=0)
    traced = model.train_function
    model.fit(images, labels, batch_size=4, epochs=2, verbose=0)
    assert model.train_function is traced


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_fit_traces_the_training_step_once(images, labels, optimizer):
    """Variables of metrics and of the optimizer made within the trace would make TensorFlow trace it again."""
    model = rsr_model(optimizer=optimizer)
    traces = []
    train_step = model.train_step
    model.train_step = lambda data: traces.append(1) or train_step(data)
    model.fit(images, labels, batch_size=4, epochs=1, verbose=0)
    assert len(traces) == 1


@pytest.mark.slow
def test_layer_that_a_callback_unfreezes_at_the_start_is_trained(images, labels):
    """The variables of the optimizer are created after that."""
    model = rsr_model(optimizer="adam")
    layer = model.layers[-1]
    layer.trainable, before = False, layer.kernel.numpy()
    start = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: setattr(layer, "trainable", True))
    model.fit(images, labels, verbose=0, callbacks=[start])
    assert np.abs(layer.kernel.numpy() - before).max() > 1e-4


@pytest.mark.slow
def test_without_attack_it_is_plain_keras_training(images, labels):
    network = tiny_network(noise="none", lasso=1e-3)
    plain = compiled(keras.models.clone_model(network))
    plain.set_weights(network.get_weights())
    logs = rsr_model(network, attack=None).train_on_batch(images, labels, return_dict=True)
    expected = plain.train_on_batch(images, labels, return_dict=True)
    assert logs["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert_same_training(network.get_weights(), plain.get_weights())
    assert "adversarial_accuracy" not in logs


@pytest.mark.slow
def test_warmup_trains_plainly_and_then_robustly(images, labels):
    warm, plain = rsr_model(warmup_steps=2), rsr_model(attack=None)
    plain.set_weights(warm.get_weights())
    for _ in range(2):
        logs = warm.train_on_batch(images, labels, return_dict=True)
        plain.train_on_batch(images, labels)
        assert logs["adversarial_loss"] == 0
    assert_same_training(warm.get_weights(), plain.get_weights())
    logs = warm.train_on_batch(images, labels, return_dict=True)
    plain.train_on_batch(images, labels)
    assert logs["adversarial_loss"] > 0
    assert np.any(warm.get_weights()[0] != plain.get_weights()[0])


def test_weight_decay_leaves_alpha_alone(noisy_model, images, labels):
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    model = rsr_model(noisy_model, optimizer=optimizer)
    optimizer.build(model.trainable_variables)
    before = {weight.path: np.array(weight) for weight in model.trainable_weights}
    optimizer.apply_gradients([(tf.zeros(weight.shape), weight) for weight in model.trainable_weights])
    for weight in model.trainable_weights:
        factor = 1.0 if weight.name == "alpha" else 0.95
        np.testing.assert_allclose(weight, factor * before[weight.path], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False])
def test_exclusions_of_the_user_hold_beside_those_of_noise_scales(images, labels, before):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(rsr_tf.layers.NoisySeparableConv2D(4, 3)(inputs))
    optimizer = keras.optimizers.SGD(0.0, weight_decay=0.5)
    if before:
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = rsr_model(keras.Model(inputs, rsr_tf.layers.NoisyDense(10)(x)), optimizer=optimizer)
    if not before:
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.train_on_batch(images, labels)
    decayed = {weight.name for weight in model.trainable_weights if optimizer._use_weight_decay(weight.value)}
    assert decayed == {"depthwise_kernel", "pointwise_kernel", "kernel"}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer")
def test_several_optimizers_spare_noise_scales(noisy_model, images, labels):
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    several = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(optimizer))
    model = rsr_model(noisy_model, optimizer=several)
    before = {weight.path: np.array(weight) for weight in model.trainable_weights}
    model.train_on_batch(images, labels)
    decayed = {weight.name for weight in model.trainable_weights if optimizer._use_weight_decay(weight.value)}
    assert "kernel" in decayed
    assert "alpha" not in decayed
    assert all(np.any(weight != before[weight.path]) for weight in model.trainable_weights)


@pytest.mark.slow
def test_noise_scale_is_trained(noisy_model, images, labels):
    model = rsr_model(noisy_model)
    model.train_on_batch(images, labels)
    assert all(np.all(layer.alpha != 0.25) for layer in noisy_layers(model))


# Fast paths compute what the slow ones compute


@pytest.mark.slow
def test_compiled_by_xla_it_computes_the_same(images, labels):
    networks = [tiny_network(noise="none", lasso=1e-3) for _ in range(2)]
    networks[1].set_weights(networks[0].get_weights())
    logs = []
    for network, jit_compile in zip(networks, (False, True), strict=True):
        model = compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=PGD), jit_compile=jit_compile)
        logs.append(model.train_on_batch(images, labels, return_dict=True))
    for name, value in logs[0].items():
        assert logs[1][name] == pytest.approx(value, rel=1e-4), name
    assert_same_training(*(network.get_weights() for network in networks), atol=1e-4)


@pytest.mark.slow
def test_bfloat16_gradients_of_the_image_have_the_signs_of_float32(labels):
    """On at least 95 % of the pixels whose float32 gradient is not tiny: the rest is what rounding may turn."""
    x = tf.random.uniform((16, 32, 32, 3), seed=0)
    gradients = []
    weights = None
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        model = rsr_tf.models.resnet20(noise="none")
        weights = weights or model.get_weights()
        model.set_weights(weights)
        gradients.append(np.array(rsr_tf.attacks.input_gradient(model, rsr_tf.attacks.cross_entropy, x, labels)))
    exact, rounded = gradients
    matters = np.abs(exact) > 0.1 * np.abs(exact).mean()
    assert matters.mean() > 0.5
    assert np.mean(np.sign(exact[matters]) == np.sign(rounded[matters])) >= 0.95


@pytest.mark.slow
def test_two_replicas_report_the_losses_that_one_reports(images, labels):
    """In a separate process: logical devices must be created before TensorFlow starts."""
    script = """
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras, rsr_tf
from helpers import compiled, tiny_network
x, y = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32"), np.arange(16) % 10
logs = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        network = tiny_network(noise="none", lasso=1e-3)
        attack = rsr_tf.attacks.PGD(epsilon=0.1, step_size=0.05, steps=2, random_start=False)
        model = compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=attack))
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
        logs.append(model.evaluate(data, verbose=0, return_dict=True))
for name, value in logs[0].items():
    np.testing.assert_allclose(logs[1][name], value, rtol=1e-4, err_msg=name)
print("the same")
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent
    )
    assert "the same" in result.stdout, result.stderr[-2000:]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_decay_spares_alpha_under_loss_scaling_too(images, labels, policy):
    keras.config.set_dtype_policy(policy)
    network = rsr_tf.models.small_cnn()
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    model = rsr_model(network, optimizer=optimizer)
    decayed = {weight.name for weight in model.trainable_weights if optimizer._use_weight_decay(weight.value)}
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    assert "kernel" in decayed
    assert "alpha" not in decayed


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool", "float32"])
def test_class_numbers_of_any_type_train_like_int32(images, dtype):
    labels = np.arange(len(images)) % 2
    histories = []
    for y in (labels.astype("int32"), labels.astype(dtype)[:, None]):
        keras.utils.set_random_seed(0)
        model = rsr_model(tiny_network(noise="none"))
        histories.append(model.fit(images, y, validation_data=(images, y), shuffle=False, verbose=0).history)
    assert histories[0] == histories[1]
