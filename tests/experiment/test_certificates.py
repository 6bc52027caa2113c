"""Certificates of a run with noise on its pixels."""

import json

import keras
import numpy as np
import pytest
from helpers import TINY

from rsr_tf.config import UserError, parse_config, parse_toml
from rsr_tf.experiment import Experiment
from rsr_tf.experiment.builders import build_network, load_data
from rsr_tf.experiment.certificates import RADII, has_certificates, write_certificates
from rsr_tf.experiment.result_schema import write_result

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


def test_certificates_belong_to_a_network_a_number_of_images_and_of_draws(tmp_path, caplog):
    caplog.set_level("INFO")
    with opened(tmp_path / "run", noise="none", image_noise=0.25) as experiment:
        folder, wanted = experiment.folder, {"num_images": 20, "draws": 50}

        def is_there(**changes):
            return has_certificates(folder, experiment.config, **{**wanted, **changes})

        assert not is_there()
        write_certificates(experiment, **wanted)
        assert is_there()
        assert not any([is_there(num_images=10), is_there(num_images=30), is_there(draws=60)])
        assert "certifying again" not in caplog.text
        folder.model.write_bytes(b"another network")
        assert not is_there()
        content = json.loads(folder.certificates.read_text())
        del content["identity"]
        folder.certificates.write_text(json.dumps(content))
        assert is_there()  # a file of before


def test_certificates_of_all_test_images_are_there_if_more_were_asked_for(tmp_path):
    with opened(tmp_path / "run", noise="none", image_noise=0.25) as experiment:
        size = len(load_data(experiment.config).test)
        write_result(experiment.folder.certificates, {"num_images": size, "draws": 50})
        for num_images, expected in ((size, True), (size + 50, True), (size - 50, False)):
            found = has_certificates(experiment.folder, experiment.config, num_images=num_images, draws=50)
            assert found == expected


def test_network_without_noise_on_its_pixels_has_no_certificate(tmp_path):
    with opened(tmp_path / "run") as experiment:
        with pytest.raises(UserError, match=r"`model.image_noise` is 0"):
            write_certificates(experiment, num_images=20, draws=50)
        assert not experiment.folder.certificates.exists()
