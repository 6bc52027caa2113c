"""Certificates of a run with noise on its pixels."""

import json

import keras
import numpy as np
import pytest
from helpers import TINY

from rsr_tf.config import UserError, parse_config, parse_toml
from rsr_tf.experiment import Experiment
from rsr_tf.experiment.builders import build_network, load_data
from rsr_tf.experiment.certificates import RADII, write_certificates

pytestmark = pytest.mark.integration


def opened(folder, **model):
    """Return an experiment whose network has its first weights."""
    values = parse_toml(TINY)
    config = parse_config({**values, "model": {**values["model"], **model}}, source="test")
    experiment = Experiment(config, folder)
    experiment.folder.claim(config.model_dump(), {})
    network = build_network(config, load_data(config))
    keras.Model(network.inputs, network.outputs).save(experiment.folder.model)
    return experiment


def test_certificates_are_those_of_the_trained_network(tmp_path):
    with opened(tmp_path / "run", noise="none", image_noise=0.25) as experiment:
        write_certificates(experiment, num_images=20, draws=50)
        content = json.loads(experiment.folder.certificates.read_text())
    assert (content["network"], content["num_images"], content["std"], content["of"]) == ("trained", 20, 0.25, "votes")
    found = {(row["method"], row["radius"]): row["accuracy"] for row in content["certified"]}
    assert set(found) == {(method, radius) for method in ("pixeldp", "smoothing") for radius in RADII}
    assert all(np.diff([found["pixeldp", radius] for radius in RADII]) <= 0)
    assert all(found["pixeldp", radius] <= found["smoothing", radius] <= content["accuracy"] for radius in RADII)


def test_network_without_noise_on_its_pixels_has_no_certificate(tmp_path):
    with opened(tmp_path / "run") as experiment:
        with pytest.raises(UserError, match=r"`model.image_noise` is 0"):
            write_certificates(experiment, num_images=20, draws=50)
        assert not experiment.folder.certificates.exists()
