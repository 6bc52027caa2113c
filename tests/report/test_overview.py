"""The top of a report: tiles, facts, contents, classes and layers."""

import re

import pytest
from helpers import check, noisy_verdict
from report_pages import CONFIG, artefacts, evaluation, everything, history, stages, sweep, write_report

from rsr_tf.report.contents import contents
from rsr_tf.report.overview import by_class, facts, tiles
from rsr_tf.report.overview_charts import class_chart, noise_chart

NOTHING = {
    name: [] for name in ("evaluation", "history", "verdicts", "artefacts", "sweep", "zoo", "transfers", "files")
}


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


def numbers(*arguments):
    return {tile["name"]: tile["number"] and plain(tile["number"]) for tile in tiles(*arguments, "runs/x")}


def test_tiles_compare_the_defended_with_the_undefended_network():
    found = {tile["name"]: tile for tile in tiles(evaluation(), [], {}, "runs/x")}
    assert list(found) == ["Accuracy under attack", "Clean accuracy", "Zeros", "Bytes"]
    assert numbers(evaluation(), [], {}) == dict(zip(found, ("46.7 %", "88.0 %", "61.2 %", "231"), strict=True))
    against = [plain(tile["against"]) for tile in found.values()]
    assert against == ["undefended: 1.3 %", "undefended: 99.1 %", "before pruning: 0.0 %", "dense float32: 440"]
    assert "PGD-7 or FGSM, epsilon 8/255, n = 200" in found["Accuracy under attack"]["basis"]


def test_claim_of_a_suite_replaces_the_basic_attacks():
    (tile, *_) = tiles(evaluation(), [noisy_verdict()], {}, "runs/x")
    assert plain(tile["number"]) == "40.0 %"
    assert tile["basis"].startswith("at most: suite “quick”, epsilon 8/255, n = 200")
    assert not tile["doubtful"]
    (tile, *_) = tiles(evaluation(), [noisy_verdict([check(passed=False)])], {}, "runs/x")
    assert tile["doubtful"]
    assert tile["basis"].endswith("not reliable, failed checks: 1")


def test_verdict_of_another_network_makes_no_claim_for_the_pruned_one():
    (tile, *_) = tiles(evaluation(), [noisy_verdict(network="undefended", stripped=0.002)], {}, "runs/x")
    assert plain(tile["number"]) == "46.7 %"
    assert plain(tile["against"]) == "undefended: 0.2 %"


def test_what_was_not_measured_is_said_with_the_command():
    assert set(numbers({}, [], {}).values()) == {None}
    assert {tile["command"] for tile in tiles({}, [], {}, "runs/x")} == {"rsr evaluate runs/x"}
    old = evaluation()
    for network in old["networks"].values():
        del network["facts"]
    assert numbers(old, [], {})["Bytes"] is None
    assert numbers(old, [], artefacts())["Bytes"] == "43,079", "the compact archive that was measured"


def test_facts_tell_date_time_machine_and_size():
    found = {name: text for name, text, _ in facts(evaluation(), stages(), CONFIG, "runs/x")}
    assert found["date"] == "2026-11-26 20:56 UTC to 2026-11-26 21:18 UTC"
    assert found["duration"] == "training 1 min 5 s, FGSM and PGD 1 min 5 s; 2 min 11 s in all"
    assert found["machine"] == "abacus, 2 cores, no accelerator, Linux x86_64, Python 3.11.7"
    assert found["parameters"] == "110, 49 of them not zero"
    assert found["multiplications"] == "12,345 MACs for one image"
    assert (found["seed"], found["versions"]) == ("3", "keras 3.15.1")
    assert {name for name, text, _ in facts({}, {}, CONFIG, "runs/x") if text is None} == {
        *("date", "duration", "machine", "parameters", "multiplications")
    }


def test_contents_name_a_command_for_everything_that_is_missing():
    rows = {row["name"]: row for row in contents(NOTHING, "runs/x")}
    assert not any(row["text"] for row in rows.values())
    assert rows["Suites of attacks"]["command"] == "rsr evaluate runs/x --suite paper"
    assert rows["Sweep"]["command"] == "rsr sweep runs/x"
    full = {row["name"]: row["text"] for row in contents(NOTHING | everything(), "runs/x")}
    assert all(full.values())
    assert full["Sweep"] == "2 pruned networks, 2 values of lambda"
    assert plain(full["Suites of attacks"]) == "quick: at most 40.0 %, 1 checks failed"


def test_accuracy_of_each_class_is_that_of_the_network_as_deployed():
    found = by_class(evaluation())
    assert list(found) == ["<b>cat</b>", "dog"]
    assert found["dog"] == {
        "clean": pytest.approx(0.885),
        "pgd": pytest.approx(0.522),
        "undefended": pytest.approx(0.018),
    }
    old = evaluation()
    del old["networks"]["pruned"]["scores"]["noise_on"]["pgd"]["by_class"]
    assert by_class(old) == {}


def test_charts_of_classes_and_layers_have_a_row_for_each():
    words = re.findall(r"<text[^>]*>([^<]*)</text>", class_chart(by_class(evaluation())))
    assert {"dog", "clean", "under PGD"} <= set(words)
    words = re.findall(r"<text[^>]*>([^<]*)</text>", noise_chart(evaluation()["networks"]["pruned"]["facts"]["alpha"]))
    assert "conv1/convolution" in words
    assert noise_chart([]) is None
    row = {"clean": 1.0, "pgd": 0.5}
    assert class_chart({str(number): row for number in range(41)}) is None, "the table has them"


def test_page_of_a_trained_network_says_what_is_missing(tmp_path):
    write_report(tmp_path / "report.html", CONFIG, {}, history(), folder="runs/x")
    page = (tmp_path / "report.html").read_text()
    assert "<title>small_cnn on toys</title>" in page
    assert page.count("not measured: <code>rsr evaluate runs/x</code>") == 4 + 2 + 1
    assert "not measured: <code>rsr sweep runs/x</code>" in page


def test_page_of_an_earlier_version_says_what_it_did_not_record(tmp_path):
    old = evaluation()
    for network in old["networks"].values():
        del network["facts"]
        for scores in network["scores"].values():
            for score in scores.values():
                del score["by_class"]
    write_report(tmp_path / "report.html", CONFIG, old, [], sweep=sweep(), folder="runs/x")
    page = (tmp_path / "report.html").read_text()
    assert "Not recorded by the version that wrote these results" in page
    assert "Noise scales: not measured" in page
