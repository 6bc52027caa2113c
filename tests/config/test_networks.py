"""Which network a config names, and the keys that go with it."""

import pytest
from helpers import whole_line

from rsr_tf.choices import MODELS
from rsr_tf.config import UserError, parse_config

HASH = "0123456789abcdef" * 4


def section(**model):
    return parse_config({"data": {"name": "digits"}, "model": model}, source="run.toml").model


@pytest.mark.parametrize("name", [*MODELS, "keras:MobileNetV3Small", "keras:anything"])
def test_network_is_named(name):
    assert (section(name=name).name, section(name=name).title) == (name, name)


def test_network_of_a_file_is_called_as_the_file():
    found = section(file="nets/flowers.keras", rescale=255, offset="1/2", resize=[64, 32], sha256=HASH)
    assert (found.title, found.kind, found.file_of_weights) == ("flowers.keras", "file", "nets/flowers.keras")
    assert (found.rescale, found.offset, found.resize) == (255.0, 0.5, [64, 32])


@pytest.mark.parametrize(
    ("weights", "file"), [(None, None), ("imagenet", None), ("mine.weights.h5", "mine.weights.h5")]
)
def test_weights_of_imagenet_are_no_file(weights, file):
    assert section(name="keras:VGG16", weights=weights).file_of_weights == file


def test_built_in_network_can_have_images_of_another_size():
    assert section(name="vgg16", resize=[32, 32]).resize == [32, 32]


KERAS = {"name": "keras:VGG16"}
FILE = {"file": "own.keras"}
BUILT_IN = {"name": "small_cnn"}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({}, "`model` give exactly one of name (None) and file (None)"),
        ({**BUILT_IN, **FILE}, "`model` give exactly one of name (small_cnn) and file (own.keras)"),
        ({"file": "own.h5"}, "`model` file must be a .keras file. Received: own.h5"),
        ({"file": 3}, "`model.file` should be a valid string. Received: 3"),
        ({"name": 3}, "`model.name` should be a valid string. Received: 3"),
        ({**BUILT_IN, "weights": "a.weights.h5"}, "`model` small_cnn does not use weights (a.weights.h5)"),
        ({**BUILT_IN, "rescale": 255}, "`model` small_cnn does not use rescale (255.0)"),
        ({**KERAS, "width": 0.5}, "`model` keras:VGG16 does not use width (0.5)"),
        ({**KERAS, "depth": 16}, "`model` keras:VGG16 does not use depth (16)"),
        ({**KERAS, "activation_bits": 2}, "`model` keras:VGG16 does not use activation_bits (2)"),
        ({**KERAS, "orthogonality": 1e-4}, "`model` keras:VGG16 does not use orthogonality (0.0001)"),
        ({**FILE, "feature_noise": 0.1}, "`model` own.keras does not use feature_noise (0.1)"),
        ({**FILE, "weights": "imagenet"}, "`model` own.keras does not use weights (imagenet)"),
        ({**FILE, "offset": 1}, "`model` offset (1) goes with rescale: rescale * pixels + offset"),
        (
            {**FILE, "rescale": "many"},
            "`model.rescale` expected a number or a fraction such as \"8/255\". Received: 'many'",
        ),
        ({**FILE, "resize": 64}, "`model.resize` should be a valid list. Received: 64"),
        (
            {**FILE, "resize": [64]},
            "`model.resize` List should have at least 2 items after validation, not 1. Received: [64]",
        ),
        ({**FILE, "resize": [0, 64]}, "`model.resize.0` should be greater than or equal to 1. Received: 0"),
        ({**FILE, "resize": [64, 5000]}, "`model.resize.1` should be less than or equal to 4096. Received: 5000"),
        ({**FILE, "sha256": "abc"}, "`model.sha256` String should match pattern '^[0-9a-f]{64}$'. Received: 'abc'"),
        ({**KERAS, "sha256": HASH}, f"`model` sha256 goes with file, or weights in a file. Received: {HASH}"),
    ],
)
def test_wrong_network_is_one_line(model, message):
    with pytest.raises(UserError, match=whole_line(f"run.toml: {message}")):
        section(**model)


@pytest.mark.parametrize("name", ["keras:", "smal_cnn", "", "keras"])
def test_name_of_no_network_is_refused_with_what_is_known(name):
    with pytest.raises(UserError, match=r"`model.name` should be 'small_cnn', .* or 'keras:NAME', such as"):
        section(name=name)
