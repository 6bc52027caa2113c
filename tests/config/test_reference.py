"""The table of all config keys, and the page with it."""

from pathlib import Path

import pytest

from rsr_tf.config.reference import key_table, page, text_table
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


def test_text_table_is_aligned_and_not_wider_than_asked():
    lines = text_table("pruning", width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["key", "default", "meaning"]
    column = lines[0].index("meaning")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)
    assert [line.split()[0] for line in lines[1:] if line[0] != " "] == [
        key for key in all_keys() if key.startswith("pruning.")
    ]


def test_text_table_of_one_key_has_its_choices():
    assert "One of: linf, l2" in text_table("attack.norm")
    assert "One of" not in text_table("attack")


@pytest.mark.parametrize(("key", "close"), [("modl", "model"), ("training.epoch", "training.epochs"), ("", "data")])
def test_text_table_of_an_unknown_key_says_what_is_close(key, close):
    with pytest.raises(ValueError, match=rf"unknown key `{key}`\. Expected one such as .*{close}"):
        text_table(key)
