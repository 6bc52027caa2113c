"""`rsr compare`: what is read from run folders, and what is refused."""

import csv
import io

import pytest
import tomli_w
from click.testing import CliRunner
from helpers import noisy_verdict, parse
from report_pages import evaluation, stages

from rsr_tf.cli import main
from rsr_tf.errors import UserError
from rsr_tf.experiment.compare import compare_runs, results_of
from rsr_tf.experiment.result_schema import write_result
from rsr_tf.experiment.run_folder import RunFolder, drop_none


def run(path, *overrides):
    path.mkdir(parents=True)
    (path / "config.toml").write_text(tomli_w.dumps(drop_none(parse("", *overrides).model_dump())))
    return RunFolder(path)


@pytest.fixture
def measured(tmp_path):
    folder = run(tmp_path / "rsr")
    folder.write_evaluation(evaluation())
    write_result(folder.stages, {"stages": stages()})
    for suite, accuracy in (("quick", 0.4), ("paper", 0.3)):
        write_result(folder.verdict(suite), noisy_verdict(stripped=accuracy, suite=suite))
    folder.report.touch()
    return folder


def test_results_are_the_lowest_scores_and_the_claim_of_the_strongest_suite(measured):
    found = results_of(measured)
    assert {key: found[key] for key in ("clean", "pgd", "sparsity")} == {"clean": 0.88, "pgd": 0.467, "sparsity": 0.612}
    assert (found["claim"], found["suite"], found["failed_checks"]) == (0.3, "paper", 0)
    assert (found["parameters"], found["macs"], found["compact_bytes"]) == (110, 12345, 231)
    assert found["seconds"] == pytest.approx(2 * 65.4)


def test_page_and_table_have_every_run_and_only_what_differs(measured, tmp_path):
    other = run(tmp_path / "plain", "model.noise=none")
    page = compare_runs([measured.path, other.path], output=tmp_path / "out")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "compare.csv").read_text())))
    assert [row["run"] for row in rows] == ["rsr", "plain"]
    assert [row["model.noise"] for row in rows] == ["channel", "none"]
    assert (rows[0]["pgd"], rows[1]["pgd"]) == ("0.467", "")
    assert not {"seed", "data.name"} & set(rows[0])
    assert 'href="../rsr/report.html"' in page.read_text()
    assert 'href="../plain/report.html"' not in page.read_text(), "it has no report yet"


def test_runs_of_the_same_name_are_told_apart_by_their_paths(tmp_path):
    paths = [run(tmp_path / part / "rsr").path for part in "ab"]
    compare_runs(paths, output=tmp_path / "out")
    assert [row["run"] for row in csv.DictReader(io.StringIO((tmp_path / "out" / "compare.csv").read_text()))] == list(
        map(str, paths)
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["rsr"], "at least two runs to compare. Received: 1"),
        (["rsr", "nothing"], "nothing is not a run folder: it has no config.toml"),
        (["rsr", "rsr/"], "rsr is given twice"),
        (["rsr", "rsr/config.toml"], "is not a run folder"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, names, message):
    run(tmp_path / "rsr")
    arguments = [str(tmp_path / name) for name in names]
    result = CliRunner().invoke(main, ["compare", *arguments, "--output", str(tmp_path / "out")])
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_damaged_result_is_named(measured, tmp_path):
    other = run(tmp_path / "plain")
    measured.evaluation.write_text('{"schema": 2, "networks": 3}')
    with pytest.raises(UserError, match=r"evaluation\.json: .*networks"):
        compare_runs([measured.path, other.path], output=tmp_path / "out")
