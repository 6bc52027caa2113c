"""No value of the paper's grids is dead: each network and each scheme is built and trained for three steps."""

import numpy as np
import pytest

from rsr_tf.config import load_grid
from rsr_tf.data import DataSet, Split
from rsr_tf.experiment import builders
from rsr_tf.experiment.load import variants
from rsr_tf.layers import draws_noise

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STEPS, BATCH = 3, 8
SMALL = ["model.width=0.25", "training.precision=float32"]
SCHEMES = {cell.name.partition("-")[2]: cell for cell in load_grid("paper/common", "digits", SMALL)[1]}
NETWORKS = {
    name: next(cell for cell in load_grid("paper/common", "paper", SMALL)[1] if cell.name == f"{name}-rsr")
    for name in ("resnet20", "resnet18", "vgg16")
}


def trained(cell, shape):
    """Train for three steps; return model, images, and whether every weight has changed and every loss is finite."""
    config = next(iter(cell.configs.values()))
    config = config.changed(attack={"steps": min(config.attack.steps, 1)})  # a shorter graph
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (STEPS * BATCH, *shape)).astype("uint8"), np.arange(STEPS * BATCH) % 10
    split = Split(images, labels.astype("int32"))
    data_set = DataSet("noise", split, split, split, tuple("0123456789"))
    network = builders.build_network(config, data_set)
    before = [weight.numpy() for weight in network.trainable_weights]
    model = builders.build_rsr_model(config, network, warmup_steps=0)
    builders.compile_model(model, config, 1e-3)
    losses = model.fit(split.pixels(), split.labels, batch_size=BATCH, verbose=0).history["loss"]
    changed = [np.any(old != new.numpy()) for old, new in zip(before, network.trainable_weights, strict=True)]
    return model, split, np.all(np.isfinite(losses)) and all(changed)


@pytest.mark.parametrize("name", SCHEMES)
def test_scheme_trains(name):
    model, split, is_alive = trained(SCHEMES[name], (8, 8, 1))
    assert is_alive
    assert draws_noise(model) == (name in ("cni", "rsr", "pni", "dp", "dp_at", "rse", "rse_at"))
    assert (model.attack is None) == (name in ("none", "dq", "dp", "rse"))
    networks = variants(model, draws=2)
    assert ("noise_on" in networks) == draws_noise(model)
    assert all(np.all(np.isfinite(model_fn(split.pixels()))) for model_fn in networks.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_network_trains(name):
    *_, is_alive = trained(NETWORKS[name], (32, 32, 3))
    assert is_alive
