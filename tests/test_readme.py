"""What the README says about the config is what the config is."""

from pathlib import Path

from rsr_tf.config import key_table, load_config

REPOSITORY = Path(__file__).parent.parent


def test_readme_lists_every_config_key_with_its_default():
    readme = (REPOSITORY / "README.md").read_text()
    for key, default, description in key_table():
        assert f"| `{key}` | {default} | {description} |" in readme


def test_every_config_of_the_repository_is_valid():
    paths = sorted((REPOSITORY / "configs").rglob("*.toml"))
    assert paths
    for path in paths:
        load_config(path)
        assert path.read_text().startswith("# "), "the first comment says command, time and result"
