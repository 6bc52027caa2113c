"""The charts of a verdict, drawn from hand-made numbers."""

import re

from helpers import noisy_verdict, plain_verdict

from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.report.verdict_charts import chart_rows
from rsr_tf.report.verdict_page import verdict_view


def test_chart_shows_attacks_alone_and_in_sequence():
    alone, in_turn = chart_rows(noisy_verdict(), "noise_off")
    assert [(point["label"], point["origin"], point["share"]) for point in alone] == [
        ("clean", "direct", 0.8),
        ("PGD, short (transfer)", "transfer", 0.7),
        ("PGD, single draw (rescaled logits)", "rescaled", 0.7),
    ]
    assert alone[1]["interval"] == list(wilson_interval(0.7, 10))
    assert [(point["label"], point["share"]) for point in in_turn] == [("APGD-CE (transfer)", 0.5), ("APGD-CE", 0.4)]
    assert in_turn[1]["interval"] == list(wilson_interval(0.4, 200))


def test_chart_of_the_noisy_network_has_its_own_scores():
    alone, in_turn = chart_rows(noisy_verdict(), "noise_on")
    assert [point["share"] for point in alone + in_turn] == [0.9, 0.6, 0.6, 0.5, 0.5]
    assert [point["origin"] for point in in_turn] == ["direct", "transfer"]


def test_charts_and_curve_have_their_numbers_as_text():
    view = verdict_view(noisy_verdict())
    assert list(view["charts"]) == ["noise on", "noise off"]
    for chart, worst in zip(view["charts"].values(), ("50.0", "40.0"), strict=True):
        assert chart.startswith("<svg")
        assert ">APGD-CE (transfer)<" in chart
        assert f"worst case, {worst}\N{NO-BREAK SPACE}%" in chart
        assert ">In sequence: accuracy on all images<" in chart
    assert ">Accuracy by epsilon<" in view["curve"]
    assert ">8<" in view["curve"]


def test_chart_of_a_network_that_the_checks_broke_has_one_panel():
    chart = verdict_view(plain_verdict(accuracy=0.0))["charts"]["no noise"]
    assert "Each attack alone" in chart
    assert "In sequence" not in chart


def test_charts_distinguish_origins_of_attacks_without_color():
    """Each origin has its own marker: Matplotlib writes each shape once, by name, and refers to it."""
    chart = verdict_view(noisy_verdict())["charts"]["noise on"]
    shapes = dict(re.findall(r'<path id="(m\w+)" d="([^"]+)"', chart))
    markers = set(re.findall(r'<use xlink:href="#(m\w+)"[^>]*style="fill: var', chart))
    assert len({shapes[marker] for marker in markers}) == 3
