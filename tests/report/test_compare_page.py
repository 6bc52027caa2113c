"""Page and CSV of several runs."""

import csv
import io
import re

from report_pages import LONG, comparison

from rsr_tf.report.compare_chart import accuracy_chart
from rsr_tf.report.compare_page import compare_csv, compare_page, differences


def test_only_keys_that_differ_are_shown():
    assert differences(comparison()) == {"model.noise": ["channel", "none"]}
    runs = comparison()
    del runs[LONG]["config"]["seed"]
    assert differences(runs)["seed"] == ["0", ""]


def test_csv_has_a_row_for_each_run_and_shares_as_numbers():
    first, second = csv.DictReader(io.StringIO(compare_csv(comparison())))
    assert (first["run"], first["pgd"], first["suite"], first["failed_checks"]) == ("rsr", "0.467", "quick", "1")
    assert (second["run"], second["pgd"], second["model.noise"]) == (LONG, "", "none")


def test_page_shows_percent_bytes_and_failed_checks_and_says_what_was_not_measured():
    page = re.sub(r"\s+", " ", compare_page(comparison()))
    for part in ("<td>46.7</td>", "<td>231</td>", "<td>1 min 5 s</td>", "✗ 1 failed", ": not measured"):
        assert part in page
    assert "all keys have the same value" not in page
    same = {name: run | {"config": {}} for name, run in comparison().items()}
    assert "all keys have the same value" in compare_page(same)


def test_chart_has_a_row_for_each_run_and_is_left_out_without_numbers():
    words = re.findall(r"<text[^>]*>([^<]*)</text>", accuracy_chart(comparison()))
    assert {"rsr", "clean", "PGD", "claim of a suite"} <= set(words)
    assert accuracy_chart({"a": {"results": {}}, "b": {"results": {"seconds": 1}}}) is None
