"""Markdown and CSV of a grid, from hand-made numbers."""

import csv
import io

from grid_contents import figures, grid_content, row

from rsr_tf.report.grid_tables import csv_table, markdown_tables, rows_apart

HALF = {"mean": 0.5, "interval": [0.4, 0.6]}


def test_markdown_has_a_table_for_each_kind_of_network():
    text = markdown_tables(grid_content())
    assert "**Before pruning**" in text
    assert "**After pruning**" in text
    assert "| RSR | 84.0 [80.0, 88.0]<br>paper 85.0 (-1.0) | 40.0 [35.0, 45.0]<br>paper 48.0 (-8.0) | 0.0 |  |" in text
    assert "PGD-7 and FGSM at epsilon 0.03137" in text


def test_csv_has_a_row_for_each_network():
    rows = list(csv.DictReader(io.StringIO(csv_table(grid_content()))))
    assert [line["network"] for line in rows] == ["trained", "pruned"]
    assert (rows[0]["clean"], rows[0]["clean_low"], rows[0]["clean_reference"]) == ("0.84", "0.8", "0.85")
    assert rows[1]["pgd"] == ""


def test_markdown_has_the_numbers_of_the_figures():
    text = markdown_tables(grid_content(**figures()))
    scores = "55.0 [45.2, 64.4] | 55.0 [45.2, 64.4] | 55.0 [45.2, 64.4] |"
    assert f"| RSR | 0.0 | {scores}\n| RSR | 90.0 | {scores}" in text
    assert f"| 0 | after pruning | {scores}\n| 0.0001 | after pruning | {scores}" in text
    assert "| network | 0.0001 | 0.01 | 0.1 |" in text
    assert "| PGD | 10.0 | 40.0 | 90.0 |" in text


def test_markdown_has_the_accuracy_of_each_network_on_images_of_each():
    accuracy = {"clean": {"a": HALF, "b, noise on": HALF}, "a": {"a": HALF | {"mean": 0.41}, "b, noise on": HALF}}
    transfer = {"accuracy": accuracy, "num_images": 100, "predictions": 20, "seed": 3}
    text = markdown_tables(grid_content(transfer=transfer))
    assert "| crafted on | a | b, noise on |" in text
    assert "| a | 41.0 [40.0, 60.0] | 50.0 [40.0, 60.0] |" in text
    assert "100 test images, 20 predictions each, seed 3." in text


def test_markdown_has_the_success_of_zoo_in_its_headline_column():
    columns = {"shared": {"success": {"of_attacked": HALF, "of_all": None}}, "off": {}}
    zoo = {"rsr": {"labels": {"scheme": "RSR"}, "headline": "shared", "columns": columns}}
    assert "| RSR | shared | 50.0 [40.0, 60.0] |  |" in markdown_tables(grid_content(zoo=zoo))


def test_cell_with_fewer_seeds_or_another_attack_is_told_apart():
    content = grid_content()
    weaker = {"epsilon": 0.01, "steps": 1, "num_images": 40}
    content["rows"].append(row("pgd", "trained") | {"seeds": [1], "attack": weaker})
    content["rows"].append(row("cni", "trained") | {"attack": content["attack"]})
    text = "PGD: seed 1, 40 test images each; PGD-1 and FGSM at epsilon 0.01."
    assert rows_apart(content) == [text]
    assert text in markdown_tables(content)


def test_markdown_names_what_failed():
    assert "pgd, seed 1 failed: out of memory." in markdown_tables(
        grid_content(failures={"pgd, seed 1": "out of memory"})
    )


def test_axis_with_the_name_of_a_column_has_its_own_column_in_csv():
    content = grid_content()
    content["rows"] = [row("a", "trained", sparsity=HALF) | {"labels": {"sparsity": "60 %", "network": "small"}}]
    (line,) = csv.DictReader(io.StringIO(csv_table(content)))
    assert (line["axis_sparsity"], line["sparsity"]) == ("60 %", "0.5")
    assert (line["axis_network"], line["network"]) == ("small", "trained")
