import re

import pytest
from helpers import check, noisy_verdict, plain_verdict

from rsr_tf.report.run_page import write_report

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def score(mean):
    return {
        "mean": mean,
        "std": 0.0123,
        "interval": [mean / 2, mean],
        "num_images": 77,
        "repeats": 5,
        "accuracies": [mean] * 5,
    }


def network(sparsity, **scores):
    return {
        "sparsity": sparsity,
        "weights": 10,
        "layers": [{"path": "conv<1>", "shape": [2, 5], "weights": 10, "zeros": 6}],
        "histogram": {"edges": [-1, 0, 1], "counts": [4, 6]},
        "share_below": {"gamma": [1e-3, 1e-1], "share": [0.1, 0.9]},
        "scores": {
            name: {"clean": score(clean), "pgd": score(pgd), "fgsm": score(pgd + 0.1)}
            for name, (clean, pgd) in scores.items()
        },
    }


@pytest.fixture
def evaluation():
    shown = {"adversarial": [PIXEL], "clean_predictions": [1], "adversarial_predictions": [0]}
    return {
        "data": "toys & more",
        "class_names": ["<b>cat</b>", "dog"],
        "model": "small_cnn",
        "scheme": "RSR",
        "seed": 3,
        "attack": {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 7, "num_images": 77, "repeats": 5},
        "networks": {
            "undefended": network(0.0, noise_off=(0.991, 0.013)),
            "trained": network(0.0, noise_on=(0.9, 0.521), noise_off=(0.91, 0.481)),
            "pruned": network(0.612, noise_on=(0.88, 0.517), noise_off=(0.89, 0.467)),
        },
        "examples": {"labels": [1], "clean": [PIXEL], "undefended": shown, "pruned": shown},
    }


@pytest.fixture
def page(evaluation, tmp_path):
    history = [
        {"stage": "train", "epoch": str(epoch), "accuracy": "0.5", "clean_loss": "1", "adversarial_loss": loss}
        | {"adversarial_accuracy": "0.3", "val_accuracy": "0.4", "val_adversarial_accuracy": "0.2"}
        for epoch, loss in enumerate(("0.0", "1.5", "1.4"))
    ]
    write_report(tmp_path / "report.html", "seed = 3\nname = '<script>'", evaluation, history)
    return (tmp_path / "report.html").read_text()


@pytest.fixture
def written(evaluation, tmp_path):
    """Return a function from verdicts to the page, with the scores of an evaluation if `scores`."""

    def write(*verdicts, scores=False):
        write_report(tmp_path / "report.html", "seed = 3", evaluation if scores else {}, [], verdicts)
        return re.sub(r"\s+", " ", (tmp_path / "report.html").read_text())

    return write


@pytest.fixture(params=["scores", "scores and verdict"])
def any_page(request, page, written):
    return page if request.param == "scores" else written(noisy_verdict(), plain_verdict(), scores=True)


def test_report_needs_no_other_file(any_page):
    page = any_page
    addresses = set(re.findall(r"https?://[^\"'\s<>]+", page))
    namespaces = ("w3.org", "purl.org", "matplotlib.org", "creativecommons.org")  # of the SVG figures, never fetched
    assert all(any(name in address for name in namespaces) for address in addresses)
    assert not re.search(r"<link|<script|@import|src=\"(?!data:)|href=\"http", page)


def test_claim_is_the_lowest_of_the_pruned_networks_scores(page):
    text = re.sub(r"\s+", " ", page)
    assert "With 61.2 % of its weights at zero" in text
    assert "88.0 % of the clean test images correctly, and 46.7 % of those attacked at epsilon 8/255" in text
    assert "(95 % interval 23.4 % to 46.7 %, n = 77). The same network without defence keeps 1.3 % under" in text


def test_networks_have_one_name_each_and_their_noise_is_on_off_or_none(page):
    rows = re.findall(r'<tr><td>(\w+)</td><td class="word">(\w+)</td>', page)
    assert rows == [
        *(("undefended", "none"), ("trained", "on"), ("trained", "off")),
        *(("pruned", "on"), ("pruned", "off")),
    ]
    assert ">trained</text>" in page  # of the charts of weights
    assert "before pruning</t" not in page


def test_table_shows_every_score_with_spread_and_interval(page):
    for number in ("99.1", "1.3", "52.1", "48.1", "51.7", "46.7"):
        assert f"<td>{number} ± 1.2" in page
    assert "n = 77 test images" in page
    assert "[26.1, 52.1]" in page


def test_names_from_outside_are_escaped(page):
    assert "&lt;b&gt;cat&lt;/b&gt;" in page
    assert "&lt;script&gt;" in page
    assert "toys &amp; more" in page
    assert "conv&lt;1&gt;" in page


@pytest.mark.parametrize(("text", "keep"), [("seed = 3", "last"), ('training.keep = "best"', "best")])
def test_page_says_which_epoch_is_used_and_the_gap(evaluation, tmp_path, text, keep):
    history = [
        {"stage": "train", "epoch": str(epoch), "accuracy": "0.5", "clean_loss": "1", "adversarial_loss": "1"}
        | {"val_adversarial_accuracy": accuracy, "best_epoch": best}
        for epoch, (accuracy, best) in enumerate((("0.3", "1.0"), ("0.521", "2.0"), ("0.452", "2.0")))
    ]
    history.append({**history[0], "stage": "undefended", "best_epoch": ""})
    write_report(tmp_path / "report.html", text, evaluation, history)
    found = re.sub(r"\s+", " ", (tmp_path / "report.html").read_text())
    assert f"The trained network is that of the {keep} epoch. The best epoch, 2, has" in found
    assert "accuracy of 52.1 %, the last, 3, one of 45.2 %: a gap of 6.9 points" in found


def test_page_of_a_run_without_a_best_epoch_says_nothing_of_it(page):
    assert "best epoch" not in page


def test_right_and_wrong_predictions_have_different_colors(page):
    assert page.count('class="right">dog') == 2
    assert page.count('class="wrong">&lt;b&gt;cat') == 2


def test_verdict_comes_first_and_the_basic_scores_make_no_claim(written):
    page = written(noisy_verdict(), scores=True)
    titles = ("Accuracy under every attack", "Basic attacks and sparsity", "Configuration")
    places = [page.index(f">{title}</h") for title in titles]
    assert page.index("Verdict: the pruned network, quick suite") < places[0]
    assert places == sorted(places)
    assert "The same network without defence" not in page
    assert "99.1 ± 1.2" in page


def test_report_without_a_verdict_says_how_to_get_one(page):
    assert "rsr evaluate CONFIG --suite quick" in page
    assert "Verdict" not in page


def test_verdict_alone_makes_a_report(written):
    page = written(noisy_verdict())
    assert "<title>RSR: small_cnn on toys</title>" in page
    assert "<strong>40.0 %</strong>" in page
    assert "seed = 3" in page
    assert "Basic attacks" not in page


@pytest.mark.slow
def test_passed_checks_are_counted_and_shown_with_value_and_threshold(written):
    page = written(noisy_verdict([check("one"), check("two", wanted="at least"), check("three", wanted="any")]))
    assert "✓ All 3 checks passed" in page
    assert "Do not quote" not in page
    assert '<strong>one</strong><br>What one saw.</td><td>0.25 <span class="interval">at most 0.5</span>' in page
    assert 'What two saw.</td><td>0.25 <span class="interval">at least 0.5</span>' in page
    assert "What three saw.</td><td>0.25</td>" in page


def test_failed_checks_forbid_the_claim_before_it_is_made(written):
    page = written(noisy_verdict([check("one"), check("two", passed=False)]))
    warning = page.index("✗ Do not quote this number: 1 of 2 checks failed.")
    assert warning < page.index("<strong>two</strong>: What two saw.") < page.index('class="headline doubtful"')
    assert "checks passed" not in page
    assert page.index("✗ FAILED</span> <strong>two</strong>") < page.index("✓ passed</span> <strong>one</strong>")


def test_strongest_verdict_is_shown_whole_and_the_others_are_listed(written):
    failing = noisy_verdict([check(passed=False)], suite="full", network="undefended", stripped=0.05)
    page = written(noisy_verdict(), failing, plain_verdict())
    assert page.count("<h2>Verdict:") == 1
    assert "Verdict: the pruned network, paper suite" in page
    others = page[page.index("Other verdicts of this run") :]
    assert others.index('the pruned network</td><td class="word">quick') < others.index("the undefended network")
    assert "✓ all passed" in others
    assert "✗ 1 failed: do not quote" in others
    assert "<td>5.0 <span" in others


def test_network_without_noise_has_no_words_about_its_noise(written):
    page = written(plain_verdict())
    assert "majority" not in page
    assert "◇" not in page
    assert "no noise" in page


def test_text_of_a_verdict_is_escaped(written):
    page = written(noisy_verdict([check("<b>bold</b>", passed=False)]) | {"data": "<script>"})
    assert "<b>bold" not in page
    assert "<script>" not in page


@pytest.mark.slow
def test_artefacts_are_shown_if_they_were_measured(evaluation, tmp_path, page):
    assert "What pruning saves" not in page
    time = {"median": 0.00123, "quartiles": [0.001, 0.002], "calls": 9}
    speedup = {"median": 1.0449, "quartiles": [0.98, 1.111]}
    found = {"bytes": 430790, "gzip_bytes": 430918, "latency": {"1": time, "128": time}}
    found["scores"] = {"clean": score(0.678), "pgd": score(0.289)}
    network = {"sparsity": 0.6, "dense_bytes": 1084392, "artefacts": {"compact <archive>": found}}
    content = {
        "attack": {"steps": 7},
        "machine": {"cores": 2, "tensorflow": "2.21.0", "tflite_runtime": "ai_edge_litert", "tflite_threads": 2},
        "calibration_images": 500,
        "networks": {"trained": network, "pruned": network},
    }
    write_report(tmp_path / "report.html", "", evaluation, [], artefacts=content)
    assert "What pruning saves" not in (tmp_path / "report.html").read_text()  # not all of it is measured
    content["speedup"] = {"compact <archive>": {"1": speedup, "128": speedup}}
    write_report(tmp_path / "report.html", "", evaluation, [], artefacts=content)
    text = (tmp_path / "report.html").read_text()
    for part in ("What pruning saves", "<td>430,790</td><td>39.7</td>", "1.23 ", "67.8 ± 1.2", "PGD-7, transferred"):
        assert part in text
    assert "compact &lt;archive&gt;" in text
    assert text.count('1.04 <span class="interval">[0.98, 1.11]</span>') == 2  # of the network after pruning alone
