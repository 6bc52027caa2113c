"""Merging the results of a grid from several machines."""

import json

import pytest
from grid_contents import grid_content, row

import merge_grids
from rsr_tf.config import UserError
from rsr_tf.experiment.grid_results import compared, summarized
from rsr_tf.experiment.result_schema import write_result


def content(runs, missing=(), seeds=(0, 1, 2), **others):
    """Return results with PGD's accuracy of one network by seed: a dict, with `None` for a run without a claim."""
    pgd = compared(summarized([(0.5, 100)] * len(runs)), 40.0)
    claims = summarized([claim and (claim, 50) for claim in runs.values()])
    found = row("rsr", "trained", pgd=pgd, claim=claims) | {"seeds": list(runs)}
    configs = {"rsr": {"data": {"name": "digits", "directory": "/home/me"}}}
    base = {"rows": [found], "seeds": list(seeds), "missing": [f"rsr, seed {seed}" for seed in missing]}
    return grid_content(columns=["pgd", "claim"], configs=configs, **base | others)


def claims(merged):
    return merged["rows"][0]["values"]["claim"]


def test_runs_of_two_machines_are_summarized_as_those_of_one():
    together = content({0: 0.2, 1: 0.3, 2: 0.4})["rows"][0]
    found = merge_grids.merge([content({0: 0.2, 2: 0.4}), content({1: 0.3})])["rows"]
    assert found == [together]


def test_all_test_images_count_once():
    configs = {"rsr": {"data": {"name": "digits"}, "evaluation": {"images": 0}}}
    parts = [content({seed: 0.2}) | {"configs": configs} for seed in (0, 1)]
    found = merge_grids.merge(parts)["rows"][0]["values"]
    assert found["pgd"]["interval"] == summarized([(0.5, 100)])["interval"]
    assert found["claim"]["interval"] == summarized([(0.2, 50)] * 2)["interval"]


def test_run_comes_from_the_last_file_that_has_it():
    found = merge_grids.merge([content({0: 0.2, 1: 0.3}), content({1: 0.1})])
    assert claims(found)["runs"] == [0.2, 0.1]


def test_run_comes_whole():
    found = merge_grids.merge([content({0: 0.2, 1: 0.3}), content({1: None, 2: 0.4})])
    assert claims(found)["runs"] == [0.2, None, 0.4]
    assert claims(found)["num_images"] == [50, None, 50]


def test_missing_is_what_no_file_has_or_its_own_file_misses():
    first, second = content({0: 0.2, 1: None}, missing=[1, 2]), content({0: None, 1: 0.3}, missing=[0, 2])
    assert merge_grids.merge([first, second])["missing"] == ["rsr, seed 0", "rsr, seed 2"]


def test_number_from_elsewhere_stays_beside_the_new_mean():
    value = merge_grids.merge([content({0: 0.2}), content({1: 0.3})])["rows"][0]["values"]["pgd"]
    assert (value["reference"], value["difference"]) == (pytest.approx(0.4), pytest.approx(0.1))


def test_results_of_other_attacks_are_refused():
    other = content({1: 0.3}, attack={"epsilon": 0.1, "steps": 7, "num_images": 100})
    with pytest.raises(UserError, match="differ in 'attack'"):
        merge_grids.merge([content({0: 0.2}), other])


def test_files_are_merged_without_the_folders_of_a_machine(tmp_path, monkeypatch):
    write_result(tmp_path / "table1.json", content({0: 0.2}))
    output = tmp_path / "merged"
    monkeypatch.setattr("sys.argv", ["merge_grids.py", str(tmp_path / "table1.json"), "--output", str(output)])
    merge_grids.main()
    assert json.loads((output / "table1.json").read_text())["configs"]["rsr"]["data"]["directory"] == ""
    assert "Mean over the seeds 0, 1, 2" in (output / "table1.md").read_text()
