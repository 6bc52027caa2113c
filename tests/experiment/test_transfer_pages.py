"""Where a transfer matrix is shown."""

from report_pages import CONFIG, evaluation, transfer

from rsr_tf.experiment.result_schema import read_result
from rsr_tf.experiment.run_folder import RunFolder
from rsr_tf.experiment.transfer_pages import show_transfer


def test_matrix_stands_on_its_page_and_in_the_report_of_every_run(tmp_path):
    folder, saved = RunFolder(tmp_path / "rsr"), tmp_path / "saved_model"
    folder.path.mkdir()
    saved.mkdir()
    folder.config.write_text(CONFIG)
    folder.write_evaluation(evaluation())
    output = tmp_path / "out"
    output.mkdir()
    show_transfer(transfer(), output, [folder.path, folder.path, saved])
    assert 'href="../rsr/report.html"' in (output / "transfer.html").read_text()
    (copy,) = folder.transfer.iterdir()
    assert read_result(copy)["page"] == "../out/transfer.html"
    page = folder.report.read_text()
    assert 'id="transfer"' in page
    assert 'href="../out/transfer.html"' in page
    assert list(saved.iterdir()) == [], "it is no run folder"


def test_second_matrix_of_the_same_folder_replaces_the_first(tmp_path):
    folder = RunFolder(tmp_path / "rsr")
    folder.path.mkdir()
    folder.config.write_text(CONFIG)
    for name in ("one", "one", "two"):
        (tmp_path / name).mkdir(exist_ok=True)
        show_transfer(transfer(), tmp_path / name, [folder.path])
    assert len(list(folder.transfer.iterdir())) == 2
    assert folder.report.read_text().count("Transfer matrix:") == 2
