"""Classes that must have the numbers of the training."""

import dataclasses

import pytest
from helpers import tiny_network, whole_line

import rsr_tf
from rsr_tf.errors import UserError
from rsr_tf.experiment.classes import check_classes
from rsr_tf.experiment.load import load_network
from rsr_tf.experiment.result_schema import write_result


def named(*classes):
    digits = rsr_tf.data.load("digits")
    return dataclasses.replace(digits, class_names=classes)


@pytest.mark.parametrize("known", [[], ["cat", "dog", "owl"], ["0", "1"], ["cat", "dog"]])
def test_classes_with_the_numbers_of_the_training_are_taken(known):
    assert check_classes(known, named("cat", "dog"), "network") is None


def test_class_with_another_number_than_in_the_training_is_refused():
    """Without the folder of the first class, every label would be that of the class before it."""
    message = (
        "network must have classes with the numbers of its training, where dog was 1. Received: data in which it is 0"
    )
    with pytest.raises(UserError, match=whole_line(message)):
        check_classes(["cat", "dog", "owl"], named("dog", "owl"), "network")


def test_network_of_a_run_is_refused_if_its_results_have_other_numbers(tmp_path):
    tiny_network().save(tmp_path / "pruned.keras")
    digits = rsr_tf.data.load("digits")
    load_network(tmp_path / "pruned.keras", digits)
    write_result(tmp_path / "evaluation.json", {"class_names": [*"9012345678"], "networks": {}})
    with pytest.raises(UserError, match=f"{tmp_path} must have .* where 0 was 1"):
        load_network(tmp_path / "pruned.keras", digits)
