"""Every export format: written, reloaded, and compared with the network itself."""

import keras
import numpy as np
import pytest
from helpers import tiny_network

import rsr_tf
from rsr_tf.export.formats import export_formats


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every export format of one pruned network, written."""
    keras.utils.set_random_seed(0)
    folder, model = tmp_path_factory.mktemp("formats"), tiny_network()
    rsr_tf.prune(model, sparsity=0.8)
    images = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")
    formats = export_formats(model, calibration=images)
    for entry in formats:
        if not (folder / entry.file).exists():
            entry.write(model, folder / entry.file)
    return model, images, folder, {entry.title: entry for entry in formats}


@pytest.mark.slow
def test_formats_without_noise_answer_as_the_stripped_network(written):
    model, images, folder, formats = written
    logits = np.array(rsr_tf.strip(model)(images))
    quiet = {title: entry for title, entry in formats.items() if not entry.noisy}
    assert len(quiet) == 6
    for title, entry in quiet.items():
        tolerance = 0.05 * np.ptp(logits) if "int8" in title else 1e-5
        np.testing.assert_allclose(entry.load(folder / entry.file)(images), logits, atol=tolerance, err_msg=title)


@pytest.mark.slow
def test_noisy_formats_draw_noise(written):
    _, images, folder, formats = written
    noisy = [entry for entry in formats.values() if entry.noisy]
    assert len(noisy) == 4
    for entry in noisy:
        function = entry.load(folder / entry.file)
        assert np.abs(np.array(function(images)) - np.array(function(images))).max() > 1e-4, entry.title


def test_network_without_noise_has_no_noisy_formats(images):
    formats = export_formats(tiny_network(noise="none"), calibration=images)
    assert not any(entry.noisy for entry in formats)
