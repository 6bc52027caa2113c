"""The table of all config keys, and the page with it."""

from pathlib import Path

import pytest

from rsr_tf.config.reference import key_table, page
from rsr_tf.config.schema import Config

REPOSITORY = Path(__file__).parent.parent.parent


def all_keys():
    sections = (entry for entry in Config.model_fields.items() if entry[0] != "seed")
    return ["seed"] + [f"{name}.{key}" for name, field in sections for key in field.annotation.model_fields]


def test_key_table_covers_every_key_once_and_describes_it():
    table = key_table()
    assert [key for key, _, _ in table] == all_keys()
    assert all(description for _, _, description in table)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("seed", "0"),
        ("data.name", "required"),
        ("data.directory", "none"),
        ("attack.epsilon", "8/255"),
        ("attack.step_size", "2/255"),
        ("attack.random_start", "true"),
        ("evaluation.draws", "5"),
    ],
)
def test_key_table_shows_the_default(key, shown):
    assert {name: default for name, default, _ in key_table()}[key] == shown


def test_page_of_the_docs_is_up_to_date():
    assert (REPOSITORY / "docs" / "config.md").read_text() == page()
