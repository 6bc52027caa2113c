"""One page of each kind, written from hand-made numbers, for tests of all of them."""

import json

from helpers import check, noisy_verdict

from rsr_tf.evaluation import Score
from rsr_tf.report.compare_page import compare_page
from rsr_tf.report.grid_page import grid_page
from rsr_tf.report.run_page import write_report
from rsr_tf.report.sweep_page import write_sweep_page
from rsr_tf.report.transfer_page import transfer_page

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
BELOW = {"gamma": [1e-4, 1e-2, 1e-1], "share": [0.1, 0.4, 0.9]}
ATTACK = {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 7, "num_images": 200, "repeats": 2}
CONFIG = 'seed = 3\n[data]\nname = "toys"\n[model]\nname = "small_cnn"\n[versions]\nkeras = "3.15.1"\n'
MACHINE = {"processor": "abacus", "cores": 2, "accelerators": [], "system": "Linux x86_64", "python": "3.11.7"}
LONG = "a_network_whose_name_is_far_longer_than_a_phone_is_wide_and_has_no_space_at_all"
"""What a table or a sentence must not break out of the page with."""


def scores(clean, pgd):
    """Return the scores of two repeats on 200 images of two classes."""
    means = {"clean": clean, "pgd": pgd, "fgsm": pgd + 0.1}
    return {
        name: Score((mean, mean), 200, {"0": mean - 0.005, "1": mean + 0.005}).as_dict() for name, mean in means.items()
    }


def layer(path="conv1/convolution", zeros=60):
    return {"path": path, "shape": [10, 10], "weights": 100, "zeros": zeros}


def network(sparsity, **variants):
    """Return a network of `evaluation.json`; `variants` are pairs of clean and PGD accuracy."""
    return {
        **{"sparsity": sparsity, "weights": 100, "layers": [layer(zeros=round(100 * sparsity))]},
        "histogram": {"edges": [-1, 0, 1], "counts": [40, 60]},
        "share_below": BELOW,
        "scores": {name: scores(*means) for name, means in variants.items()},
        "facts": {
            **{"parameters": 110, "macs": 12345, "bytes": {"dense_bytes": 440, "compact_bytes": 231}},
            "alpha": [{"path": "conv1/convolution", "mean": 0.0512}],
        },
    }


def evaluation():
    """Return the content of an `evaluation.json` with three networks."""
    shown = {"adversarial": [PIXEL], "clean_predictions": [1], "adversarial_predictions": [0]}
    return {
        **{"data": "toys & more", "class_names": ["<b>cat</b>", "dog"], "model": "small_cnn", "scheme": "RSR"},
        **{"seed": 3, "attack": ATTACK},
        "networks": {
            "undefended": network(0.0, noise_off=(0.991, 0.013)),
            "trained": network(0.0, noise_on=(0.9, 0.521), noise_off=(0.91, 0.481)),
            "pruned": network(0.612, noise_on=(0.88, 0.517), noise_off=(0.89, 0.467)),
        },
        "examples": {"labels": [1], "clean": [PIXEL], "undefended": shown, "pruned": shown},
    }


def history():
    """Return the rows of a `history.csv` of three epochs."""
    return [
        {"stage": "train", "epoch": str(epoch), "accuracy": "0.5", "clean_loss": "1", "adversarial_loss": "1.5"}
        | {"adversarial_accuracy": "0.3", "val_accuracy": "0.4", "val_adversarial_accuracy": "0.2"}
        for epoch in range(3)
    ]


def sweep():
    """Return the content of a `sweep.json` with two points and two lambdas."""
    points = [
        {
            **{"target": "sparsity", "value": share, "sparsity": share, "weights": 100, "zeros": round(100 * share)},
            **{"layers": [layer()], "bytes": {"dense_bytes": 400, "compact_bytes": 231}},
            "scores": {"noise_on": scores(0.9, 0.5), "noise_off": scores(0.9, 0.4)},
        }
        for share in (0.0, 0.5)
    ]
    lambdas = [
        {
            **{"lambda": value, "share_below": BELOW},
            "networks": {
                name: {"sparsity": 0.5, "scores": {"noise_on": scores(0.9, 0.5)}} for name in ("trained", "pruned")
            },
        }
        for value in (0.0, 1e-4)
    ]
    return {
        **{"data": "toys", "model": "small_cnn", "scheme": "RSR", "seed": 3, "attack": ATTACK, "network": "0123"},
        **{
            "pruning": {"scope": "global", "exclude": [], "max_layer_sparsity": None},
            "share_below": {"trained": BELOW},
        },
        **{"points": points, "lambdas": lambdas},
    }


def artefacts():
    """Return the content of an `artefacts.json` with an unstable speedup."""
    time, ratio = {"median": 0.00123, "quartiles": [0.001, 0.002]}, {"median": 1.04, "quartiles": [0.98, 1.4]}
    found = {"bytes": 43079, "gzip_bytes": 43091, "latency": {"1": time, "128": time}, "scores": scores(0.67, 0.28)}
    entry = {"sparsity": 0.6, "dense_bytes": 108439, "artefacts": {"compact archive": found}}
    return {
        **{"data": "toys", "model": "small_cnn", "attack": ATTACK, "calibration_images": 500},
        "machine": {"cores": 2, "tensorflow": "2.21.0", "tflite_runtime": "ai_edge_litert", "tflite_threads": 2},
        "networks": {"trained": entry, "pruned": entry},
        "speedup": {"compact archive": {"1": {**ratio, "unstable": True}, "128": {**ratio, "unstable": False}}},
    }


def transfer(own=0.5, other=0.2):
    """Return the content of a `transfer.json` of two networks."""
    names = (LONG, "<i>resnet</i>")
    rows = {"clean": dict.fromkeys(names, Score((0.9,), 200).as_dict())}
    for source in names:
        rows[source] = {name: Score((own if name == source else other,), 200).as_dict() for name in names}
    return {
        **{"data": "toys", "num_images": 200, "accuracy": rows, "versions": {"keras": "3.15.1"}},
        "attacks": {name: {"epsilon": 8 / 255, "steps": 20, "random_start": True} for name in names},
    }


def zoo():
    """Return the content of a `zoo_tier1_20.json`."""
    share = {"mean": 0.25, "interval": [0.11, 0.47], "num_images": 20}
    return {
        **{"network": LONG, "tier": 1, "images": list(range(20)), "headline": "off"},
        "columns": {"off": {"success": {"of_attacked": None, "of_all": share}}},
    }


def stages():
    """Return the stages of a `stages.json`."""
    times = {"started": "2026-11-26T20:56:01+00:00", "finished": "2026-11-26T21:18:30+00:00"}
    return {name: {**times, "seconds": 65.4, "calls": 1, "machine": MACHINE} for name in ("train", "evaluate")}


def everything():
    """Return all arguments of `write_report` but the path and the config."""
    return {
        **{"evaluation": evaluation(), "history": history(), "verdicts": [noisy_verdict([check(passed=False)])]},
        **{"artefacts": artefacts(), "sweep": sweep(), "zoo": [zoo()], "stages": stages()},
        **{"transfers": [transfer() | {"page": "../transfer/transfer.html"}], "files": ["config.toml", "saved_model"]},
        "folder": f"runs/{LONG}",
    }


def grid():
    """Return the content of the JSON file of a grid, with every figure."""
    value = {"mean": 0.4, "interval": [0.35, 0.45], "runs": [0.4], "reference": 0.48, "difference": -0.08}
    row = {
        **{"cell": "rsr", "labels": {"scheme": "RSR"}, "note": "About it.", "network": "pruned", "seeds": [0, 1]},
        **{"num_images": 100, "scheme": "RSR", "source": "", "failed_checks": ["gradients not zero"]},
        "values": {"clean": {**value, "within": False}, "claim": {**value, "within": True}},
    }
    labels = {"labels": {"scheme": LONG}}
    curve = {**labels, "points": sweep()["points"], "lambdas": sweep()["lambdas"]}
    weights = {**labels, "share_below": BELOW, "histogram": {"edges": [-1.0, 0.0, 1.0], "counts": [3, 4]}}
    success = zoo()["columns"]["off"]["success"]
    return {
        **{"title": "Table 1", "note": "", "axes": ["scheme"], "seeds": [0, 1], "configs": {"rsr": {"seed": 0}}},
        **{"columns": ["clean", "claim"], "suite": {"name": "quick", "num_images": 200}, "attack": ATTACK},
        **{"rows": [row], "missing": ["rsr, seed 2"], "failures": {"rsr, seed 1": "the loss became nan"}},
        **{"curves": {"rsr": curve}, "weights": {"rsr": weights}, "transfer": transfer()},
        "zoo": {"rsr": {**labels, "headline": "off", "columns": {"off": {"success": success}}}},
    }


def comparison():
    """Return two runs as `rsr compare` collects them, the second without any result."""
    columns = {"clean": 0.88, "pgd": 0.467, "sparsity": 0.612, "compact_bytes": 231, "parameters": 110, "seconds": 65.4}
    first = {**columns, "claim": 0.4, "suite": "quick", "failed_checks": 1}
    runs = {"rsr": {"config": {"seed": 0, "model.noise": "channel"}, "results": first}}
    runs[LONG] = {"config": {"seed": 0, "model.noise": "none"}, "results": {}}
    return runs


def write_pages(folder):
    """Write one page of each kind into a folder, and return a dict from its name to its path."""
    found = {
        name: folder / f"{name}.html" for name in ("run", "trained", "verdict", "sweep", "transfer", "grid", "compare")
    }
    write_report(found["run"], CONFIG, **everything())
    write_report(found["trained"], CONFIG, {}, history(), folder="runs/toys")
    write_report(found["verdict"], CONFIG, {}, [], [noisy_verdict()])
    write_sweep_page(found["sweep"], CONFIG, sweep())
    found["transfer"].write_text(transfer_page(transfer(), {"resnet": "../resnet/report.html"}), encoding="utf-8")
    found["grid"].write_text(grid_page(json.loads(json.dumps(grid()))), encoding="utf-8")
    found["compare"].write_text(compare_page(comparison()), encoding="utf-8")
    return found
