"""The page of a grid, from hand-made numbers."""

import re

from grid_contents import figures, grid_content, value

from rsr_tf.choices import GRID_COLUMNS
from rsr_tf.report import labels
from rsr_tf.report.grid_page import grid_page
from rsr_tf.report.grid_tables import csv_table, markdown_tables


def text_of(page):
    return " ".join(re.sub(r"<[^>]+>", " ", page.replace("<b>", "*")).split())


def test_number_stands_beside_its_interval_and_that_of_the_paper():
    page = text_of(grid_page(grid_content()))
    assert "84.0 [80.0, 88.0] paper 85.0 (-1.0)" in page
    assert "40.0 [35.0, 45.0] *paper 48.0 (-8.0)" in page, "bold outside the interval"
    assert "11,000" in page
    assert "Table &lt;1&gt;" in page


def test_source_of_a_reference_is_named():
    content = grid_content()
    content["rows"][0]["source"] = "He et al."
    assert "He et al. 85.0" in text_of(grid_page(content))
    assert "<br>He et al. 85.0 (-1.0)" in markdown_tables(content)


def test_claim_whose_checks_failed_is_marked():
    content = grid_content()
    content["rows"][0]["values"]["claim"] = value(0.3, 0.2, 0.4)
    content |= {"columns": ["clean", "claim"]}
    assert "not reliable" not in grid_page(content) + markdown_tables(content)
    content["rows"][0]["failed_checks"] = ["gradients not zero"]
    assert "30.0 [20.0, 40.0] not reliable: gradients not zero" in text_of(grid_page(content))
    assert "30.0 [20.0, 40.0]<br>not reliable: gradients not zero" in markdown_tables(content)


def test_what_is_missing_or_failed_is_said():
    assert "Not done" not in grid_page(grid_content())
    failures = {"rsr, seed 1": "the loss became nan"}
    page = text_of(grid_page(grid_content(missing=["rsr, seed 1"], failures=failures)))
    assert "Not done: rsr, seed 1." in page
    assert "rsr, seed 1 failed: the loss became nan" in page


def test_page_without_any_run_says_so():
    empty = grid_content(rows=[], attack=None, missing=["rsr, seed 0"])
    assert "No run is done yet." in grid_page(empty)
    assert "No run is done yet." in markdown_tables(empty)
    assert csv_table(empty) == ""


def test_label_is_shown_as_it_is_written():
    """A dollar is no mathematics in a chart, and a bar ends no cell of a table."""
    content = grid_content(**figures())
    for part in (*content["rows"], *content["curves"].values(), *content["weights"].values()):
        part["labels"] = dict.fromkeys(part["labels"], "$ a_b^$ |x|")
    page = grid_page(content)
    assert "$ a_b^$ |x|</text>" in page
    table = [line for line in markdown_tables(content).splitlines() if line.startswith("|")]
    assert any(r"$ a_b^$ \|x\|" in line for line in table)
    assert not any("$ |x|" in line for line in table)


def test_figures_have_a_line_for_each_cell():
    page = grid_page(grid_content(**figures()))
    assert page.count("<svg") == 4
    for figure in ("Fig. 1", "Fig. 2a", "Fig. 2b", "Fig. 2c"):
        assert figure in page
    assert page.count(">PGD</text>") == 2, "the legend of Fig. 1 and that of Fig. 2c"


def test_every_column_has_a_label():
    assert set(labels.GRID_COLUMNS) == set(GRID_COLUMNS)
