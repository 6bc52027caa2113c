"""Write `sweep.html` and the CSV tables of a sweep from the content of `sweep.json`."""

import csv
import io

from rsr_tf.report.labels import NOISE, SCORES, noise_state
from rsr_tf.report.render import render
from rsr_tf.report.sweep_charts import (
    BY_LAMBDA,
    VARIANTS,
    accuracy_by_lambda,
    accuracy_by_sparsity,
    size_by_sparsity,
    small_weights,
)

TOLERANCE = 0.01
"""Loss of accuracy up to which pruning counts as harmless: one percentage point."""


def write_sweep_page(path, config_text, sweep):
    """Render the page of a sweep.

    Args:
        path: `Path` of the HTML file to write.
        config_text: string, the resolved config of the run as TOML.
        sweep: dict, content of `sweep.json`.
    """
    points, lambdas = sweep["points"], sweep["lambdas"]
    page = render(
        "sweep.html.jinja",
        title=f"Sweep of {sweep['scheme']}: {sweep['model']} on {sweep['data']}",
        pages=[("Run", "../report.html"), ("Sweep", None), ("Configuration", "#configuration")],
        config=config_text,
        sweep=sweep,
        noise_labels=NOISE,
        noise_state=noise_state,
        stages=[stage for stage in BY_LAMBDA if any(stage in row["networks"] for row in lambdas)],
        harmless=harmless_sparsities(points),
        accuracy=accuracy_by_sparsity(points) if points else None,
        sizes=size_by_sparsity(points) if points else None,
        accuracy_by_lambda=accuracy_by_lambda(lambdas) if lambdas else None,
        share_below=small_weights(sweep),
    )
    path.write_text(page, encoding="utf-8")


def tables(sweep):
    """Return the numbers of a sweep as CSV.

    Args:
        sweep: dict, content of `sweep.json`.

    Returns:
        A dict from file name to text. `points.csv` has a row for each pruned network and variant (noise on or off),
        `layers.csv` for each pruned network and layer, `lambdas.csv` for each lambda, network and variant. Tables
        without rows are left out.
    """
    points, layers, lambdas = [], [], []
    for point in sweep["points"]:
        target = {"target": point["target"], "value": point["value"]}
        size = {"sparsity": point["sparsity"], "zeros": point["zeros"], "weights": point["weights"], **point["bytes"]}
        points += [target | size | row for row in _csv_rows(point["scores"])]
        layers += [target | layer | {"shape": "x".join(map(str, layer["shape"]))} for layer in point["layers"]]
    for entry in sweep["lambdas"]:
        for stage, network in entry["networks"].items():
            about = {"lambda": entry["lambda"], "network": stage, "sparsity": network["sparsity"]}
            lambdas += [about | row for row in _csv_rows(network["scores"])]
    found = {"points.csv": points, "layers.csv": layers, "lambdas.csv": lambdas}
    return {name: _csv(rows) for name, rows in found.items() if rows}


def _csv_rows(scores):
    """Yield accuracy, standard deviation over the repeats and interval under every attack, for each variant."""
    for variant, attacks in scores.items():
        row = {"noise": variant == "noise_on"}
        for attack in SCORES:
            score = attacks[attack]
            low, high = score["interval"]
            row |= {attack: score["mean"], f"{attack}_std": score["std"], f"{attack}_low": low, f"{attack}_high": high}
        yield row | {key: attacks["clean"][key] for key in ("num_images", "repeats")}


def _csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def harmless_sparsities(points):
    """Return up to which sparsity pruning costs at most one percentage point of accuracy, clean and under PGD.

    It is the highest measured sparsity up to which no point loses more, relative to the least pruned network.

    Args:
        points: `"points"` of `sweep.json`.

    Returns:
        A list of dicts, one for each variant (noise on and off): `"noise"`, the identifier of the variant;
        `"sparsity"`, or `None` if already the next sparsity costs more; `"first"` and `"last"`, the scores of the least
        pruned network and of the harmless one. Empty for fewer than two networks.
    """
    if len(points) < 2:
        return []
    points = sorted(points, key=lambda point: point["sparsity"])
    found = []
    for variant in (variant for variant in VARIANTS if variant in points[0]["scores"]):
        first = last = points[0]
        for point in points:
            if any(_loss(first, point, variant, attack) > TOLERANCE for attack in ("clean", "pgd")):
                break
            last = point
        scores = {"first": first["scores"][variant], "last": last["scores"][variant]}
        found.append({"noise": variant, "sparsity": None if last is first else last["sparsity"], **scores})
    return found


def _loss(first, point, variant, attack):
    return first["scores"][variant][attack]["mean"] - point["scores"][variant][attack]["mean"]
