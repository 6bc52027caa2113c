"""The config to begin with."""

import re
import tomllib

import pytest

from rsr_tf.config import UserError, load_config, parse_config
from rsr_tf.config.schema import Config
from rsr_tf.config.template import USEFUL, template


@pytest.mark.parametrize(
    ("options", "example"),
    [
        ({}, "quickstart"),
        ({"data": "digits"}, "quickstart"),
        ({"data": "cifar10"}, "cifar10/resnet20_rsr"),
    ],
)
def test_template_has_the_values_of_a_packaged_config(options, example):
    assert parse_config(tomllib.loads(template("my.toml", **options)), source="x") == load_config(example)


def test_options_are_the_values_of_their_keys():
    values = tomllib.loads(template("my.toml", data="npz", directory='a "b"\\c.npz', network="vgg16"))
    assert (values["data"]["name"], values["data"]["directory"]) == ("npz", 'a "b"\\c.npz')
    assert values["model"]["name"] == "vgg16"


def test_every_section_is_there_and_every_key_has_its_comment():
    text = template("my.toml")
    assert list(USEFUL) == [name for name in Config.model_fields if name != "seed"]
    for section, keys in USEFUL.items():
        fields = Config.model_fields[section].annotation.model_fields
        for key in keys:
            assert re.search(rf"^{key} = .*  # {re.escape(fields[key].description)}$", text, re.M)


def test_radius_is_a_fraction():
    assert 'epsilon = "8/255"  #' in template("my.toml", data="cifar10")


@pytest.mark.parametrize(("options", "key"), [({"data": "mnist"}, "data.name"), ({"network": "x"}, "model.name")])
def test_unknown_name_is_one_line(options, key):
    with pytest.raises(UserError, match=rf"\Athe options: `{key}` should be .*\. Received: '\w+'\Z"):
        template("my.toml", **options)
