"""Displayed names and number formats."""

from pathlib import Path

import pytest

from rsr_tf.experiment.result_schema import read_result
from rsr_tf.report import labels
from rsr_tf.report.render import FILTERS, render

VERDICTS = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*verdict*.json"))


def test_every_attack_of_the_stored_verdicts_has_a_label():
    rows = [row for path in VERDICTS for row in read_result(path)["attacks"]]
    assert {row["attack"].split(labels.RADIUS)[0] for row in rows} <= set(labels.ATTACKS)


def test_attack_label_keeps_the_radius_and_falls_back_to_the_identifier():
    assert labels.attack_label("short PGD") == "PGD, short"
    assert labels.attack_label("PGD, one draw, epsilon 127.5/255") == "PGD, single draw, epsilon 127.5/255"
    assert labels.attack_label("HopSkipJump") == "HopSkipJump"


@pytest.mark.parametrize(
    ("identifier", "label"),
    [("trained", "trained"), ("pruned", "pruned"), ("of somebody", "of somebody")],
)
def test_label_of_an_unknown_network_is_its_identifier(identifier, label):
    assert labels.network_label(identifier) == label


def test_noise_is_on_off_or_absent():
    assert labels.noise_label("noise_on", has_noise=True) == "noise on"
    assert labels.noise_label("noise_off", has_noise=True) == "noise off"
    assert labels.noise_label("noise_off", has_noise=False) == "no noise"


def test_numbers_have_one_format():
    assert labels.percent(0.1234) == "12.3\N{NO-BREAK SPACE}%"
    assert labels.percent_value(0.1234) == "12.3"
    assert labels.distance_text(8 / 255) == "8/255"


def test_template_filters_are_the_functions_of_the_same_name(monkeypatch):
    assert set(FILTERS) <= set(vars(labels))
    monkeypatch.setattr(labels, "percent_value", lambda share: "NUMBER")
    score = {"mean": 0.5, "std": 0.1, "interval": [0.4, 0.6]}
    sweep = {
        "points": [],
        "seed": 0,
        "attack": {"epsilon": 0.1, "step_size": 0.1, "steps": 2, "num_images": 1, "repeats": 1},
    }
    sweep["lambdas"] = [{"lambda": 0.0, "networks": {"pruned": {"sparsity": 0.5, "scores": {"noise_on": {}}}}}]
    sweep["lambdas"][0]["networks"]["pruned"]["scores"]["noise_on"] = dict.fromkeys(("clean", "pgd", "fgsm"), score)
    page = render(
        "sweep.html.jinja",
        title="",
        config="",
        sweep=sweep,
        stages=["pruned"],
        noise_state=labels.noise_state,
        noise_labels=labels.NOISE,
        accuracy_by_lambda="<svg>",
        **dict.fromkeys(("harmless", "accuracy", "share_below", "sizes")),
    )
    assert "<td>NUMBER ± NUMBER" in page
