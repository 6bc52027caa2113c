import numpy as np
import pytest

from rsr_tf.evaluation import MajorityScore, RepeatedScore, Score
from rsr_tf.evaluation.scores import wilson_interval


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # Newcombe 1998, Table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_that_of_the_textbook(hits, n, low, high):
    assert wilson_interval(hits / n, n) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_wilson_interval_stays_within_0_and_1(share):
    low, high = wilson_interval(share, 3)
    assert 0 <= low < high <= 1
    assert share in (low, high)


def test_score_has_the_mean_and_sample_deviation_of_its_draws():
    score = Score((0.5, 0.6, 0.7), 100)
    assert score.mean == pytest.approx(0.6)
    assert score.std == pytest.approx(0.1)
    assert score.interval == wilson_interval(score.mean, 100)


def test_score_of_one_draw_has_no_deviation():
    assert Score((0.25,), 4).std == 0


def test_score_shows_its_number_of_images_and_draws():
    assert str(Score((0.5, 0.6, 0.7), 100)) == "60.0% ± 10.0% (n=100, 3 repeats)"


def test_score_as_dict_is_json_serializable():
    score = Score((0.5, 0.75), 8)
    assert score.as_dict() == {
        "mean": 0.625,
        "std": pytest.approx(0.1767767),
        "interval": list(wilson_interval(0.625, 8)),
        "num_images": 8,
        "repeats": 2,
        "accuracies": [0.5, 0.75],
    }


def test_image_is_robust_if_more_than_half_of_its_draws_are_correct():
    score = MajorityScore(np.array([0, 9, 10, 11, 20]), 20)
    np.testing.assert_array_equal(score.robust, [False, False, False, True, True])
    assert score.accuracy == 0.4
    assert score.mean == 0.5


def test_majority_score_as_dict_is_json_serializable_with_intervals():
    content = MajorityScore(np.array([3, 3, 0, 1], "int32"), 3).as_dict()
    assert content == {
        "accuracy": 0.5,
        "interval": list(wilson_interval(0.5, 4)),
        "mean": pytest.approx(7 / 12),
        "mean_interval": list(wilson_interval(7 / 12, 4)),
        "num_images": 4,
        "predictions": 3,
    }
    assert {type(value) for value in content.values()} == {float, list, int}


def test_repeated_score_is_the_former_name_of_majority_score():
    assert RepeatedScore is MajorityScore
