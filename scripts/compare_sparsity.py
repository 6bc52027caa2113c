"""Three ways to the same sparsity: a threshold after training, the proximal step, a schedule in training.

    python scripts/compare_sparsity.py configs/quickstart.toml --seeds 3 --json docs/results/sparsity_digits.json
    python scripts/compare_sparsity.py configs/cifar10/resnet20_rsr.toml --set training.epochs=2

threshold   the lasso as a gradient (Eq. 6), then the smallest weights go, once
proximal    the lasso as a proximal step; then the zeros stay, and the smallest of the rest go where these are not
            enough. Its lambda is another: under momentum 0.9 a gradient moves weights ten times as far (hence the
            default of --proximal-factor), and Adam divides it by the size of all gradients.
schedule    the lasso as a gradient, and pruning more and more in training: polynomial, from a quarter to three quarters

No fine-tuning after any of them. Every training is a run folder below --output: a stopped comparison goes on.
"""

import argparse
import json
import statistics
from pathlib import Path

import keras

import rsr_tf
from rsr_tf.config import load_config
from rsr_tf.evaluation.scores import wilson_interval
from rsr_tf.experiment import Experiment, assess, build


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--sparsities", default="0.6,0.8,0.9", help="shares of weights to prune")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each kind")
    parser.add_argument("--proximal-factor", type=float, default=10.0, help="lambda of the proximal step, in lambdas")
    parser.add_argument("--output", type=Path, help="folder of the trainings [runs/sparsity_NAME]")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    output = arguments.output or Path("runs") / f"sparsity_{arguments.config.stem}"
    sparsities = [float(text) for text in arguments.sparsities.split(",")]
    rows = [
        row
        for seed in range(arguments.seeds)
        for method, options, wanted in trainings(arguments, sparsities)
        for row in measure(arguments.config, [*arguments.overrides, *options, f"seed={seed}"], output, method, wanted)
    ]
    table = summarize(rows)
    for row in table:
        print(
            f"{row['sparsity']:.0%} {row['method']:<10} clean {100 * row['clean']['mean']:.1f}, "
            f"PGD {100 * row['pgd']['mean']:.1f} (noise off {100 * row['pgd_noise_off']['mean']:.1f}), "
            f"zeros before the threshold {row['zeros_in_training']:.1%}"
        )
    if arguments.json:
        config = load_config(arguments.config, arguments.overrides)
        record = {
            "command": f"python scripts/compare_sparsity.py {arguments.config} --seeds {arguments.seeds} "
            f"--proximal-factor {arguments.proximal_factor:g}"
            + "".join(f" --set {override}" for override in arguments.overrides if "directory" not in override),
            "data": build.load_data(config).title,
            "config": config.model_dump(exclude={"data": {"directory"}}),
            "table": table,
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def trainings(arguments, sparsities):
    """What is trained: the name of the method, changes to the config, and the sparsities it is looked at."""
    lasso = arguments.proximal_factor * load_config(arguments.config, arguments.overrides).model.lasso
    plain = ["pruning.finetune_epochs=0", "undefended.epochs=0"]
    yield "threshold", plain, sparsities
    yield "proximal", [*plain, "model.lasso_step=proximal", f"model.lasso={lasso}"], sparsities
    for sparsity in sparsities:
        schedule = ["pruning.schedule=polynomial", "pruning.frequency=20", f"pruning.sparsity={sparsity}"]
        yield "schedule", [*plain, *schedule], [sparsity]


def measure(path, overrides, output, method, sparsities):
    """Train one network, or take it if it is there, prune copies of it, and attack them."""
    config = load_config(path, overrides)
    folder = output / f"{method}{f'_{sparsities[0]}' if method == 'schedule' else ''}_seed{config.seed}"
    done = folder / "compared.json"
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    with Experiment(config, folder) as experiment:
        experiment.train()
    images, labels = assess.test_images(build.load_data(config), config)
    rows = []
    for sparsity in sparsities:
        model = keras.models.load_model(folder / "model.keras")
        row = {"method": method, "sparsity": sparsity, "seed": config.seed, "zeros_in_training": rsr_tf.sparsity(model)}
        rsr_tf.prune(model, sparsity=sparsity, scope=config.pruning.scope)
        scores = {
            name: assess.attack(model_fn, images, labels, config, f"{method}, {sparsity:.0%}, {name}")
            for name, model_fn in assess.variants(model).items()
        }
        noisy = scores.get("noisy", scores["stripped"])
        row |= {"zeros": rsr_tf.sparsity(model), "clean": noisy["clean"]["mean"], "pgd": noisy["pgd"]["mean"]}
        rows.append(row | {"pgd_noise_off": scores["stripped"]["pgd"]["mean"], "n": len(labels)})
    done.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return rows


def summarize(rows):
    """One line for each sparsity and method: mean over the seeds, their standard deviation, Wilson's interval."""
    keys = sorted({(row["sparsity"], row["method"]) for row in rows})
    table = []
    for sparsity, method in keys:
        own = [row for row in rows if (row["sparsity"], row["method"]) == (sparsity, method)]
        line = {"sparsity": sparsity, "method": method, "seeds": len(own), "n": own[0]["n"]}
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
