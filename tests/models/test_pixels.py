import keras
import numpy as np
import pytest
import tensorflow as tf

from rsr_tf.models.pixels import from_pixels


def identity(shape=(None, None, 3)):
    """A network that returns the images that it gets."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, keras.layers.Identity(name="seen")(inputs))


def test_pixels_are_scaled_and_moved_per_channel():
    x = np.random.default_rng(0).uniform(size=(2, 4, 4, 3)).astype("float32")
    network = from_pixels(identity(), (4, 4, 3), rescale=255.0, offset=[1.0, 2.0, 3.0])
    np.testing.assert_allclose(network(x), 255 * x + np.array([1, 2, 3]), rtol=1e-6)


def test_channels_are_reversed_before_their_offsets():
    x = np.random.default_rng(0).uniform(size=(2, 4, 4, 3)).astype("float32")
    network = from_pixels(identity(), (4, 4, 3), rescale=1.0, offset=[10.0, 20.0, 30.0], reverse_channels=True)
    np.testing.assert_allclose(network(x), x[..., ::-1] + np.array([10, 20, 30]), rtol=1e-6)


def test_gray_images_are_repeated_for_a_network_of_three_channels_alone():
    x = np.random.default_rng(0).uniform(size=(2, 4, 4, 1)).astype("float32")
    np.testing.assert_array_equal(from_pixels(identity(), (4, 4, 1))(x), np.repeat(x, 3, axis=-1))
    np.testing.assert_array_equal(from_pixels(identity((4, 4, 1)), (4, 4, 1))(x), x)


def test_images_are_resized_inside_the_network_and_have_a_gradient():
    x = tf.constant(np.random.default_rng(0).uniform(size=(2, 4, 4, 3)).astype("float32"))
    network = from_pixels(identity((8, 6, 3)), (4, 4, 3), resize=(8, 6))
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = network(x)
    np.testing.assert_allclose(outputs, tf.image.resize(x, (8, 6)), atol=1e-6)
    assert np.all(np.array(tape.gradient(outputs, x)) > 0)


def test_resized_network_is_in_inference_mode_unless_told_otherwise():
    inputs = keras.Input((8, 8, 3))
    network = from_pixels(keras.Model(inputs, keras.layers.BatchNormalization()(inputs)), (4, 4, 3), resize=(8, 8))
    x = tf.random.uniform((2, 4, 4, 3))
    np.testing.assert_array_equal(network(x), network(x, training=False))


def test_layers_stand_side_by_side_and_are_saved(tmp_path):
    network = from_pixels(identity(), (4, 4, 1), resize=(8, 8), rescale=2.0, offset=-1.0, image_noise=0.1)
    names = ["pixels", "image_noise", "gray_to_rgb", "rescale", "seen"]
    assert [layer.name for layer in network.layers if layer.name[:6] != "resize"] == names
    network.get_layer("image_noise").ramp.assign(0)
    network.save(tmp_path / "model.keras")
    x = tf.random.uniform((2, 4, 4, 1))
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(x), network(x))


def test_logits_are_float32_whatever_the_network_computes_in():
    keras.config.set_dtype_policy("mixed_bfloat16")
    inputs = keras.Input((4, 4, 3))
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    assert network.outputs[0].dtype == "bfloat16"
    assert from_pixels(network, (4, 4, 3)).outputs[0].dtype == "float32"


@pytest.mark.parametrize(
    ("taken", "given", "message"),
    [
        ((8, 8, 3), (4, 4, 3), r"shape \(8, 8, 3\); `resize = \[8, 8\]` makes them so. Received: images \(4, 4, 3\)"),
        ((8, 8, 3), (8, 8, 2), r"shape \(8, 8, 3\). Received: images \(8, 8, 2\)"),
        ((64,), (8, 8, 1), r"shape \(64,\). Received: images \(8, 8, 1\)"),
    ],
)
def test_images_of_another_shape_are_refused(taken, given, message):
    with pytest.raises(ValueError, match=message):
        from_pixels(identity(taken), given)
