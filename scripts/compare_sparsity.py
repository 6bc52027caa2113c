"""Three ways to the same sparsity: a threshold after training, the proximal step, a schedule in training.

    python scripts/compare_sparsity.py quickstart --seeds 3 --lambdas 0.0001,0.001,0.01 \\
        --proximal-lambdas 0.1,0.3,1 --json docs/results/sparsity_digits.json
    python scripts/compare_sparsity.py cifar10/resnet20_rsr --set training.epochs=2 --sparsities 0.8,0.9 \\
        --proximal-lambdas 0.003,0.01 --json docs/results/sparsity_cifar10.json

threshold   the lasso as a gradient (Eq. 6), then the smallest weights go, once
proximal    the lasso as a proximal step; then the zeros stay, and the smallest of the rest go where these are not
            enough. Its lambda is another: under momentum 0.9 a gradient moves weights ten times as far (hence the
            default of --proximal-lambdas), and Adam divides gradients by their size.
schedule    the lasso as a gradient, and pruning more and more in training: polynomial, from a quarter to three quarters

Of several lambdas that one is taken for each method and sparsity whose first network is right most often on validation
images under PGD; the other seeds, and the table, are of that lambda alone.
No fine-tuning after any of them. Every training is a run folder below --output: a stopped comparison resumes.
"""

import argparse
import json
import statistics
from pathlib import Path

import keras

import rsr_tf
from rsr_tf.config import load_config
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.experiment import Experiment
from rsr_tf.experiment.builders import load_data
from rsr_tf.experiment.evaluate import attack_network, evaluation_images
from rsr_tf.experiment.load import variants

METHODS = {
    "threshold": [],
    "proximal": ["model.lasso_step=proximal"],
    "schedule": ["pruning.schedule=polynomial", "pruning.frequency=20", "pruning.sparsity={}"],
}
"""Changes to the config; `{}` stands for the sparsity."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--sparsities", default="0.6,0.8,0.9", help="shares of weights to prune")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each kind")
    parser.add_argument("--lambdas", help="tries at lambda for threshold and schedule [that of the config]")
    parser.add_argument("--proximal-lambdas", help="tries for the proximal step [ten times that of the config]")
    parser.add_argument("--output", type=Path, help="folder of the trainings [runs/sparsity_NAME]")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    output = arguments.output or Path("runs") / f"sparsity_{arguments.config.stem}"
    lasso = load_config(arguments.config, arguments.overrides).model.lasso
    gradient = _numbers(arguments.lambdas or str(lasso))
    proximal = _numbers(arguments.proximal_lambdas or str(10 * lasso))
    lambdas = {"threshold": gradient, "proximal": proximal, "schedule": gradient}
    sparsities = _numbers(arguments.sparsities)
    tries = [
        measure(arguments, output, method, sparsity, value, seed=0)
        for method in METHODS
        for sparsity in sparsities
        for value in lambdas[method]
    ]
    rows = []
    for method in METHODS:
        for sparsity in sparsities:
            own = [row for row in tries if (row["method"], row["sparsity"]) == (method, sparsity)]
            best = max(own, key=lambda row: row["validation_pgd"])
            others = (
                measure(arguments, output, method, sparsity, best["lambda"], seed=seed)
                for seed in range(1, arguments.seeds)
            )
            rows += [best, *others]
    table = summarize(rows)
    for row in table:
        print(
            f"{row['sparsity']:.0%} {row['method']:<10} lambda {row['lambda']:g}, "
            f"clean {100 * row['clean']['mean']:.1f}, PGD {100 * row['pgd']['mean']:.1f} "
            f"(noise off {100 * row['pgd_noise_off']['mean']:.1f}), "
            f"zeros before the threshold {row['zeros_in_training']:.1%}"
        )
    if arguments.json:
        config = load_config(arguments.config, arguments.overrides)
        record = {
            "command": f"python scripts/compare_sparsity.py {arguments.config} --seeds {arguments.seeds} "
            f"--sparsities {arguments.sparsities} --lambdas {','.join(f'{value:g}' for value in gradient)} "
            f"--proximal-lambdas {','.join(f'{value:g}' for value in proximal)}"
            + "".join(f" --set {override}" for override in arguments.overrides if "directory" not in override),
            "data": load_data(config).title,
            "config": config.model_dump(exclude={"data": {"directory"}}),
            "table": table,
            "rows": rows,
            "tries": tries,
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _numbers(text):
    return [float(number) for number in text.split(",")]


def measure(arguments, output, method, sparsity, lasso, *, seed):
    """Train a network, or take it if it is there, prune a copy of it, and attack that; what is done is kept."""
    options = ["pruning.finetune_epochs=0", "undefended.epochs=0", f"seed={seed}", f"model.lasso={lasso}"]
    options += [option.format(sparsity) for option in METHODS[method]]
    config = load_config(arguments.config, [*arguments.overrides, *options])
    folder = output / f"{method}{f'_{sparsity}' if method == 'schedule' else ''}_{lasso:g}_seed{seed}"
    done = folder / f"compared_{sparsity}.json"
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    with Experiment(config, folder) as experiment:
        experiment.train()
    model = keras.models.load_model(folder / "model.keras")
    row = {"method": method, "sparsity": sparsity, "seed": seed, "lambda": lasso}
    row["zeros_in_training"] = rsr_tf.sparsity(model)
    rsr_tf.prune(model, sparsity=sparsity, scope=config.pruning.scope)
    row["zeros"] = rsr_tf.sparsity(model)
    networks, data_set = variants(model), load_data(config)
    first, title = next(iter(networks)), f"{method}, lambda {lasso:g}, {sparsity:.0%}"
    held_out = data_set.validation.first(config.evaluation.images or None)
    scores = attack_network(networks[first], held_out.pixels(), held_out.labels, config, f"{title}, validation")
    row["validation_pgd"] = scores["pgd"]["mean"]
    images, labels = evaluation_images(data_set, config)
    scores = {
        name: attack_network(model_fn, images, labels, config, f"{title}, {name}")
        for name, model_fn in networks.items()
    }
    row |= {name: scores[first][name]["mean"] for name in ("clean", "pgd")}
    row |= {"pgd_noise_off": scores["noise_off"]["pgd"]["mean"], "n": len(labels)}
    done.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    return row


def summarize(rows):
    """One line for each sparsity and method: mean over the seeds, their standard deviation, Wilson's interval."""
    keys = sorted({(row["sparsity"], row["method"]) for row in rows})
    table = []
    for sparsity, method in keys:
        own = [row for row in rows if (row["sparsity"], row["method"]) == (sparsity, method)]
        line = {"sparsity": sparsity, "method": method, "lambda": own[0]["lambda"]}
        line |= {"seeds": len(own), "n": own[0]["n"]}
        line |= {key: statistics.fmean(row[key] for row in own) for key in ("zeros", "zeros_in_training")}
        for key in ("clean", "pgd", "pgd_noise_off"):
            values = [row[key] for row in own]
            mean = statistics.fmean(values)
            spread = statistics.stdev(values) if len(values) > 1 else None
            line[key] = {"mean": mean, "std": spread, "interval": list(wilson_interval(mean, own[0]["n"]))}
        table.append(line)
    return table


if __name__ == "__main__":
    main()
