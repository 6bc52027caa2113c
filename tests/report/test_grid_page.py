"""Page, Markdown and CSV of a grid, from hand-made numbers."""

import csv
import io
import re

import pytest

from rsr_tf.choices import GRID_COLUMNS
from rsr_tf.evaluation import Score
from rsr_tf.report import labels
from rsr_tf.report.grid_page import csv_table, grid_page, markdown_table

SCORES = {name: Score((0.5, 0.6), 100).as_dict() for name in ("clean", "fgsm", "pgd")}
BELOW = {"gamma": [1e-4, 1e-2, 1e-1], "share": [0.1, 0.4, 0.9]}


def value(mean, low, high, **reference):
    return {"mean": mean, "interval": [low, high], "runs": [mean], **reference}


def row(cell, network, **values):
    return {
        **{"cell": cell, "labels": {"scheme": cell.upper()}, "note": f"About {cell}.", "network": network},
        **{"seeds": [0, 1], "num_images": 100, "scheme": "RSR", "source": ""},
        **{"values": values, "failed_checks": []},
    }


@pytest.fixture
def content():
    far = value(0.4, 0.35, 0.45, reference=0.48, difference=-0.08, within=False)
    near = value(0.84, 0.8, 0.88, reference=0.85, difference=-0.01, within=True)
    return {
        **{"title": "Table <1>", "note": "", "axes": ["scheme"], "seeds": [0, 1], "configs": {"rsr": {"seed": 0}}},
        **{"columns": ["clean", "pgd", "sparsity", "parameters"], "suite": {"name": "", "num_images": None}},
        "attack": {"epsilon": 8 / 255, "steps": 7, "num_images": 100},
        "rows": [
            row("rsr", "trained", clean=near, pgd=far, sparsity=value(0.0, 0.0, 0.0)),
            row(
                "rsr", "pruned", clean=near, sparsity=value(0.6, 0.6, 0.6), parameters=value(11000.4, 11000.4, 11000.4)
            ),
        ],
        **{"missing": [], "failures": {}, "curves": {}, "weights": {}, "transfer": {}, "zoo": {}},
    }


def text_of(page):
    return " ".join(re.sub(r"<[^>]+>", " ", page.replace("<b>", "*")).split())


def test_number_stands_beside_its_interval_and_that_of_the_paper(content):
    page = text_of(grid_page(content))
    assert "84.0 [80.0, 88.0] paper 85.0 (-1.0)" in page
    assert "40.0 [35.0, 45.0] *paper 48.0 (-8.0)" in page, "bold outside the interval"
    assert "11,000" in page
    assert "Table &lt;1&gt;" in page


def test_source_of_a_reference_is_named(content):
    content["rows"][0]["source"] = "He et al."
    assert "He et al. 85.0" in text_of(grid_page(content))
    assert "<br>He et al. 85.0 (-1.0)" in markdown_table(content)


def test_claim_whose_checks_failed_is_marked(content):
    content["rows"][0]["values"]["claim"] = value(0.3, 0.2, 0.4)
    content |= {"columns": ["clean", "claim"]}
    assert "not reliable" not in grid_page(content) + markdown_table(content)
    content["rows"][0]["failed_checks"] = ["gradients not zero"]
    assert "30.0 [20.0, 40.0] not reliable: gradients not zero" in text_of(grid_page(content))
    assert "30.0 [20.0, 40.0]<br>not reliable: gradients not zero" in markdown_table(content)


def test_what_is_missing_or_failed_is_said(content):
    assert "Not done" not in grid_page(content)
    page = text_of(
        grid_page(content | {"missing": ["rsr, seed 1"], "failures": {"rsr, seed 1": "the loss became nan"}})
    )
    assert "Not done: rsr, seed 1." in page
    assert "rsr, seed 1 failed: the loss became nan" in page


def test_page_without_any_run_says_so(content):
    empty = content | {"rows": [], "attack": None, "missing": ["rsr, seed 0"]}
    assert "No run is done yet." in grid_page(empty)
    assert "No run is done yet." in markdown_table(empty)
    assert csv_table(empty) == ""


def test_figures_have_a_line_for_each_cell(content):
    points = [
        {"sparsity": share, "scores": {"noise_off": SCORES}, "target": "sparsity", "value": share} for share in (0, 0.9)
    ]
    lambdas = [
        {"lambda": value, "networks": {"pruned": {"sparsity": 0.5, "scores": {"noise_off": SCORES}}}}
        for value in (0.0, 1e-4)
    ]
    weights = {
        name: {
            "labels": {"scheme": name.upper()},
            "share_below": BELOW,
            "histogram": {"edges": [-1.0, 0.0, 1.0], "counts": [3, 4]},
        }
        for name in ("pgd", "rsr")
    }
    curves = {"rsr": {"labels": {"scheme": "RSR"}, "points": points, "lambdas": lambdas}}
    page = grid_page(content | {"curves": curves, "weights": weights})
    assert page.count("<svg") == 4
    for figure in ("Fig. 1", "Fig. 2a", "Fig. 2b", "Fig. 2c"):
        assert figure in page
    assert page.count(">PGD</text>") == 2, "the legend of Fig. 1 and that of Fig. 2c"


def test_markdown_has_a_table_for_each_kind_of_network(content):
    text = markdown_table(content)
    assert "**Before pruning**" in text
    assert "**After pruning**" in text
    assert "| RSR | 84.0 [80.0, 88.0]<br>paper 85.0 (-1.0) | 40.0 [35.0, 45.0]<br>paper 48.0 (-8.0) | 0.0 |  |" in text
    assert "PGD-7 and FGSM at epsilon 0.03137" in text


def test_csv_has_a_row_for_each_network(content):
    rows = list(csv.DictReader(io.StringIO(csv_table(content))))
    assert [line["network"] for line in rows] == ["trained", "pruned"]
    assert (rows[0]["clean"], rows[0]["clean_low"], rows[0]["clean_reference"]) == ("0.84", "0.8", "0.85")
    assert rows[1]["pgd"] == ""


def test_every_column_has_a_label():
    assert set(labels.GRID_COLUMNS) == set(GRID_COLUMNS)
