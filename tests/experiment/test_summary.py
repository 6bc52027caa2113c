"""The lines at the end of a command."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import HEAD, noisy_verdict, tiny_network

from rsr_tf.evaluation import Check
from rsr_tf.experiment.load import load_network
from rsr_tf.experiment.summary import summarize
from rsr_tf.experiment.sweep import sizes


def network(sparsity, clean, pgd, variant="noise_on"):
    return {"sparsity": sparsity, "scores": {variant: {"clean": {"mean": clean}, "pgd": {"mean": pgd}}}}


def folder(networks=(), path=Path("runs/x"), **verdicts):
    """What stands for a `RunFolder` with these results."""
    return SimpleNamespace(
        path=path,
        undefended=path / "undefended.keras",
        model=path / "model.keras",
        pruned=path / "pruned.keras",
        report=path / "report.html",
        measured_artefacts=path / "artefacts.json",
        read_evaluation=lambda: {"attack": {"steps": 20}, "networks": dict(networks)} if networks else {},
        read_verdicts=lambda: {f"verdict_{name}.json": verdict for name, verdict in verdicts.items()},
        verdict=lambda name: path / f"verdict_{name}.json",
    )


NETWORKS = {
    "undefended": network(0.0, 0.99, 0.004, "noise_off"),
    "trained": network(0.0, 0.98, 0.63),
    "pruned": network(0.6, 0.9924, 0.587),
}


def test_undefended_and_pruned_network_stand_side_by_side():
    assert summarize(folder(NETWORKS))[:4] == [
        "                    undefended        pruned",
        "clean accuracy          99.0 %        99.2 %",
        "PGD-20                   0.4 %        58.7 %",
        "zeros                    0.0 %        60.0 %",
    ]


def test_without_an_undefended_network_the_trained_one_is_compared():
    found = {name: NETWORKS[name] for name in ("trained", "pruned")}
    assert summarize(folder(found))[0].split() == ["trained", "pruned"]
    assert summarize(folder({"pruned": NETWORKS["pruned"]}))[0].split() == ["pruned"]


def test_bytes_are_those_of_the_compact_archive(tmp_path):
    model = tiny_network()
    for name in ("undefended", "pruned"):
        model.save(tmp_path / f"{name}.keras")
    # of the network in the file: its generators of random numbers have the same state, of so many digits
    size = f"{sizes(load_network(tmp_path / 'pruned.keras'))['compact_bytes']:,}"
    assert summarize(folder(NETWORKS, tmp_path))[4].split() == ["bytes,", "compact", size, size]


def verdict(suite, **changes):
    return {**HEAD, **noisy_verdict(suite=suite), **changes}


def line(lines, name):
    return next((each.removeprefix(name).strip() for each in lines if each.startswith(name)), None)


def test_claim_is_that_of_the_strongest_suite_on_the_pruned_network():
    weak, strong, other = verdict("quick"), verdict("paper"), verdict("full", network="trained")
    strong["claim"] = {"accuracy": 0.482, "interval": [0.436, 0.528], "num_images": 450}
    lines = summarize(folder(NETWORKS, quick=weak, paper=strong, full_trained=other))
    assert line(lines, "claim") == "at most 48.2 % at epsilon 8/255 (43.6 % to 52.8 %, n = 450)"


def test_claim_in_l2_is_that_of_the_run_only_without_one_in_linf():
    in_l2, weak = verdict("paper"), verdict("quick")
    in_l2["parameters"] |= {"norm": "l2", "epsilon": 0.5}
    assert " at epsilon 0.5 in l2 (" in line(summarize(folder(NETWORKS, paper_l2=in_l2)), "claim")
    assert " at epsilon 8/255 (" in line(summarize(folder(NETWORKS, paper_l2=in_l2, quick=weak)), "claim")


def test_claim_of_a_suite_that_was_just_run_is_shown_though_another_one_is_stronger():
    weak = verdict("quick", claim={"accuracy": 0.625, "interval": [0.5, 0.7], "num_images": 30})
    found = folder(NETWORKS, quick_30=weak, paper=verdict("paper"))
    assert line(summarize(found, "quick", "pruned", 30), "claim").startswith("at most 62.5 %")
    assert line(summarize(found, "quick", "trained"), "claim") is None


def test_claim_with_failed_checks_is_called_unreliable():
    failed = {**HEAD, **noisy_verdict([Check("noise on", False, 0.0, 1e-4, "Not random.")])}
    assert line(summarize(folder(quick=failed)), "claim").endswith("; not reliable, failed checks: 1")


@pytest.mark.parametrize(
    ("verdicts", "files", "command"),
    [
        ({}, (), "rsr evaluate {} --suite paper"),
        ({"quick": verdict("quick")}, (), "rsr evaluate {} --suite paper"),
        ({"paper": verdict("paper")}, (), "rsr artefacts {}"),
        ({"full": verdict("full")}, ("artefacts.json",), "rsr sweep {}"),
    ],
)
def test_next_command_is_the_first_that_has_not_run(tmp_path, verdicts, files, command):
    for name in files:
        (tmp_path / name).touch()
    assert line(summarize(folder(path=tmp_path, **verdicts)), "next") == command.format(tmp_path)


def test_page_is_named_if_it_is_there(tmp_path):
    assert line(summarize(folder(path=tmp_path)), "page") is None
    (tmp_path / "report.html").touch()
    assert line(summarize(folder(path=tmp_path)), "page") == f"{tmp_path}/report.html"
