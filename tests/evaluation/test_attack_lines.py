"""The table of attacks in the log."""

import numpy as np

from rsr_tf.evaluation import AttackResult, MajorityScore
from rsr_tf.evaluation.attack_lines import attack_line, heading


def test_line_stands_under_its_heading_in_less_than_100_columns():
    hits, zeros = np.array([20, 20, 0, 20]), np.zeros(4)
    targets = ["noise_on", "noise_off"]
    result = AttackResult(
        name="PGD, one draw, epsilon 12.75/255",
        source="rescaled",
        parameters={},
        index=np.arange(4),
        scores={target: MajorityScore(hits, 20) for target in targets},
        robust_accuracy={"noise_on": 0.625, "noise_off": 0.5},
        distance=zeros,
        low=zeros,
        high=zeros,
        seconds=61.4,
    )
    assert [heading(targets), attack_line(result)] == [
        "attack                           crafted on   images  noise_on  robust  noise_off  robust    time",
        "PGD, one draw, epsilon 12.75/255 rescaled          4     75.0%   62.5%      75.0%   50.0%    61 s",
    ]
