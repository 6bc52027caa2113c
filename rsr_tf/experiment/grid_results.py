"""Gather the results of a grid from its run folders: means over seeds, intervals, the paper's numbers beside them."""

import math
import statistics
from pathlib import Path

import numpy as np
import scipy.stats

from rsr_tf import pruning
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.experiment.certificates import RADIUS
from rsr_tf.experiment.evaluate import HISTOGRAM_EDGES
from rsr_tf.experiment.load import load_network
from rsr_tf.experiment.provenance import describe_machine, versions
from rsr_tf.experiment.result_schema import read_result
from rsr_tf.experiment.run_folder import RunFolder, drop_none, suite_name

CONFIDENCE = 0.95
OF_CONFIG = ("clean", "pgd", "fgsm", "noise_off_clean", "noise_off_pgd")
"""Columns on the images of `evaluation.images`: 0 for all test images, which are the same for every seed."""


def collect(grid, cells, root):
    """Return the results of the runs that are done.

    Args:
        grid, root: as for `rsr_tf.experiment.grid.run_grid`.
        cells: list of `Cell`, with the configs of the runs that count.

    Returns:
        A JSON-serializable dict.
    """
    first = [cell for cell in cells if grid.seeds[0] in cell.configs]
    attacks = [evaluation["attack"] for cell in cells for evaluation in _evaluations(cell, grid, root).values()]
    return {
        "title": grid.title,
        "note": grid.note,
        "axes": grid.axes,
        "seeds": list(grid.seeds),
        "columns": list(grid.measure.columns),
        "suite": {"name": grid.measure.suite, "num_images": grid.measure.images},
        "attack": attacks[0] if attacks else None,
        "rows": [row for cell in cells for row in _rows(cell, grid, root)],
        "missing": [f"{cell.name}, seed {seed}" for cell in cells for seed in _missing(cell, grid, root)],
        "curves": {cell.name: curves for cell in first if (curves := _curves(cell, grid, root))},
        "weights": {cell.name: weights for cell in first if (weights := _weights(cell, grid, root))},
        "transfer": read_result(Path(root) / "transfer" / "transfer.json") if grid.measure.transfer else {},
        "zoo": {cell.name: found for cell in first if (found := _zoo(cell, grid, root))},
        "configs": {
            cell.name: drop_none(next(iter(cell.configs.values())).model_dump()) for cell in cells if cell.configs
        },
        "versions": versions(),
        "machine": describe_machine(),
    }


def folder_of(root, cell, seed):
    """Return the `RunFolder` of a cell and a seed."""
    return RunFolder(Path(root) / f"{cell.name}-seed{seed}")


def zoo_file(images):
    """Return where `rsr zoo` writes its table, in a run folder."""
    return Path("zoo", "pruned", f"zoo_tier1_{images}.json")


def _evaluations(cell, grid, root):
    """Return the contents of `evaluation.json` of each seed that is done."""
    found = {seed: folder_of(root, cell, seed).read_evaluation() for seed in cell.configs}
    return {seed: content for seed, content in found.items() if "examples" in content}


def _missing(cell, grid, root):
    """Return the seeds without an evaluation, or without a verdict that the grid asks for."""
    evaluated, judged = _evaluations(cell, grid, root), grid.measure.judged if grid.measure.suite else ()
    return [
        seed
        for seed in cell.configs
        if seed not in evaluated or not all(_verdict(grid, folder_of(root, cell, seed), network) for network in judged)
    ]


def _rows(cell, grid, root):
    """Return a row for each network of a cell, as far as its runs are done."""
    evaluations, rows = _evaluations(cell, grid, root), []
    for network in grid.measure.networks:
        done = {seed: content for seed, content in evaluations.items() if network in content["networks"]}
        if done:
            seeds = [
                _values(content["networks"][network], _verdict(grid, folder_of(root, cell, seed), network))
                | {"certified": _certified(folder_of(root, cell, seed), network)}
                | {"units": (passes(cell.configs[seed], network), None)}
                for seed, content in done.items()
            ]
            attack = next(iter(done.values()))["attack"]
            on_all = all(cell.configs[seed].evaluation.images == 0 for seed in done)
            rows.append(
                {
                    "cell": cell.name,
                    "labels": cell.labels,
                    "note": cell.note,
                    "network": network,
                    "seeds": list(done),
                    "num_images": attack["num_images"],
                    "attack": attack,
                    "failed_checks": _failed_checks([_verdict(grid, folder_of(root, cell, s), network) for s in done]),
                    "scheme": next(iter(done.values()))["scheme"],
                    "source": cell.reference.source,
                    "values": _summaries(seeds, grid.measure.columns, getattr(cell.reference, network), on_all),
                }
            )
    return rows


def _summaries(runs, columns, references, on_all):
    """Return the summary of each column that a run has, beside the number from elsewhere."""
    found = {column: [run.get(column) for run in runs] for column in columns}
    return {
        name: compared(summarized(values, same_images=on_all and name in OF_CONFIG), references.get(name))
        for name, values in found.items()
        if any(values)
    }


def _verdict(grid, folder, network):
    if not grid.measure.suite:
        return None
    return read_result(folder.verdict(suite_name(grid.measure.suite, network, grid.measure.images))) or None


def passes(config, network):
    """Return how often a training has passed each of its images forwards and backwards through the network.

    Args:
        config: a `Config`.
        network: `"trained"` or `"pruned"`.

    Returns:
        An integer: for each epoch, one pass, or one for each step of the attack and one each for the clean and the
        adversarial images.
    """
    training, pruning_section = config.training, config.pruning
    attacked = config.attack.steps + 2 if config.attack.steps else 1
    warmup = min(training.warmup_epochs, training.epochs)
    total = warmup + (training.epochs - warmup) * attacked
    if network == "trained":
        return total
    rounds = pruning_section.rounds if pruning_section.schedule == "rounds" else 1
    further = pruning_section.finetune_epochs * rounds
    further += pruning_section.admm_epochs if pruning_section.schedule == "admm" else 0
    return total + further * attacked


def _certified(folder, network):
    """Return the accuracy that PixelDP certifies at `RADIUS`, and the number of images, or `None`."""
    content = read_result(folder.certificates) if network == "trained" else {}
    for row in content.get("certified", []):
        if (row["method"], row["radius"]) == ("pixeldp", RADIUS):
            return row["accuracy"], content["num_images"]
    return None


def _failed_checks(verdicts):
    """Return the names of the checks that failed in any verdict, each once."""
    checks = [check for verdict in verdicts if verdict for check in verdict["checks"]]
    return sorted({check["name"] for check in checks if not check["passed"]})


def _values(entry, verdict):
    """Return every column of one network of one run: pairs of a number and a number of images, or `None`."""
    scores = entry["scores"]
    deployed, stripped = scores.get("noise_on", scores["noise_off"]), scores["noise_off"]
    claim = verdict and (verdict["claim"]["accuracy"], verdict["claim"]["num_images"])
    return {
        **{name: (deployed[name]["mean"], deployed[name]["num_images"]) for name in ("clean", "pgd", "fgsm")},
        **{f"noise_off_{name}": (stripped[name]["mean"], stripped[name]["num_images"]) for name in ("clean", "pgd")},
        "sparsity": (entry["sparsity"], None),
        "parameters": (entry["weights"] * (1 - entry["sparsity"]), None),
        "claim": claim,
    }


def summarized(values, *, same_images=False):
    """Return mean, interval and single values of several runs, in JSON's terms.

    The interval has 95 % confidence: of one run, Wilson's for the number of images; of several, Student's over the
    runs, whose trainings differ, and whose images unless they are `same_images`, or Wilson's for all different images
    if that is wider.

    Args:
        values: list of pairs: a number, and the number of images that it is a share of, or `None` for no share; `None`
            in place of a pair for a run without this number.
        same_images: whether every run has the same images, so that they count once. Defaults to `False`.

    Returns:
        A dict; `"runs"` and `"num_images"` have an entry for each run.

    Example:
        >>> from rsr_tf.experiment.grid_results import summarized
        >>> [round(bound, 3) for bound in summarized([(0.5, 100)])["interval"]]
        [0.404, 0.596]
    """
    known = [value for value in values if value is not None]
    numbers, images = [number for number, _ in known], [count for _, count in known]
    mean, is_share, intervals = statistics.fmean(numbers), images[0] is not None, []
    if is_share:
        intervals.append(wilson_interval(mean, max(images) if same_images else sum(images)))
    if len(numbers) > 1:
        quantile = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(numbers) - 1)
        spread = quantile * statistics.stdev(numbers) / math.sqrt(len(numbers))
        bounds = (mean - spread, mean + spread)
        intervals.append((max(0.0, bounds[0]), min(1.0, bounds[1])) if is_share else bounds)
    widest = max(intervals, key=lambda bounds: bounds[1] - bounds[0], default=(mean, mean))
    return {
        "mean": mean,
        "interval": [float(bound) for bound in widest],
        "runs": [value and value[0] for value in values],
        "num_images": [value and value[1] for value in values],
    }


def compared(found, reference):
    """Return a summary with a number from elsewhere, its difference, and whether it lies within the interval.

    Args:
        found: dict, as `summarized` returns it.
        reference: number in percent, or `None` if there is none.

    Returns:
        A dict; without a reference `found` itself.
    """
    if reference is None:
        return found
    share, (low, high) = reference / 100, found["interval"]
    return found | {"reference": share, "difference": found["mean"] - share, "within": low <= share <= high}


def _curves(cell, grid, root):
    """Return the sweep of the first seed: accuracy under PGD by sparsity, and the entries by lambda."""
    sweep = read_result(folder_of(root, cell, grid.seeds[0]).path / "sweep" / "sweep.json")
    if not sweep:
        return None
    wanted = set(grid.measure.sparsities)
    points = [point for point in sweep["points"] if point["target"] == "sparsity" and point["value"] in wanted]
    lambdas = [row for row in sweep["lambdas"] if row["lambda"] in grid.measure.lambdas]
    return {"labels": cell.labels, "points": points, "lambdas": lambdas} if points or lambdas else None


def _weights(cell, grid, root):
    """Return the distribution of the weights of the second kernel, and the share of small ones of all (Fig. 1, 2c)."""
    if cell.name not in grid.measure.weights:
        return None
    folder = folder_of(root, cell, grid.seeds[0])
    networks = folder.read_evaluation().get("networks", {})
    name = next((name for name in ("trained", "pruned") if name in networks), None)
    if name is None:
        return None
    path = {"trained": folder.model, "pruned": folder.pruned}[name]
    kernel = list(pruning.effective_kernels(load_network(path)).values())[1]
    edges = np.linspace(-0.5, 0.5, len(HISTOGRAM_EDGES))
    counts, _ = np.histogram(np.clip(kernel, edges[0], edges[-1]), edges)
    return {
        "labels": cell.labels,
        "share_below": networks[name]["share_below"],
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def _zoo(cell, grid, root):
    """Return the table of ZOO of the first seed."""
    if cell.name not in grid.measure.zoo:
        return None
    table = read_result(folder_of(root, cell, grid.seeds[0]).path / zoo_file(grid.measure.zoo_images))
    return {"labels": cell.labels, **table} if table else None
