"""The choices of a user are those that the library knows."""

from rsr_tf import choices, evaluation


def test_suites_are_those_of_the_evaluation_in_the_other_order():
    assert tuple(reversed(evaluation.SUITES)) == choices.SUITES
