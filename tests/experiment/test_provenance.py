"""What a run is called, by Table 1 of the paper and its ancestor."""

import pytest

from rsr_tf.config import parse_config
from rsr_tf.experiment.provenance import scheme_name

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("model", "attack_steps", "name"),
    [
        ({"noise": "none", "lasso": 0.0}, 7, "PGD training"),
        ({"noise": "channel", "lasso": 0.0}, 7, "CNI"),
        ({"noise": "none", "lasso": 5e-5}, 7, "Lasso"),
        ({"noise": "channel", "lasso": 5e-5}, 7, "RSR"),
        ({"noise": "layer", "lasso": 0.0}, 7, "PNI"),
        ({"noise": "element", "lasso": 0.0}, 7, "PNI"),
        ({"noise": "element", "lasso": 5e-5}, 7, "PNI with lasso"),
        ({"noise": "none", "lasso": 0.0, "group_lasso": 1e-4}, 7, "Group lasso"),
        ({"noise": "none", "lasso": 5e-5, "group_lasso": 1e-4}, 7, "Lasso and group lasso"),
        ({"noise": "channel", "lasso": 0.0, "group_lasso": 1e-4}, 7, "CNI with group lasso"),
        ({"noise": "channel", "lasso": 5e-5, "group_lasso": 1e-4}, 7, "RSR with group lasso"),
        ({"noise": "layer", "lasso": 5e-5, "group_lasso": 1e-4}, 7, "PNI with lasso and group lasso"),
        ({"noise": "channel", "lasso": 5e-5}, 0, "training without attack"),
    ],
)
def test_scheme_is_named_by_noise_and_penalties(model, attack_steps, name):
    values = {"data": {"name": "digits"}, "model": {"name": "small_cnn", **model}, "attack": {"steps": attack_steps}}
    assert scheme_name(parse_config(values, source="run.toml")) == name


def test_another_objective_is_named_beside_the_scheme():
    values = {"data": {"name": "digits"}, "model": {"name": "small_cnn"}}
    config = parse_config(values, source="run.toml").changed(training={"objective": "trades"})
    assert scheme_name(config) == "RSR, objective trades"
