"""Tables, charts and page of a sweep, from hand-made numbers."""

import csv
import io
import re

import pytest

from rsr_tf.evaluation import Score
from rsr_tf.report.sweep_charts import accuracy_by_lambda, accuracy_by_sparsity, size_by_sparsity
from rsr_tf.report.sweep_page import harmless_sparsities, tables, write_sweep_page


def scores(clean, pgd, fgsm=None):
    """Return scores of two draws, four percentage points apart, on 200 images."""
    attacks = {"clean": clean, "pgd": pgd, "fgsm": pgd + 0.1 if fgsm is None else fgsm}
    return {name: Score((mean - 0.02, mean + 0.02), 200).as_dict() for name, mean in attacks.items()}


def point(sparsity, target="sparsity", **variants):
    layers = [("conv<1>", [3, 3, 1, 2], 18), ("logits", [41, 2], 82)]
    return {
        "target": target,
        "value": sparsity,
        "sparsity": sparsity,
        "weights": 100,
        "zeros": round(100 * sparsity),
        "layers": [
            {"path": path, "shape": shape, "weights": weights, "zeros": round(weights * sparsity)}
            for path, shape, weights in layers
        ],
        "bytes": {"dense_bytes": 400, "compact_bytes": round(400 * (1 - sparsity)) + 20},
        "scores": {name: scores(*means) for name, means in variants.items()},
    }


def network(sparsity, **variants):
    return {"sparsity": sparsity, "scores": {name: scores(*means) for name, means in variants.items()}}


BELOW = {"gamma": [1e-4, 1e-2, 1e-1], "share": [0.1, 0.4, 0.9]}


@pytest.fixture
def sweep():
    return {
        "data": "toys & more",
        "model": "small_cnn",
        "scheme": "RSR",
        "seed": 3,
        "attack": {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 7, "num_images": 200, "repeats": 2},
        "pruning": {"scope": "global", "exclude": [], "max_layer_sparsity": None},
        "network": "0123",
        "share_below": {"trained": BELOW},
        "points": [
            point(0.0, noise_on=(0.90, 0.50), noise_off=(0.91, 0.45)),
            point(0.5, noise_on=(0.895, 0.495), noise_off=(0.90, 0.41)),
            point(0.9, noise_on=(0.60, 0.31), noise_off=(0.905, 0.452)),
        ],
        "lambdas": [
            {
                "lambda": value,
                "share_below": BELOW,
                "networks": {
                    "trained": network(0.0, noise_on=(0.92, 0.52), noise_off=(0.93, 0.47)),
                    "pruned": network(0.6, noise_on=(0.82, 0.42), noise_off=(0.83, 0.37)),
                },
            }
            for value in (0.0, 1e-4)
        ],
    }


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def plain(page):
    """Return the text of a page without tags, with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page))


def words(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.fixture
def page(sweep, tmp_path):
    write_sweep_page(tmp_path / "sweep.html", "seed = 3\nname = '<script>'", sweep)
    return (tmp_path / "sweep.html").read_text()


def test_points_table_has_a_row_for_each_network_with_noise_on_and_off(sweep):
    found = rows(tables(sweep)["points.csv"])
    assert [(row["value"], row["noise"]) for row in found] == [
        (value, noise) for value in ("0.0", "0.5", "0.9") for noise in ("True", "False")
    ]
    row = found[2]
    assert (row["target"], row["zeros"], row["weights"]) == ("sparsity", "50", "100")
    assert (row["dense_bytes"], row["compact_bytes"]) == ("400", "220")
    assert (row["num_images"], row["repeats"]) == ("200", "2")
    assert float(row["pgd"]) == pytest.approx(0.495)
    assert float(row["fgsm"]) == pytest.approx(0.595)
    assert float(row["clean_std"]) == pytest.approx(0.04 / 2**0.5)  # of two numbers
    low, high = Score((0.495,), 200).interval
    assert (float(row["pgd_low"]), float(row["pgd_high"])) == pytest.approx((low, high))


def test_layers_table_has_a_row_for_each_network_and_layer(sweep):
    found = rows(tables(sweep)["layers.csv"])
    assert len(found) == 6
    assert found[4] == {
        "target": "sparsity",
        "value": "0.9",
        "path": "conv<1>",
        "shape": "3x3x1x2",
        "weights": "18",
        "zeros": "16",
    }


def test_lambdas_table_has_both_networks(sweep):
    found = rows(tables(sweep)["lambdas.csv"])
    keys = [(row["lambda"], row["network"], row["noise"], round(float(row["pgd"]), 3)) for row in found]
    assert keys[:4] == [
        ("0.0", "trained", "True", 0.52),
        ("0.0", "trained", "False", 0.47),
        ("0.0", "pruned", "True", 0.42),
        ("0.0", "pruned", "False", 0.37),
    ]
    assert [row["lambda"] for row in found[4:]] == ["0.0001"] * 4


def test_tables_without_rows_are_left_out(sweep):
    assert set(tables({**sweep, "lambdas": []})) == {"points.csv", "layers.csv"}
    assert set(tables({**sweep, "points": []})) == {"lambdas.csv"}


def test_sparsity_is_harmless_up_to_the_first_loss_of_more_than_a_point(sweep):
    """With noise off, PGD accuracy falls by four points at 50 %; its recovery at 90 % does not count."""
    on, off = harmless_sparsities(sweep["points"])
    assert (on["noise"], on["sparsity"]) == ("noise_on", 0.5)
    assert (on["first"]["clean"]["mean"], on["last"]["clean"]["mean"]) == pytest.approx((0.90, 0.895))
    assert (off["noise"], off["sparsity"]) == ("noise_off", None)


@pytest.mark.parametrize(("means", "harmless"), [((0.88, 0.5), None), ((0.9, 0.48), None), ((0.891, 0.491), 0.5)])
def test_both_clean_and_attacked_accuracy_must_hold(means, harmless):
    (found,) = harmless_sparsities([point(0.5, noise_on=means), point(0.0, noise_on=(0.9, 0.5))])
    assert found["sparsity"] == harmless


def test_one_network_shows_no_harmless_sparsity(sweep):
    assert harmless_sparsities(sweep["points"][:1]) == []


def test_chart_of_sparsity_has_a_panel_for_noise_on_and_off(sweep):
    found = words(accuracy_by_sparsity(sweep["points"]))
    assert [word for word in found if word.startswith("noise")] == ["noise on", "noise off"]
    assert found.count("PGD") == found.count("FGSM") == found.count("clean") == 2


def test_chart_of_a_network_without_noise_has_one_panel():
    found = words(accuracy_by_sparsity([point(0.0, noise_off=(0.9, 0.5)), point(0.5, noise_off=(0.9, 0.4))]))
    assert [word for word in found if "noise" in word] == ["no noise"]


def line_of(svg, color):
    """Return the points of the line of a color, in figure units, y downwards. Error bars have two points only."""
    paths = re.findall(rf'<path d="([^"]+)"[^>]*style="fill: none; stroke: var\(--{color},', svg)
    lines = [re.findall(r"[ML] ([\d.]+) ([\d.]+)", path) for path in paths]
    return [tuple(map(float, place)) for place in next(line for line in lines if len(line) > 2)]


def test_lines_go_from_low_to_high_sparsity_and_where_the_means_are():
    """Points in any order; two equal steps of sparsity, the second with three times the loss of the first."""
    points = [point(value, noise_on=(0.9, pgd)) for value, pgd in ((0.8, 0.1), (0.0, 0.5), (0.4, 0.4))]
    (x0, y0), (x1, y1), (x2, y2) = line_of(accuracy_by_sparsity(points), "red")
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.01)
    assert x0 < x1
    assert 3 * (y1 - y0) == pytest.approx(y2 - y1, abs=0.01)
    assert y0 < y1


def test_chart_of_lambda_names_every_value_and_both_networks(sweep):
    found = words(accuracy_by_lambda(sweep["lambdas"]))
    assert found.count("0") == found.count("0.0001") == 2
    assert found.count("PGD, trained") == found.count("PGD, pruned") == 2


def test_chart_of_lambda_without_a_network_before_pruning(sweep):
    for entry in sweep["lambdas"]:
        del entry["networks"]["trained"]
    found = words(accuracy_by_lambda(sweep["lambdas"]))
    assert found.count("PGD, pruned") == 2
    assert "PGD, trained" not in found


def test_chart_of_a_single_lambda_of_zero(sweep):
    assert "0" in words(accuracy_by_lambda(sweep["lambdas"][:1]))


def test_chart_of_size_compares_with_the_weights_alone(sweep):
    assert {"compact archive", "non-zero weights alone"} <= set(words(size_by_sparsity(sweep["points"])))


def test_page_needs_no_other_file(page):
    addresses = set(re.findall(r"https?://[^\"'\s<>]+", page))
    namespaces = ("w3.org", "purl.org", "matplotlib.org", "creativecommons.org")  # of the SVG figures, never fetched
    assert all(any(name in address for name in namespaces) for address in addresses)
    assert not re.search(r"<link|<script|@import|src=\"(?!data:)|href=\"http", page)


def test_page_says_how_far_pruning_may_go(page):
    text = plain(page)
    assert (
        "With noise on, the network keeps its accuracy within one percentage point up to a sparsity of 50.0 %" in text
    )
    assert "With noise off, the network loses more than one percentage point of accuracy" in text


def test_page_of_a_network_without_noise_speaks_of_none(sweep, tmp_path):
    for point in sweep["points"]:
        del point["scores"]["noise_on"]
    write_sweep_page(tmp_path / "sweep.html", "", {**sweep, "lambdas": []})
    page = (tmp_path / "sweep.html").read_text()
    assert "The network loses more than one percentage point" in plain(page)
    assert page.count('<td class="word">none</td>') == 3


def test_page_shows_scores_sizes_and_layers(page):
    assert "<td>49.5 ± 2.8" in page
    assert "<td>220</td><td>55.0</td>" in page
    assert "n = 200 test images" in page
    assert "<td>88.9</td>" in page  # 16 of the 18 weights of the first layer, at 90 %


def test_names_from_outside_are_escaped(page):
    assert "conv&lt;1&gt;" in page
    assert "&lt;script&gt;" in page
    assert "toys &amp; more" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("left_out", "gone"),
    [("points", "Accuracy against sparsity (Fig. 2a)"), ("lambdas", "Accuracy against lambda (Fig. 2b)")],
)
def test_page_of_half_a_sweep(sweep, tmp_path, left_out, gone):
    write_sweep_page(tmp_path / "sweep.html", "", {**sweep, left_out: []})
    page = (tmp_path / "sweep.html").read_text()
    assert gone not in page
    assert "(Fig. 2c)" in page


def test_page_names_what_pruning_spares(sweep, tmp_path):
    pruning = {"scope": "layer", "exclude": ["first", "Dense"], "max_layer_sparsity": 0.95}
    write_sweep_page(tmp_path / "sweep.html", "", {**sweep, "pruning": pruning})
    page = plain((tmp_path / "sweep.html").read_text())
    assert "pruned once, layer by layer, without further training. Not pruned: first, Dense." in page
    assert "No layer loses more than 95.0 % of its weights." in page
