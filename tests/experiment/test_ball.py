import pytest
from helpers import parse, whole_line

from rsr_tf.errors import UserError
from rsr_tf.experiment.ball import choose_ball


@pytest.mark.parametrize(
    ("asked", "ball"),
    [
        ({}, ("linf", 0.1, "")),
        ({"norm": "linf"}, ("linf", 0.1, "")),
        ({"epsilon": 0.1}, ("linf", 0.1, "")),
        ({"epsilon": 0.25}, ("linf", 0.25, "linf_0.25")),
        ({"norm": "l2"}, ("l2", 0.5, "l2_0.5")),
        ({"norm": "l2", "epsilon": 128 / 255}, ("l2", 128 / 255, "l2_0.502")),
        ({"norm": "l2", "epsilon": 0.1}, ("l2", 0.1, "l2_0.1")),
    ],
)
def test_ball_is_that_of_the_config_unless_another_one_is_asked_for(asked, ball):
    config = parse("", "evaluation.epsilon=0.1", "evaluation.step_size=0.1")
    assert choose_ball(config, **asked) == ball


def test_radius_beyond_the_pixels_is_an_error_of_the_user():
    with pytest.raises(UserError, match=whole_line("`epsilon` must be in (0, 1]. Received: epsilon=2.0")):
        choose_ball(parse(), epsilon=2.0)
