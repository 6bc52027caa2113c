"""What TensorBoard is given of a training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import compiled, tiny_network
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import rsr_tf
from rsr_tf.pruning.callback import SparsityLogger
from rsr_tf.training.tensorboard import Overview, attacked_images

pytestmark = pytest.mark.slow


def model(noise="channel", steps=2):
    network = tiny_network(noise=noise)
    attack = rsr_tf.attacks.PGD(epsilon=0.2, steps=steps) if steps else None
    return compiled(rsr_tf.RSRModel(network.inputs, network.outputs, attack=attack, seed=0))


def trained(network, folder, x, y, **options):
    """Train for two epochs and return the events as a dict from tag to a list of pairs of step and tensor."""
    callbacks = [SparsityLogger(), Overview(folder, **options)]
    network.fit(x, y, validation_data=(x, y), epochs=2, verbose=0, callbacks=callbacks)
    return events_in(folder)


def events_in(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    tags = events.Tags()["tensors"]
    return {tag: [(event.step, tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)] for tag in tags}


def test_what_matters_comes_first_and_is_that_of_the_network(images, labels, tmp_path):
    network = model()
    found = trained(network, tmp_path, images, labels)
    assert [tag for tag in sorted(found) if tag.startswith("1")] == [
        f"1_overview/{name}" for name in ("adversarial_accuracy", "mean_alpha", "sparsity")
    ]
    assert min(found).startswith("1_overview")
    kernels = rsr_tf.layers.prunable_kernels(network)
    alpha = np.concatenate([np.abs(kernel.alpha).ravel() for kernel in kernels.values()])
    assert [step for step, _ in found["1_overview/mean_alpha"]] == [0, 1]
    assert found["1_overview/mean_alpha"][-1][1] == pytest.approx(np.mean(alpha), rel=1e-6)
    path, kernel = next(iter(kernels.items()))
    assert found[f"2_noise_of_layers/{path}"][-1][1] == pytest.approx(np.mean(np.abs(kernel.alpha)), rel=1e-6)
    history = network.history.history
    assert [float(value) for _, value in found["1_overview/adversarial_accuracy"]] == pytest.approx(
        history["val_adversarial_accuracy"]
    )


def test_constant_weights_have_no_histogram(images, labels, tmp_path):
    network = model()
    kernels = rsr_tf.layers.prunable_kernels(network)
    path, kernel = next(iter(kernels.items()))
    kernel.alpha.assign(tf.zeros_like(kernel.alpha))
    kernel.alpha.trainable = False
    found = {tag for tag in trained(network, tmp_path, images, labels) if tag.startswith("weights/")}
    assert found == {f"weights/{name}/{part}" for name in kernels for part in ("kernel", "alpha")} - {
        f"weights/{path}/alpha"
    }


def test_images_are_shown_clean_and_under_the_attack(images, labels, tmp_path):
    found = trained(model(), tmp_path, images, labels, images=images[:2], labels=labels[:2])
    clean, adversarial = (found[f"images/{name}"][-1][1] for name in ("clean", "adversarial"))
    assert len(clean) == len(adversarial) == 2 + 2, "width, height and two images"
    assert clean[2] != adversarial[2]
    assert "images/adversarial" not in trained(
        model(steps=0), tmp_path / "plain", images, labels, images=images[:2], labels=labels[:2]
    )


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_images_of_any_number_of_channels_are_shown(channels, labels, tmp_path):
    x, y = np.random.default_rng(0).uniform(size=(2, 8, 8, channels)).astype("float32"), labels[:2]
    inputs = keras.Input((8, 8, channels))
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
    attack = rsr_tf.attacks.PGD(epsilon=0.2, steps=1)
    overview = Overview(tmp_path, images=x, labels=y)
    overview.set_model(compiled(rsr_tf.RSRModel(inputs, outputs, attack=attack)))
    overview.on_train_begin()
    overview.on_epoch_end(0, {"adversarial_accuracy": 0.5})
    overview.on_train_end()
    found = events_in(tmp_path)
    for tag in ("images/clean", "images/adversarial"):
        (_, (*_, png, _)) = found[tag][0]
        assert tf.io.decode_png(png).shape == (8, 8, 3 if channels > 2 else 1)


def test_network_without_noise_has_no_noise_scale(images, labels, tmp_path):
    found = trained(model(noise="none"), tmp_path, images, labels)
    assert not any("alpha" in tag or "noise" in tag for tag in found)
    assert "1_overview/sparsity" in found


def test_attacked_images_stay_in_the_ball_and_leave_the_random_numbers_as_they_were(images, labels):
    network = model()
    network.fit(images, labels, verbose=0)
    before = [variable.numpy() for variable in network.variables]
    found = attacked_images(network, images[:4], labels[:4])
    distance = np.max(np.abs(found - images[:4]))
    assert 0.01 < distance <= 0.2 + 1e-6
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_settings_are_hyperparameters(images, labels, tmp_path):
    trained(model(), tmp_path, images, labels, settings={"seed": 3, "model.noise": "channel", "sizes": [1, 2]})
    event = EventAccumulator(str(tmp_path)).Reload().summary_metadata["_hparams_/session_start_info"]
    info = HParamsPluginData.FromString(event.plugin_data.content).session_start_info
    assert info.hparams["seed"].number_value == 3
    assert info.hparams["model.noise"].string_value == "channel"
    assert info.hparams["sizes"].string_value == "[1, 2]"
