"""What a run is called, by Table 1 of the paper and its ancestor."""

import pytest

from rsr_tf.config import UserError, parse_config
from rsr_tf.experiment.provenance import is_exported, scheme_name
from rsr_tf.identity import content_hash

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


def test_export_belongs_to_the_file_that_it_names(tmp_path):
    file, folder = tmp_path / "pruned.keras", tmp_path / "saved_model"
    file.write_text("one")
    assert not is_exported(file, folder)
    folder.mkdir()
    assert is_exported(file, folder), "an older export does not tell"
    (folder / "rsr_tf.json").write_text(f'{{"network_sha256": "{content_hash(file)}"}}')
    assert is_exported(file, folder)
    file.write_text("two")
    assert not is_exported(file, folder)
    file.unlink()
    assert is_exported(file, folder), "there is nothing to export"


def test_broken_metadata_of_an_export_are_one_line(tmp_path):
    (tmp_path / "pruned.keras").write_text("one")
    (tmp_path / "rsr_tf.json").write_text("[")
    with pytest.raises(UserError, match=r"rsr_tf\.json"):
        is_exported(tmp_path / "pruned.keras", tmp_path)
