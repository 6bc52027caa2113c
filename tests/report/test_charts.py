"""Charts of more than one page."""

import re

import pytest
from matplotlib.figure import Figure

from rsr_tf.report.charts import histogram_chart, power_of_ten, share_below
from rsr_tf.report.svg import svg

STYLE = {"color": "#123456"}


def texts(chart):
    """List the texts of an SVG element."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", chart)


@pytest.mark.parametrize(("number", "text"), [(1e-6, "10⁻⁶"), (3e4, "3·10⁴"), (1, "1"), (6.0, "6"), (1000, "10³")])
def test_number_with_one_digit_is_a_power_of_ten(number, text):
    assert power_of_ten(number) == text


def test_thresholds_are_labelled_in_plain_text():
    found = texts(share_below({"RSR": ({"gamma": [1e-3, 1e-2, 1e-1], "share": [0.1, 0.5, 0.9]}, STYLE)}))
    assert [text for text in found if text.startswith("10") and "%" not in text] == ["10⁻³", "10⁻²", "10⁻¹"]


def test_numbers_of_weights_within_a_decade_are_labelled_too():
    found = texts(histogram_chart({"RSR": ({"edges": [-1, 0, 1], "counts": [3, 4]}, STYLE)}))
    assert {"3", "4"} <= set(found)


def test_names_in_any_script_need_no_font_here():
    """The text of a chart is drawn by the browser, so a letter that no font of this machine has is no warning."""
    axes = Figure().subplots()
    axes.set_title("日本語")
    assert "日本語</text>" in svg(axes.figure, "title", "description")
